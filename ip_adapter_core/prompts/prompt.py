"""Image prompts: from the features of reference images to tokens, keys and values.

    features   of images (images, …, width) and of negative images, by Features.select_for
    tokens     (images, tokens, context) each, by the adapter's projection
    rows       (rows, tokens, context): a row is what one side of one frame reads

Three examples with 2 images, one negative image and 4 tokens per image; row_index has the shape (sides, frames):

    concat         rows [cond of both, 8 tokens] [uncond of both, 8 tokens]       row_index [[0], [1]]
    separate       two parts, each with rows [cond, 4 tokens] [uncond, 4 tokens]  row_index [[0], [1]]
    one per frame  rows [cond 1] [cond 2] [uncond], 4 tokens each                 row_index [[0, 1], [2, 2]]

K' and V' of every layer are made of these rows: (rows, tokens, inner).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..adapters.identity import Identity
from ..adapters.keys_values import KeysValues, TimedKeysValues
from ..adapters.lora import AdapterLora
from ..settings.instruction import Instruction
from .combine import CONCAT, Gathering, Merge, attn_bias
from .features import AdapterInputs, select_rows
from .told import Sides, tell

COND, UNCOND = 0, 1
"""The two sides of a prompt: tokens for the positive rows of a batch, and for the negative ones."""


@dataclass(frozen=True, eq=False)
class PromptPart:
    """The tokens that share one softmax.

    tokens: (rows, tokens, context); of a timed adapter what its tokens are made of, (rows, images · patches, width).
    keys_values: K' and V' of every layer in adapter order, (rows, tokens, inner) each; empty where they are made later.
    row_index: the row that each frame reads on the sides COND and UNCOND, (sides, frames); later frames read the last.
    weights: factor of λ for each frame, (frames,); later frames have the last one.
    attn_bias: logarithm of how often each token counts under the softmax, (tokens,); None when all count once.
    masks: where it acts, (frames, height, width) each; their product counts.
    images: number of images in a row; each has equally many tokens.
    """

    tokens: Tensor
    keys_values: tuple[KeysValues, ...]
    row_index: Tensor
    weights: tuple[float, ...] = (1.0,)
    attn_bias: Tensor | None = None
    masks: tuple[Tensor, ...] = ()
    images: int = 1

    @property
    def frames(self) -> int:
        """Number of frames with rows of their own; 1 means that all frames are alike."""
        return self.row_index.shape[1]

    def side(self, side: int) -> Tensor:
        """Tokens of one side, (frames, tokens, context)."""
        return self.tokens[self.row_index[side]]


class Origin(NamedTuple):
    """Which adapter made a prompt.

    name: the adapter's name for the user.
    digest: of the adapter's weights.
    """

    name: str
    digest: str


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """Reference images as a condition for one adapter; the effects of its parts add up.

    identity: what the adapter is.
    parts: tokens with a softmax of their own each.
    lora: changes to the model's own weights that belong to the adapter.
    make_keys_values: makes K' and V' from tokens when the base model itself projects the tokens first
        (`with_text_projection`); until then the parts have none.
    timed: makes K' and V' from tokens at each noise level, where the adapter's kind is timed; the parts have none.
    remake_keys_values: makes K' and V' from tokens where they are not linear in these; None where they are.
    origin: which adapter made it; None when the adapter was not loaded from a file.
    """

    identity: Identity
    parts: tuple[PromptPart, ...]
    lora: AdapterLora | None = None
    make_keys_values: Callable[[Tensor], tuple[KeysValues, ...]] | None = None
    origin: Origin | None = None
    timed: TimedNetwork | None = None
    remake_keys_values: Callable[[Tensor], tuple[KeysValues, ...]] | None = None

    def with_text_projection(self, project: Callable[[Tensor], Tensor]) -> ImagePrompt:
        """The prompt with K' and V' of the tokens after the base model's projection; unchanged if it needs none."""
        if self.make_keys_values is None:
            return self
        parts = []
        for part in self.parts:
            tokens = project(part.tokens)
            parts.append(replace(part, tokens=tokens, keys_values=self.make_keys_values(tokens)))
        return replace(self, parts=tuple(parts), make_keys_values=None)


class TimedNetwork(Protocol):
    """What makes K' and V' at a noise level."""

    def keys_values_at(self, tokens: Tensor, images: int, time: float | Tensor) -> tuple[TimedKeysValues, ...]:
        """(rows, images · patches, width) -> (rows, tokens, inner) of every layer; time: as in `Adapter`."""


class Network(TimedNetwork, Protocol):
    """An `Adapter` on any device: it makes tokens of features, and K' and V' of tokens."""

    lora: AdapterLora | None

    def identity(self) -> Identity:
        """What the adapter is."""

    def tokens(self, *features: Tensor, **beside: float | Tensor) -> Tensor:
        """(images, …) each -> (images, tokens, context); beside: as in `Adapter.tokens`."""

    def keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        """(…, tokens, context) -> (…, tokens, inner) of every layer."""


