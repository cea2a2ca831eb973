"""IP-Adapter for ComfyUI: image prompts.

Nothing of ComfyUI is imported before ComfyUI asks, so that the core can be tested and used without it.
"""

import sys
from typing import Any

WEB_DIRECTORY = "./web"  # help pages
PYTHON_NAME = "comfyui_ip_adapter"
"""By which other custom nodes import what they may call, while the name of this folder is the user's choice."""


async def comfy_entrypoint() -> Any:
    """What ComfyUI calls when it loads this folder."""
    from . import nodes

    sys.modules.setdefault(PYTHON_NAME, nodes.api)
    return nodes.Extension()
