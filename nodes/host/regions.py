"""Several subjects in one picture: each with its image prompt, its text and the place where both act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from comfy.model_patcher import ModelPatcher
from node_helpers import conditioning_set_values
from torch import Tensor

from ...ip_adapter_core.attention.application import ApplyOptions
from ...ip_adapter_core.prompts.prompt import ImagePrompt
from ...ip_adapter_core.settings.masks import usable
from .sampling import model_patch

Conditioning = list[Any]


@dataclass(frozen=True, eq=False)
class Region:
    """One subject of a picture.

    prompt: the image prompt of the subject.
    options: how the prompt is applied; its mask is replaced by that of the region.
    mask: where the subject is, (masks, height, width).
    positive: the text that acts there; None for none.
    negative: the negative text that acts there; None for none.
    text_strength: how much these texts count against those of the whole picture.
    """

    prompt: ImagePrompt
    options: ApplyOptions
    mask: Tensor
    positive: Conditioning | None = None
    negative: Conditioning | None = None
    text_strength: float = 1.0


@dataclass(frozen=True)
class Prompted:
    """What goes to a sampler.

    model: the MODEL with its image prompts.
    positive: the text of the positive side.
    negative: the text of the negative side.
    """

    model: ModelPatcher
    positive: Conditioning
    negative: Conditioning


def apply(base: Prompted, regions: Sequence[Region]) -> Prompted:
    """The model with the image prompt of each region in its place, and the texts with those of the regions added.

    Raises ValueError when a prompt or a mask does not fit.
    """
    model = base.model
    for region in regions:
        model = model_patch.apply(model, region.prompt, replace(region.options, mask=region.mask))
    return Prompted(
        model,
        base.positive + [entry for region in regions for entry in _place(region.positive, region)],
        base.negative + [entry for region in regions for entry in _place(region.negative, region)],
    )


def mask_texts(text: Conditioning, region_mask: Tensor, strength: float) -> Conditioning:
    """A text in a place, as core's Conditioning (Set Mask) does it; strength: how much it counts against others."""
    mask = usable(region_mask)
    if mask is None:  # all of the picture
        return conditioning_set_values(text, {"strength": strength})
    return conditioning_set_values(text, {"mask": mask, "mask_strength": strength, "set_area_to_bounds": False})


def _place(text: Conditioning | None, region: Region) -> Conditioning:
    return mask_texts(text, region.mask, region.text_strength) if text else []
