"""This package under a fixed name, whatever its folder is called: put the folder above this one on sys.path.

    from comfyui_ip_adapter import enter
    enter()
    from comfyui_ip_adapter import apply, encode, load

For scripts that use ComfyUI without its server. In a running ComfyUI the package has this name by itself.
"""

from pathlib import Path
from typing import Any

__path__ = [str(Path(__file__).absolute().parents[2])]

OFFERED = ("VERSION", "Loaded", "apply", "encode", "load", "load_files")
"""What `api` has, which needs ComfyUI: it is imported when one of these is asked for, after `enter`."""


def enter(comfyui: str | Path | None = None, cpu: bool = False) -> None:
    """Make ComfyUI importable and ready for this package; once, before anything of it is imported.

    comfyui: its folder, by default the one that this package lies in. cpu: compute on the processor. Raises ValueError.
    """
    from .outside import enter, find_comfyui

    enter(find_comfyui(comfyui), cpu)
    from .api import register

    register()


def __getattr__(name: str) -> Any:
    if name not in OFFERED:
        raise AttributeError(f"comfyui_ip_adapter has no {name}; it has enter, {', '.join(OFFERED)}.")
    import comfyui_ip_adapter.api as api  # not `from . import`, which would ask here for api

    return getattr(api, name)
