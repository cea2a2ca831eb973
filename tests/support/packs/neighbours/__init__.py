"""A pack that patches models in the manners of other packs, by name."""

from typing import Any

from comfy_api.latest import ComfyExtension, io

from .manners import MANNERS


class TestNeighbour(io.ComfyNode):
    """MODEL and the name of a manner -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node as ComfyUI sees it."""
        return io.Schema(
            node_id="TestNeighbour",
            category="test",
            inputs=[io.Model.Input("model"), io.Combo.Input("manner", options=list(MANNERS))],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any, manner: str) -> io.NodeOutput:
        """The patched model."""
        return io.NodeOutput(MANNERS[manner](model))


class Extension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [TestNeighbour]


def comfy_entrypoint() -> Extension:
    """Called by ComfyUI."""
    return Extension()
