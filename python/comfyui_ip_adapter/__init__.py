"""This package under a fixed name, whatever its folder is called: put the folder above this one on sys.path.

    from comfyui_ip_adapter import enter
    enter()
    from comfyui_ip_adapter import apply, encode, load

For scripts that use ComfyUI without its server. In a running ComfyUI the package has this name by itself.
"""

from pathlib import Path
from typing import Any

__path__ = [str(Path(__file__).absolute().parents[2])]


def enter(comfyui: str | Path | None = None, cpu: bool = False) -> None:
    """Make ComfyUI importable and ready for this package; once, before anything of it is imported.

    comfyui: its folder, by default the one that this package lies in. cpu: compute on the processor. Raises ValueError.
    """
    from . import outside

    outside.enter(outside.find_comfyui(comfyui), cpu)
    from . import api

    api.register()


def __getattr__(name: str) -> Any:
    """What the interface offers, which needs ComfyUI: asked for after `enter`."""
    if name.startswith("__"):
        raise AttributeError(name)
    from . import api

    if name not in api.__all__:
        raise AttributeError(f"comfyui_ip_adapter has no {name}; it has enter, {', '.join(api.__all__)}.")
    return getattr(api, name)
