"""IP-Adapter for ComfyUI: image prompts."""

from typing import Any


async def comfy_entrypoint() -> Any:
    """What ComfyUI calls when it loads this folder."""
    from . import nodes

    return nodes.Extension()
