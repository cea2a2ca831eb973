"""Image prompts: from the features of reference images to tokens, keys and values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..adapters.identity import Identity
from ..adapters.keys_values import KeysValues
from ..adapters.lora import AdapterLora
from ..adapters.variants import ENCODED
from .combine import CONCAT, Gathering, Merge, attn_bias

COND, UNCOND = 0, 1


AdapterInputs = tuple[Tensor, ...]
"""What an adapter reads of images: a tensor (images, …, width) for each field of its variant, in order."""


class Features(NamedTuple):
    """What is known of images: embeds (images, embed) and hidden (images, patches, width) of a vision encoder; face
    (images, face), the embeddings of a recognition network as it gives them."""

    embeds: Tensor | None = None
    hidden: Tensor | None = None
    face: Tensor | None = None

    @property
    def normed_face(self) -> Tensor | None:
        """Face embeddings of length 1."""
        return None if self.face is None else normalize(self.face, dim=-1)

    def select_for(self, identity: Identity, encoder: str) -> AdapterInputs:
        """What an adapter reads of the images.

        encoder: how the user knows the encoder. Raises ValueError when it is not the one the adapter was trained with.
        """
        found = tuple(getattr(self, field) for field in identity.variant.reads)
        for field, width, tensor in zip(identity.variant.reads, identity.widths, found, strict=True):
            if tensor is None or tensor.shape[-1] != width:
                given = "none" if tensor is None else tensor.shape[-1]
                needed = identity.encoder if field in ENCODED else "a recognition network of the ArcFace kind"
                raise ValueError(
                    f"This {identity.variant.name} adapter reads {field} of width {width} ({needed}); "
                    f"the connected {encoder} gives {given}. Load {needed} instead."
                )
        return found


@dataclass(frozen=True, eq=False)
class PromptPart:
    """References that are attended to under one softmax.

    tokens (rows, tokens, context); keys_values of every layer (rows, tokens, inner), in adapter order. order (sides,
    frames): which row a frame reads on each side, COND and UNCOND; one frame stands for all, and the last for all after
    it. weights (frames,): what λ is multiplied with. emphasis (tokens,): the logarithm of how often a token counts.
    masks: where it acts, each (frames, height, width), all of them together. images: how many the tokens of a row
    are of, equally many each.
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
        """For how many frames it says something; 1 is for all alike."""
        return self.row_index.shape[1]

    def side(self, side: int) -> Tensor:
        """Tokens of one side, (frames, tokens, context)."""
        return self.tokens[self.row_index[side]]


class Origin(NamedTuple):
    """Which adapter made a prompt: how the user knows it, and a digest of its weights."""

    name: str
    digest: str


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """Reference images as a condition, bound to the adapter that reads them; its parts add up.

    identity: what the adapter is.
    parts: tokens under a softmax each.
    lora: what the adapter brings for the model's own weights.
    make_keys_values: makes keys and values from tokens, where the base model itself projects the tokens first
        (`with_text_projection`); until then the parts have none.
    origin: known of adapters that were loaded for a graph.
    """

    identity: Identity
    parts: tuple[PromptPart, ...]
    lora: AdapterLora | None = None
    make_keys_values: Callable[[Tensor], tuple[KeysValues, ...]] | None = None
    origin: Origin | None = None

    def with_text_projection(self, project: Callable[[Tensor], Tensor]) -> ImagePrompt:
        """The prompt with keys and values of the tokens as the base model projects them; itself where it does not."""
        if self.make_keys_values is None:
            return self
        parts = []
        for part in self.parts:
            tokens = project(part.tokens)
            parts.append(replace(part, tokens=tokens, keys_values=self.make_keys_values(tokens)))
        return replace(self, parts=tuple(parts), make_keys_values=None)


class Network(Protocol):
    """What makes tokens, keys and values of what an adapter reads: an `Adapter`, wherever it runs."""

    lora: AdapterLora | None

    def identity(self) -> Identity:
        """What the adapter is."""

    def tokens(self, *features: Tensor, **scales: float) -> Tensor:
        """(images, …) each -> (images, tokens, context)."""

    def keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        """(…, tokens, context) -> (…, tokens, inner) of every layer."""


