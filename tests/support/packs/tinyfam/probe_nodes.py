"""Test-only nodes: pictures no camera makes, and a look at what the server has imported."""

import sys
from collections.abc import Callable

import torch
from comfy_api.latest import io, ui

PICTURES: dict[str, Callable[[], torch.Tensor]] = {
    "nan": lambda: torch.full((1, 64, 64, 3), torch.nan),
    "infinite": lambda: torch.full((1, 64, 64, 3), torch.inf),
    "no pictures": lambda: torch.zeros(0, 64, 64, 3),
    "no rows": lambda: torch.zeros(1, 0, 64, 3),
    "two channels": lambda: torch.zeros(1, 64, 64, 2),
}


class TestBadImage(io.ComfyNode):
    """A wish -> an IMAGE that cannot be used."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node as ComfyUI sees it."""
        return io.Schema(
            node_id="TestBadImage",
            category="test",
            inputs=[io.Combo.Input("choice", options=list(PICTURES))],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, choice: str) -> io.NodeOutput:
        """The picture."""
        return io.NodeOutput(PICTURES[choice]())


class TestImported(io.ComfyNode):
    """The name of a module -> whether the server has imported it, as text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node as ComfyUI sees it."""
        return io.Schema(
            node_id="TestImported",
            category="test",
            inputs=[io.String.Input("module")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, module: str) -> io.NodeOutput:
        """The answer."""
        return io.NodeOutput(ui=ui.PreviewText(str(module in sys.modules)))
