"""IP-Adapter for ComfyUI: image prompts.

Nothing of ComfyUI is imported before ComfyUI asks, so that the core can be tested and used without it.
"""

from typing import Any

WEB_DIRECTORY = "./web"  # help pages


async def comfy_entrypoint() -> Any:
    """What ComfyUI calls when it loads this folder."""
    from . import nodes

    return nodes.Extension()
