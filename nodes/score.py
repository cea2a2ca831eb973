"""The node that says how near pictures come to references and texts."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_adapter_core.plots import score_table
from ..ip_adapter_core.vision.preprocess import FITS
from ..ip_adapter_core.vision.scores import Scores, read_texts
from .encode import fit_input
from .host import scores
from .host.pictures import to_image
from .host.scores import Compared
from .node import Node
from .notices import of_pictures, with_notices
from .sockets import schema


class Score(Node):
    """Pictures + references or texts -> CLIP-I and CLIP-T, as numbers and as a table."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Score",
            "Score Images",
            "Say how near pictures come to references (CLIP-I) and to texts (CLIP-T), as numbers and as a table.",
            inputs=[
                io.Image.Input("pictures", tooltip="The pictures to score, such as those that were sampled."),
                io.ClipVision.Input(
                    "clip_vision",
                    tooltip="The encoder to compare with. From Load CLIP Vision (OpenCLIP) and a file with both halves "
                    "of CLIP, it reads texts too. Numbers of different encoders cannot be compared.",
                ),
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="For CLIP-I: what the pictures should resemble. Each picture is compared with each.",
                ),
                io.String.Input(
                    "texts",
                    multiline=True,
                    optional=True,
                    default="",
                    tooltip="For CLIP-T: what the pictures should show, a text a line. Each picture is compared with "
                    "each. Read as they are, without weights in brackets.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="For CLIP-T, where the encoder's file has no text half: a CLIP of its family, such as "
                    "SDXL's with ViT-bigG-14 or SD2's with ViT-H-14. Left empty, the file's own text half is read.",
                ),
                fit_input(optional=True),
            ],
            outputs=[
                io.Float.Output(
                    display_name="clip_i", tooltip="The mean of CLIP-I, -1..1; not a number without references."
                ),
                io.Float.Output(
                    display_name="clip_t", tooltip="The mean of CLIP-T, -1..1; not a number without texts."
                ),
                io.String.Output(
                    display_name="scores", tooltip="All numbers as a Markdown table, a row for each picture."
                ),
                io.Image.Output(display_name="table", tooltip="The table, drawn with the pictures."),
            ],
            aliases=["clip score", "clip-i clip-t", "similarity", "compare images", "metrics"],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        pictures: Tensor,
        clip_vision: Any,
        references: Tensor | None = None,
        texts: str = "",
        clip: Any | None = None,
        fit: str = FITS[0],
    ) -> io.NodeOutput:
        found = scores.score(clip_vision, pictures, Compared(references, read_texts(texts), clip, fit))
        table = to_image(score_table.draw(found, pictures, references))
        said = with_notices([_say(found), *of_pictures(pictures)], ui.PreviewImage(table, cls=cls))
        return io.NodeOutput(*found.means, found.markdown(), table, ui=said)


def _say(found: Scores) -> str:
    """The means that there are, in one line."""
    parts = ((found.clip_i, "CLIP-I", found.means[0]), (found.clip_t, "CLIP-T", found.means[1]))
    return ", ".join(f"{name} {mean:.4f}" for table, name, mean in parts if table is not None)
