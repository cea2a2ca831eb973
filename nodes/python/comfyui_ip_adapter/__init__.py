"""This package under a fixed name, whatever its folder is called: put the folder above this one on sys.path.

    from comfyui_ip_adapter import enter
    enter()
    from comfyui_ip_adapter import apply, encode, load

For scripts that use ComfyUI without its server. In a running ComfyUI the package has this name by itself.

Tests: outside in tests/nodes/test_outside.py, through outside, as it has no other name for those who import it.
"""

from pathlib import Path
from typing import Any

_HERE = Path(__file__).absolute().parent
__path__ = [str(_HERE.parents[2]), str(_HERE)]

OFFERED = ("VERSION", "Loaded", "apply", "encode", "export", "instruct", "load", "load_files", "prompts", "replace")
"""What `nodes.api` has, which needs ComfyUI: it is imported when one of these is asked for, after `enter`."""


def enter(comfyui: str | Path | None = None, cpu: bool = False) -> None:
    """Make ComfyUI importable and ready for this package; once, before anything of it is imported.

    comfyui: its folder, by default the one that this package lies in. cpu: compute on the processor. Raises ValueError.
    """
    from .outside import enter, find_comfyui

    enter(find_comfyui(comfyui), cpu)
    from .nodes.api import register
    from .nodes.host.demo_files import show

    register()
    show()


def __getattr__(name: str) -> Any:
    if name not in OFFERED:
        raise AttributeError(f"comfyui_ip_adapter has no {name}; it has enter, {', '.join(OFFERED)}.")
    from .nodes import api

    return getattr(api, name)
