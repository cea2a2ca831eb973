"""A pack that calls the classes of IPAdapter Plus in the ways of other packs, by name."""

from typing import Any

from comfy_api.latest import ComfyExtension, io

from .ways import WAYS, Given


class TestCaller(io.ComfyNode):
    """MODEL, what an adapter reads with, pictures and the name of a way -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node as ComfyUI sees it."""
        return io.Schema(
            node_id="TestCaller",
            category="test",
            inputs=[
                io.Model.Input("model"),
                io.Custom("IPADAPTER").Input("ipadapter"),
                io.ClipVision.Input("clip_vision"),
                io.Image.Input("image"),
                io.Image.Input("other"),
                io.Combo.Input("way", options=list(WAYS)),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, way: str, **given: Any) -> io.NodeOutput:
        """The patched model."""
        return io.NodeOutput(WAYS[way](Given(**given)))


class Extension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [TestCaller]


def comfy_entrypoint() -> Extension:
    """Called by ComfyUI."""
    return Extension()