def image_prompt(
    network: Network, cond: AdapterInputs, uncond: AdapterInputs, gathering: Gathering = CONCAT, **scales: float
) -> ImagePrompt:
    """One prompt of all given images.

    cond (images, …) and uncond (1 to images, …): what the adapter reads of the images and of negative ones. Fewer
    negative ones are dealt in turn; where the images are merged, so are the negative ones. gathering: how several
    become one, by default with their tokens side by side under one softmax. scales: of the variant. Raises ValueError
    when there are more negative images than images, or when weights or masks do not suit the images.
    """
    count, negative = len(cond[0]), len(uncond[0])
    if negative > count:
        raise ValueError(f"There are {negative} negative images for {count} images; give at most as many.")
    drafts = [draft for draft in _part_specs(gathering.check(count), cond, uncond) if draft.counts]
    parts = tuple(_part(network, draft, **scales) for draft in drafts)
    project = network.keys_values if network.identity().variant.needs_text_projection else None
    return ImagePrompt(network.identity(), parts, network.lora, project)


class _PartSpec(NamedTuple):
    """What a part is made of: readings of its images, and how the tokens of these stand.

    weights: of the images under one softmax; strengths: of the frames.
    """

    cond: AdapterInputs
    uncond: AdapterInputs
    weights: tuple[float, ...] = (1.0,)
    framed: bool = False
    strengths: tuple[float, ...] = (1.0,)
    masks: tuple[Tensor, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether anything is left of it."""
        return any(self.strengths)


def _part_specs(gathering: Gathering, cond: AdapterInputs, uncond: AdapterInputs) -> Iterator[_PartSpec]:
    """The parts of a prompt: one, or one for each image that stands apart.

    Images of weight 0 are left out, except that a frame keeps its place.
    """
    way, weights = gathering.way, gathering.weights
    masks = () if gathering.masks is None else (gathering.masks,)
    if way.framed:
        strengths = weights if len(set(weights)) > 1 else weights[:1]
        yield _PartSpec(cond, uncond, (1.0,), True, strengths, masks)
        return
    kept = [index for index, weight in enumerate(weights) if weight]
    dealt = [index % len(uncond[0]) for index in kept]
    negatives, cond, uncond = uncond, select_rows(cond, kept), select_rows(uncond, dealt)
    weights = tuple(weights[index] for index in kept)
    if way.merge:
        yield _PartSpec(_merge(way.merge, cond, weights), _merge_negatives(way.merge, negatives))
    elif way.apart:
        for row, (index, weight) in enumerate(zip(kept, weights, strict=True)):
            own = tuple(mask[index : index + 1] for mask in masks)
            yield _PartSpec(select_rows(cond, [row]), select_rows(uncond, [row]), strengths=(weight,), masks=own)
    else:
        yield _PartSpec(cond, uncond, weights)


def _merge(merge: Merge, reading: AdapterInputs, weights: Sequence[float]) -> AdapterInputs:
    return tuple(merge(part, torch.tensor(weights)) for part in reading)


def _merge_negatives(merge: Merge, reading: AdapterInputs) -> AdapterInputs:
    """Several negative images as the images are merged, all of weight 1; a single one stays as it is."""
    count = len(reading[0])
    return reading if count == 1 else _merge(merge, reading, (1.0,) * count)


def select_rows(reading: AdapterInputs, numbers: Sequence[int]) -> AdapterInputs:
    """What is read of the images with these numbers, in this order."""
    return tuple(part[list(numbers)] for part in reading)


def _part(network: Network, draft: _PartSpec, **scales: float) -> PromptPart:
    """Tokens, keys and values of a draft: its images are frames, or stand side by side under one softmax."""
    cond, uncond = network.tokens(*draft.cond, **scales), network.tokens(*draft.uncond, **scales)
    images, each = 1 if draft.framed else len(cond), cond.shape[1]
    if draft.framed:
        numbers = torch.arange(len(cond))
        order = torch.stack([numbers, len(cond) + numbers % len(uncond)])
    else:
        cond, uncond = (tokens.flatten(0, 1)[None] for tokens in (cond, uncond))
        order = torch.tensor([[0], [1]])
    tokens = torch.cat([cond, uncond])
    made = () if network.identity().variant.needs_text_projection else network.keys_values(tokens)
    return PromptPart(tokens, made, order, draft.strengths, attn_bias(draft.weights, each), draft.masks, images)
