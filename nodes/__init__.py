"""The nodes of this package: their list is the only registry."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .apply import Apply
from .encode import Encode
from .host.files import register_folders
from .load import AutoLoad, LoadAdapter, LoadVision
from .simple import Simple

NODES: list[type[io.ComfyNode]] = [LoadAdapter, LoadVision, AutoLoad, Encode, Apply, Simple]


class Extension(ComfyExtension):
    """What ComfyUI loads."""

    async def on_load(self) -> None:
        register_folders()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