def image_prompt(
    network: Network,
    cond: AdapterInputs,
    uncond: AdapterInputs,
    gathering: Gathering = CONCAT,
    instruction: Instruction | None = None,
    **scales: float,
) -> ImagePrompt:
    """One prompt of all images.

    cond: features of the images, (images, …) each. uncond: features of the negative images, (1 to images, …) each; when
    there are fewer than images, they are repeated in turn, and when images are merged, so are negative images. The
    same object as cond: both sides read the same.
    gathering: how several images become one prompt, by default with tokens side by side under one softmax. instruction:
    what an instructed adapter is told, and others do not read. scales: the numbers that Variant.scales names. Raises
    ValueError when there are more negative images than images, when weights or masks do not fit the images, and as
    `tell` does.
    """
    count, negative = len(cond[0]), len(uncond[0])
    if negative > count:
        raise ValueError(
            f"Give at most as many negative images as images; found {negative} negative images for {count} images."
        )
    specs = [spec for spec in _part_specs(gathering.check(count), cond, uncond) if spec.has_effect]
    sides, variant = tell(network.identity(), instruction), network.identity().variant
    parts = tuple(_part(network, spec, sides, **scales) for spec in specs)
    make_keys_values = network.keys_values if variant.needs_text_projection else None
    timed = network if variant.timed else None
    remake = None if variant.linear else network.keys_values
    return ImagePrompt(network.identity(), parts, network.lora, make_keys_values, None, timed, remake)


class _PartSpec(NamedTuple):
    """What one part is made of.

    cond: features of its images.
    uncond: features of their negative images.
    weights: of the images under one softmax.
    framed: whether each image is for a frame of its own; otherwise their tokens stand side by side.
    strengths: factor of λ for each frame.
    masks: where it acts, (frames, height, width) each.
    """

    cond: AdapterInputs
    uncond: AdapterInputs
    weights: tuple[float, ...] = (1.0,)
    framed: bool = False
    strengths: tuple[float, ...] = (1.0,)
    masks: tuple[Tensor, ...] = ()

    @property
    def has_effect(self) -> bool:
        """Whether any of its strengths is not 0."""
        return any(self.strengths)


def _part_specs(gathering: Gathering, cond: AdapterInputs, uncond: AdapterInputs) -> Iterator[_PartSpec]:
    """The parts of a prompt: one for all images, or one for each image.

    Images of weight 0 are left out, unless each image is for a frame of its own.
    """
    mode, weights = gathering.mode, gathering.weights
    masks = () if gathering.masks is None else (gathering.masks,)
    if mode.framed:
        strengths = weights if len(set(weights)) > 1 else weights[:1]
        yield _PartSpec(cond, uncond, (1.0,), True, strengths, masks)
        return
    indices = [index for index, weight in enumerate(weights) if weight]
    negative_indices = [index % len(uncond[0]) for index in indices]
    negatives, alike = uncond, uncond is cond
    cond, uncond = select_rows(cond, indices), select_rows(uncond, negative_indices)
    weights = tuple(weights[index] for index in indices)
    if mode.merge:
        merged = _merge(mode.merge, cond, weights)
        yield _PartSpec(merged, merged if alike else _merge_negatives(mode.merge, negatives))
    elif mode.apart:
        for row, (index, weight) in enumerate(zip(indices, weights, strict=True)):
            own = tuple(mask[index : index + 1] for mask in masks)
            yield _PartSpec(select_rows(cond, [row]), select_rows(uncond, [row]), strengths=(weight,), masks=own)
    else:
        yield _PartSpec(cond, uncond, weights)


def _merge(merge: Merge, inputs: AdapterInputs, weights: Sequence[float]) -> AdapterInputs:
    """Features of one image; of the mixture is read what is read of any of the images."""
    return tuple(
        part.any(0, keepdim=True) if part.dtype == torch.bool else merge(part, torch.tensor(weights)) for part in inputs
    )


def _merge_negatives(merge: Merge, inputs: AdapterInputs) -> AdapterInputs:
    """Several negative images merged like the images, each with weight 1; a single one stays as it is."""
    count = len(inputs[0])
    return inputs if count == 1 else _merge(merge, inputs, (1.0,) * count)


def _part(network: Network, spec: _PartSpec, sides: Sides, **scales: float) -> PromptPart:
    """A part with its tokens and their K' and V'; the rows are as in the examples above."""
    cond = network.tokens(*spec.cond, **sides.cond, **scales)
    uncond = network.tokens(*spec.uncond, **sides.uncond, **scales)
    identity, images = network.identity(), 1 if spec.framed else len(cond)
    bias = attn_bias(spec.weights, identity.tokens or cond.shape[1])
    if spec.framed:
        frames = torch.arange(len(cond))
        row_index = torch.stack([frames, len(cond) + frames % len(uncond)])
    else:
        cond, uncond = (tokens.flatten(0, 1)[None] for tokens in (cond, uncond))
        row_index = torch.tensor([[0], [1]])
    tokens = torch.cat([cond, uncond])
    later = identity.variant.needs_text_projection or identity.variant.timed
    kv = () if later else network.keys_values(tokens)
    return PromptPart(tokens, kv, row_index, spec.strengths, bias, spec.masks, images)
