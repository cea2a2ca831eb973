"""What the two sides of a prompt are told beside the pictures: what to take from them, and what the result shows."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ..adapters.identity import Identity
from ..settings.instruction import Instruction

Texts = dict[str, Tensor]
"""States of texts, (1, words, width) each, by the names under which a projection takes them."""


class Sides(NamedTuple):
    """What the two sides of a prompt are told; nothing, unless the adapter's kind is instructed."""

    cond: Texts
    uncond: Texts


def tell(identity: Identity, instruction: Instruction | None) -> Sides:
    """What an adapter is told on the cond and on the uncond side.

    Source: unity-research/IP-Adapter-Instruct, ip_adapter/ip_adapter_instruct.py, get_image_embeds. Raises ValueError
    when the adapter must be told something and is not, or when the states are not of its text encoder.
    """
    if not identity.variant.instructed:
        return Sides({}, {})
    if instruction is None:
        raise ValueError(
            "Connect Image Prompt Instruction to the instruction of Encode Image Prompt, Moodboard Picture or Image "
            "Prompt Grid (in Python: give encode what instruct returns), or use an adapter of another kind; "
            f"{identity.variant.name} adapters must be told what to take from a picture."
        )
    width = instruction.instruction.shape[-1]
    if width != identity.text_width:
        raise ValueError(
            "Connect the CLIP of the model that the adapter is for to Image Prompt Instruction; this "
            f"{identity.variant.name} adapter reads texts of width {identity.text_width}, and those have {width}."
        )
    return Sides(
        {"instruction": instruction.instruction, "prompt": instruction.prompt},
        {"instruction": instruction.nothing, "prompt": instruction.negative},
    )
