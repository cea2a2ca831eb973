"""Tokens of a face prompt as a ControlNet reads them: InstantID's has them in the place of a text."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ..adapters.variants import VARIANTS
from .prompt import COND, UNCOND, ImagePrompt, PromptPart


class ControlTokens(NamedTuple):
    """What a ControlNet reads on either side, (1, tokens, context) each.

    cond: tokens of the faces. uncond: of what the prompt moves away from, by default of an embedding of zeros.
    """

    cond: Tensor
    uncond: Tensor

    @property
    def context(self) -> int:
        """Width of the tokens."""
        return self.cond.shape[-1]


def control_tokens(prompt: ImagePrompt) -> ControlTokens:
    """The tokens of a prompt for InstantID's ControlNet (pipeline_stable_diffusion_xl_instantid.py, prompt_image_emb).

    Raises ValueError for a prompt of an adapter that no ControlNet was trained with, and for what one cannot follow:
    several prompts, or weights, masks and frames within one.
    """
    if not prompt.identity.variant.feeds_control:
        kinds = " or ".join(variant.name for variant in VARIANTS if variant.feeds_control)
        name = prompt.origin.name if prompt.origin else "this adapter"
        raise ValueError(
            f"Encode the face with InstantID's ip-adapter.bin, of kind {kinds}, whose tokens the ControlNet was "
            f"trained to read; {name} is of kind {prompt.identity.variant.name}."
        )
    part, *more = prompt.parts or (None,)
    if part is None or more or _has_more_than_tokens(part):
        raise ValueError(
            "Connect Encode Face Prompt with combine set to concat or average, and without weights and masks; a "
            "ControlNet reads the tokens of one prompt, and cannot follow weights, masks or frames inside it. This "
            "node has a strength and a mask of its own."
        )
    return ControlTokens(part.side(COND), part.side(UNCOND))


def _has_more_than_tokens(part: PromptPart) -> bool:
    return part.frames > 1 or part.weights != (1.0,) or part.attn_bias is not None or bool(part.masks)
