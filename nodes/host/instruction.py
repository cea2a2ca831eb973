"""Texts as IP-Adapter-Instruct reads them: what CLIP-L says of each word at its end, behind its final norm."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...ip_adapter_core.settings.instruction import Instruction

_PART = "l"  # ComfyUI's name of CLIP-L among the text encoders of a CLIP


def instruct(clip: Any, instruction: str, prompt: str, negative: str = "") -> Instruction:
    """What an instructed adapter is told.

    clip: a CLIP with CLIP-L, as SD1.5 and SDXL have it. Raises ValueError for another, and without an instruction.
    """
    if not instruction.strip():
        raise ValueError("Write into instruction what to take from the picture, such as “use the style”; it is empty.")
    return Instruction(*(_states(clip, text) for text in (instruction, prompt, negative, "")))


def _states(clip: Any, text: str) -> Tensor:
    """(1, words, width), with the words as they are: no weights in brackets, and the end of a longer text cut off.

    SDXL's conditioning has the state of the layer before, without the norm, so it is not what is asked for. Source:
    unity-research/IP-Adapter-Instruct, ip_adapter/ip_adapter_instruct.py, generate of both classes.
    """
    encoder = getattr(getattr(clip, "cond_stage_model", None), f"clip_{_PART}", None)
    if encoder is None:
        raise ValueError(
            "Connect the CLIP of an SD1.5 or SDXL checkpoint; this one has no CLIP-L, which IP-Adapter-Instruct reads "
            "texts with."
        )
    alone = clip.clone()
    alone.cond_stage_model = _LastState(encoder)
    states: Tensor = alone.encode_from_tokens(clip.tokenize(text, disable_weights=True)[_PART][:1])
    return states.float()


class _LastState:
    """A text encoder of which the host gets the state of the last layer, behind the final norm.

    The host forgets a layer that was chosen before it sets the device (0.16 to 0.30), so it is chosen with whatever is
    set. Each encoding begins with a reset, so that nothing of this stays.
    """

    def __init__(self, encoder: Any) -> None:
        self.reset_clip_options = encoder.reset_clip_options
        self.encode_token_weights = encoder.encode_token_weights
        self._set = encoder.set_clip_options

    def set_clip_options(self, options: dict[str, Any]) -> None:
        self._set(options | {"layer": None})
