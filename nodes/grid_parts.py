"""The nodes that an Image Prompt Grid becomes while it runs; people see them only where the editor shows what is for
developers."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_adapter_core.attention.application import ApplyOptions
from ..ip_adapter_core.attention.projection import AUTO, METHODS
from ..ip_adapter_core.plots import grid_sheet
from ..ip_adapter_core.plots.grid_sheet import Label, Labels
from ..ip_adapter_core.prompts import prompt
from ..ip_adapter_core.settings.grid import AXES, NOTHING, REFERENCE
from ..ip_adapter_core.settings.layer_weights import TYPES, from_weight_type
from ..ip_adapter_core.settings.span import Span
from .host import grid
from .host.pictures import to_image
from .host.sampling import model_patch
from .node import Node
from .sockets import ImagePrompt, schema


class GridModel(Node):
    """MODEL + IMAGE_PROMPT + what a cell has of its own -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_GridModel",
            "Image Prompt Grid (a cell's model)",
            "A part of Image Prompt Grid.",
            inputs=[
                io.Model.Input("model"),
                ImagePrompt.Input("image_prompt"),
                io.Float.Input("weight", default=1.0),
                io.Combo.Input("weight_type", options=list(TYPES), default="linear"),
                io.Float.Input("start", default=0.0),
                io.Float.Input("end", default=1.0),
                io.Combo.Input("method", optional=True, options=[AUTO, *METHODS], default=AUTO),
            ],
            outputs=[io.Model.Output(display_name="model")],
            is_dev_only=True,
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        image_prompt: prompt.ImagePrompt,
        weight: float,
        weight_type: str,
        start: float,
        end: float,
        method: str = AUTO,
    ) -> io.NodeOutput:
        use = ApplyOptions(weight, Span(start, end), from_weight_type(weight_type), method=method)
        return io.NodeOutput(model_patch.apply(model, image_prompt, use))


class GridSheet(Node):
    """The pictures of all cells, in any number of inputs -> the sheet and a batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_GridSheet",
            "Image Prompt Grid (its sheet)",
            "A part of Image Prompt Grid.",
            inputs=[
                io.Image.Input("references"),
                io.Combo.Input("across", options=list(AXES), default=NOTHING),
                io.String.Input("across_values", multiline=True, default=""),
                io.Combo.Input("down", options=list(AXES), default=NOTHING),
                io.String.Input("down_values", multiline=True, default=""),
            ],
            outputs=[io.Image.Output(display_name="sheet"), io.Image.Output(display_name="cells")],
            is_dev_only=True,
            accept_all_inputs=True,
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls, references: Tensor, across: str, across_values: str, down: str, down_values: str, **cells: Tensor
    ) -> io.NodeOutput:
        pictures = [cells[name] for name in sorted(cells, key=_number) if isinstance(cells[name], Tensor)]
        if not pictures:
            raise ValueError("Use Image Prompt Grid, which makes this node with its pictures; here are none.")
        batch = torch.cat(pictures)
        shared = None if REFERENCE in (across, down) else references
        labels = Labels(_labels(across, across_values, references), _labels(down, down_values, references), shared)
        sheet = to_image(grid_sheet.draw(list(batch), labels))
        return io.NodeOutput(sheet, batch, ui=ui.PreviewImage(sheet, cls=cls))


def _number(name: str) -> int:
    """The number at the end of a cell's name."""
    digits = name.removeprefix(grid.CELL)
    return int(digits) if digits.isdecimal() else -1


def _labels(axis: str, values: str, references: Tensor) -> list[Label]:
    """What stands along a side, with its picture where that is a reference."""
    words = values.splitlines()
    if axis != REFERENCE:
        return [Label(f"{axis} {word}") for word in words]
    numbers = [int(word) if word.isdecimal() else 0 for word in words]
    return [Label(f"{axis} {number}", references[(number - 1) % len(references)]) for number in numbers]
