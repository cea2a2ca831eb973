"""The node that samples a grid: what image prompts do at several weights, weight types, references and more."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.attention.projection import AUTO
from ..ip_adapter_core.faces.features import Faces
from ..ip_adapter_core.settings.grid import AXES, NOTHING, Cell, read_grid
from ..ip_adapter_core.settings.instruction import Instruction
from ..ip_adapter_core.settings.layer_weights import TYPES
from ..ip_adapter_core.vision.preprocess import FITS
from .apply import method_input, weight_input
from .encode import fit_input, instruction_input
from .host import grid
from .host.adapters import LoadedAdapter
from .node import Node
from .notices import of_instruction
from .sockets import FaceFeatures, IpAdapter, schema

_log = logging.getLogger(__name__)


class ImagePromptGrid(Node):
    """All that one sampling needs, and two lists -> a sheet of pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Grid",
            "Image Prompt Grid",
            "Sample the same picture at several weights, weight types, references or other values, and show all of "
            "them in rows and columns.",
            inputs=[*_sockets(), *_axes(), *_constants(), *_sampler(), fit_input(optional=True), *_prompting()],
            outputs=[
                io.Image.Output(display_name="sheet", tooltip="All pictures with what varies, and the references."),
                io.Image.Output(display_name="cells", tooltip="The pictures alone, row by row, at their own size."),
            ],
            aliases=["xy plot", "grid", "compare weights", "weight comparison"],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            enable_expand=True,
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        ip_adapter: LoadedAdapter,
        clip_vision: Any,
        references: Tensor,
        positive: Any,
        negative: Any,
        latent: dict[str, Any],
        vae: Any,
        across: str,
        across_values: str,
        down: str,
        down_values: str,
        weight: float,
        weight_type: str,
        start: float,
        end: float,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        denoise: float,
        fit: str = FITS[0],
        instruction: Instruction | None = None,
        faces: Faces | None = None,
        method: str = AUTO,
    ) -> io.NodeOutput:
        chosen = read_grid((across, across_values), (down, down_values), len(references))
        cells = chosen.cells(Cell(weight, weight_type, start, end, cfg, seed))
        grid.check(model, cells, latent)
        grid.check_prompting(ip_adapter, chosen, faces, instruction, method)
        for notice in of_instruction(ip_adapter.identity, instruction is not None):
            _log.warning(notice)
        sampler = {"steps": steps, "sampler_name": sampler_name, "scheduler": scheduler, "denoise": denoise}
        nodes, sheet = grid.expand(chosen, cells, grid.Links.of(cls.hidden), grid.Prompting(fit, method), sampler)
        return io.NodeOutput(sheet.out(0), sheet.out(1), expand=nodes)


def _sockets() -> list[io.Input]:
    """Inputs that come from other nodes."""
    return [
        io.Model.Input("model", tooltip="The model, without the image prompt that the grid is about."),
        IpAdapter.Input("ip_adapter", tooltip="From Load IP-Adapter; one that reads faces needs them in faces."),
        io.ClipVision.Input("clip_vision", tooltip="The encoder the adapter was trained with."),
        io.Image.Input(
            "references",
            tooltip="One or more references. All together make one image prompt, unless reference varies. Beside faces "
            "they only stand on the sheet.",
        ),
        io.Conditioning.Input("positive", tooltip="What the picture should show."),
        io.Conditioning.Input("negative", tooltip="What it should not show."),
        io.Latent.Input("latent", tooltip="Where the sampling begins, of one picture. Every cell begins with it."),
        io.Vae.Input("vae", tooltip="It makes pictures of what is sampled."),
    ]


def _axes() -> list[io.Input]:
    """Inputs for what varies."""
    return [
        _axis("across", "weight", "from left to right"),
        _values("across", "0, 0.25, 0.5, 0.75, 1"),
        _axis("down", NOTHING, "from top to bottom"),
        _values("down", ""),
    ]


def _axis(name: str, default: str, where: str) -> io.Combo.Input:
    return io.Combo.Input(
        name,
        options=list(AXES),
        default=default,
        tooltip=f"What varies {where}. The inputs below say what all other cells have in common.",
    )


def _values(name: str, default: str) -> io.String.Input:
    return io.String.Input(
        f"{name}_values",
        default=default,
        tooltip="Its values, with commas between: 0.25, 0.5, 1 for numbers; linear, style transfer for weight types; "
        "1, 3 for references by their number, or nothing for each of them.",
    )


def _constants() -> list[io.Input]:
    """Inputs for what does not vary, unless across or down says so."""
    share = {"min": 0.0, "max": 1.0, "step": 0.01}
    return [
        weight_input(),
        io.Combo.Input(
            "weight_type",
            options=list(TYPES),
            default="linear",
            tooltip="Which layers follow, where weight type does not vary. Layer Weights shows a picture of each.",
        ),
        io.Float.Input("start", default=0.0, **share, tooltip="Where in the sampling the image prompt begins to act."),
        io.Float.Input("end", default=1.0, **share, tooltip="Where in the sampling the image prompt ceases to act."),
    ]


def _prompting() -> list[io.Input]:
    """Inputs for adapters that read more than pictures."""
    return [
        instruction_input(),
        FaceFeatures.Input(
            "faces",
            optional=True,
            tooltip="From Face Embedding, for adapters that read faces (FaceID, portrait, PuLID): they are encoded in "
            "place of the references, all together.",
        ),
        method_input(),
    ]


def _sampler() -> list[io.Input]:
    """Inputs of the host's KSampler."""
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=2**64 - 1,
            control_after_generate=False,  # left open, the editor would change it and sample every cell anew
            tooltip="The noise that every cell begins with.",
        ),
        io.Int.Input("steps", default=20, min=1, max=10000, tooltip="Steps of each sampling."),
        io.Float.Input("cfg", default=8.0, min=0.0, max=100.0, step=0.1, tooltip="How strongly the text is followed."),
        io.Combo.Input("sampler_name", options=grid.SAMPLERS, tooltip="How noise is taken away."),
        io.Combo.Input("scheduler", options=grid.SCHEDULERS, tooltip="How much noise is taken away in each step."),
        io.Float.Input(
            "denoise",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="How much of the latent is made anew: 1 is all of it.",
        ),
    ]
