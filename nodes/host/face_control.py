"""A ControlNet that reads face tokens in the place of the text, as InstantID's does, in ComfyUI's conditioning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import torch
from comfy.conds import CONDCrossAttn
from comfy.controlnet import ControlBase
from torch import Tensor

from ...ip_adapter_core.layers.families import FAMILIES
from ...ip_adapter_core.prompts.control import ControlTokens, control_tokens
from ...ip_adapter_core.prompts.prompt import ImagePrompt
from ...ip_adapter_core.settings import masks

Conditioning = list[Any]
Control = dict[str, list[Tensor | None]]
"""What a ControlNet adds to a UNet, by stage."""

_CONTROL, _MODEL_CONDS = "control", "model_conds"
_CONTEXT = "crossattn_controlnet"  # in the place of the text, for every ControlNet of a chain
_OURS = "ipa_face_tokens_{}"


@dataclass(frozen=True, eq=False)
class Hint:
    """How a ControlNet is used.

    picture: what it looks at, (pictures, height, width, 3), 0..1.
    strength: how strongly it acts; 0 is not at all.
    start: where in the sampling it begins, 0..1. end: where it ceases.
    mask: where in the picture it acts, (masks, height, width); None for everywhere.
    """

    picture: Tensor
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mask: Tensor | None = None

    def check(self) -> Hint:
        """The hint. Raises ValueError when it ends before it starts, or has no picture."""
        if self.start > self.end:
            raise ValueError(f"Set end behind start; found start {self.start:g} and end {self.end:g}.")
        if self.picture.ndim != 4 or 0 in self.picture.shape or self.picture.shape[-1] < 3:
            shape = "x".join(map(str, self.picture.shape))
            raise ValueError(f"Connect key_points to a picture, such as Face Key Points draws it; found {shape}.")
        return self


def apply(
    positive: Conditioning, negative: Conditioning, control_net: Any, prompt: ImagePrompt, hint: Hint
) -> tuple[Conditioning, Conditioning]:
    """Both sides with the ControlNet, as core's Apply ControlNet makes them, and with the face tokens that it reads.

    ControlNets that are there already stay. Raises ValueError where adapter, ControlNet and hint do not go together.
    """
    tokens = control_tokens(prompt)
    check_network(control_net, tokens)
    hint = hint.check()
    mask = None if hint.mask is None else masks.usable(hint.mask)
    if hint.strength == 0:
        return positive, negative
    name = _free_name(positive + negative)
    picture, span = hint.picture[..., :3].movedim(-1, 1), (hint.start, hint.end)

    @cache
    def behind(previous: ControlBase | None) -> ControlBase:
        control = control_net.copy().set_cond_hint(picture, hint.strength, span)
        return _reading_faces(control, name, mask).set_previous_controlnet(previous)

    def with_control(entry: Any, side: Tensor) -> list[Any]:
        text, more = entry
        conds = {**more.get(_MODEL_CONDS, {}), name: CONDCrossAttn(side)}
        control = behind(more.get(_CONTROL))
        return [text, {**more, _CONTROL: control, "control_apply_to_uncond": False, _MODEL_CONDS: conds}]

    return (
        [with_control(entry, tokens.cond) for entry in positive],
        [with_control(entry, tokens.uncond) for entry in negative],
    )


class FaceControl(ControlBase):
    """A ControlNet of any class that reads face tokens, which each cond carries under a name, in place of the text.

    The others of its chain go on reading the text. With ComfyUI's own way, `cross_attn_controlnet` in a cond, all of
    them would read the tokens.
    """

    face_tokens: str
    face_mask: Tensor | None

    def get_control(self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], *more: Any) -> Control | None:
        """What it adds, and what those before it add; `more` begins with the number of chunks in the batch."""
        previous = self.previous_controlnet
        before: Control | None = previous and previous.get_control(x_noisy, t, cond, *more)
        if self.face_tokens not in cond:
            raise ValueError(
                "Connect both positive and negative of Apply InstantID ControlNet to the sampler; a text has its "
                "ControlNet and not its face tokens."
            )
        with _alone(self):
            own = super().get_control(x_noisy, t, {**cond, _CONTEXT: cond[self.face_tokens]}, *more)
        return before if own is None else ControlBase().control_merge(self._masked(own, more[0]), before, None)

    def copy(self) -> ControlBase:
        """The same for another hint, as ComfyUI and other packs ask for it."""
        return _reading_faces(super().copy(), self.face_tokens, self.face_mask)

    def _masked(self, own: Control, chunks: int) -> Control:
        """Each addition times the mask, as InstantID's pipeline has it (…_instantid_full.py, control_mask)."""
        if (mask := self.face_mask) is None:
            return own

        def masked(added: Tensor) -> Tensor:
            frames, grid = len(added) // chunks, (added.shape[-2], added.shape[-1])
            weights = masks.product((mask,), frames, grid).to(added)[:, None]
            return added * (weights.repeat(chunks, 1, 1, 1) if len(weights) > 1 else weights)

        return {stage: [None if one is None else masked(one) for one in added] for stage, added in own.items()}


def _reading_faces(control: ControlBase, name: str, mask: Tensor | None) -> ControlBase:
    """A ControlNet, from now on one that reads face tokens; whatever else its class does stays."""
    if not isinstance(control, FaceControl):
        control.__class__ = _with_faces(control.__class__)
    control.face_tokens, control.face_mask = name, mask
    return control


@cache
def _with_faces(kind: type[ControlBase]) -> type[ControlBase]:
    return type(f"Face{kind.__name__}", (FaceControl, kind), {})


@contextmanager
def _alone(control: ControlBase) -> Iterator[None]:
    """The ControlNet without those before it."""
    previous = control.previous_controlnet
    control.set_previous_controlnet(None)
    try:
        yield
    finally:
        control.set_previous_controlnet(previous)


def _free_name(conditioning: Conditioning) -> str:
    """A name for tokens that no cond has yet; the same in each run, as compiled models begin anew at new names."""
    taken = {name for _, more in conditioning for name in more.get(_MODEL_CONDS, {})}
    return next(name for name in map(_OURS.format, count()) if name not in taken)


def check_network(control_net: Any, tokens: ControlTokens) -> None:
    """Raises ValueError where a ControlNet does not read what is as wide as the tokens."""
    network = getattr(control_net, "control_model", None)
    reads = _context(network) if isinstance(network, torch.nn.Module) else None
    if reads is None:
        raise ValueError(
            "Connect InstantID's ControlNet, from Load ControlNet Model; this one has no layers that could read face "
            f"tokens (it is a {type(control_net).__name__})."
        )
    if reads != tokens.context:
        raise ValueError(
            f"Connect InstantID's ControlNet, which is for {_models(tokens.context)}, as this adapter is; the "
            f"connected one is for {_models(reads)}."
        )


def _context(network: torch.nn.Module) -> int | None:
    """How wide what its cross-attentions read is; None where it has none."""
    widths = (part.in_features for name, part in network.named_modules() if name.endswith("attn2.to_k"))
    width: int | None = next(widths, None)
    return width


def _models(context: int) -> str:
    """The models with texts of a width, in words."""
    names = [name for name, family in FAMILIES.items() if family.context == context]
    return f"{' or '.join(names) or 'another model'} (context {context})"
