"""Arithmetic on image prompts of one adapter: sums, differences, interpolation, and prompts beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..adapters.keys_values import KeysValues
from ..text.checks import check_choice, check_finite
from .prompt import COND, UNCOND, ImagePrompt, PromptPart


class MixCoefficients(NamedTuple):
    """Factors of two prompts in a sum.

    cond: of the first and the second prompt on the cond side.
    uncond: of both on the uncond side.
    """

    cond: tuple[float, float]
    uncond: tuple[float, float]


def combine_prompts(first: ImagePrompt, second: ImagePrompt, how: str, weights: tuple[float, float]) -> ImagePrompt:
    """Two prompts as one.

    how: a row of PROMPT_OPS. weights: of the first and the second prompt; the row decides what they mean. Raises
    ValueError when the prompts are of different adapters or cannot be combined in this way, and when a weight is not
    valid.
    """
    check_choice("how", how, PROMPT_OPS)
    check_finite(first_weight=weights[0], second_weight=weights[1])
    _check_same_adapter(first, second)
    return PROMPT_OPS[how](first, second, *weights)


def concat_parts(prompts: Sequence[ImagePrompt]) -> ImagePrompt:
    """One prompt with the parts of all; their effects add up, as if applied one by one. All have one adapter."""
    return replace(prompts[0], parts=tuple(part for prompt in prompts for part in prompt.parts))


def scale_prompt(prompt: ImagePrompt, weight: float) -> ImagePrompt:
    """The prompt with all its weights multiplied."""
    parts = tuple(replace(part, weights=tuple(w * weight for w in part.weights)) for part in prompt.parts)
    return replace(prompt, parts=parts)


def add_mask(prompt: ImagePrompt, mask: Tensor) -> ImagePrompt:
    """The prompt with one more mask (masks, height, width)."""
    return replace(prompt, parts=tuple(replace(part, masks=(*part.masks, mask)) for part in prompt.parts))


def _check_same_adapter(first: ImagePrompt, second: ImagePrompt) -> None:
    first_origin, second_origin = (prompt.origin for prompt in (first, second))
    same = (
        first_origin.digest == second_origin.digest
        if first_origin and second_origin
        else first.identity == second.identity
    )
    if not same:
        names = [prompt.origin.name if prompt.origin else prompt.identity.variant.name for prompt in (first, second)]
        raise ValueError(
            "Encode both with the same adapter, or apply them one after the other; these prompts are "
            f"of two adapters, {names[0]} and {names[1]}, whose tokens mean different things."
        )


def _interpolate(first: ImagePrompt, second: ImagePrompt, one: float, other: float) -> ImagePrompt:
    total = one + other
    if not total:
        raise ValueError(
            f"Change one of the weights {one:g} and {other:g}; they add up to 0, and nothing lies "
            "between the prompts there."
        )
    factors = (one / total, other / total)
    return _mix(first, second, MixCoefficients(factors, factors))


def _add(first: ImagePrompt, second: ImagePrompt, one: float, other: float) -> ImagePrompt:
    return _mix(first, second, _leaving_uncond(first, second, (one, other)))


def _subtract(first: ImagePrompt, second: ImagePrompt, one: float, other: float) -> ImagePrompt:
    return _mix(first, second, _leaving_uncond(first, second, (one, -other)))


def _leaving_uncond(first: ImagePrompt, second: ImagePrompt, factors: tuple[float, float]) -> MixCoefficients:
    """Factors of the cond side; uncond stays the first prompt's, except where both sides of both prompts are alike."""
    parts = (*first.parts, *second.parts)
    unguided = not first.identity.variant.guided
    alike = unguided and all(torch.equal(part.side(COND), part.side(UNCOND)) for part in parts)
    return MixCoefficients(factors, factors if alike else (1.0, 0.0))


def _side_by_side(first: ImagePrompt, second: ImagePrompt, one: float, other: float) -> ImagePrompt:
    if min(one, other) < 0:
        raise ValueError(
            f"Set both weights to 0 or more; they are {one:g} and {other:g}, and under one softmax none can be below 0."
        )
    if not one and not other:
        raise ValueError("Give one of the prompts a weight that is not 0; found only 0, which leaves nothing.")
    if not one or not other:
        return first if one else second
    each = first.identity.tokens
    parts = tuple(_concat_tokens(*pair, (one, other), each) for pair in _pairs(first, second))
    return replace(first, parts=parts)


def _apply_both(first: ImagePrompt, second: ImagePrompt, one: float, other: float) -> ImagePrompt:
    scaled = [scale_prompt(prompt, weight) for prompt, weight in ((first, one), (second, other)) if weight]
    return concat_parts(scaled or [scale_prompt(first, 0.0)])


PROMPT_OPS: dict[str, Callable[[ImagePrompt, ImagePrompt, float, float], ImagePrompt]] = {
    "interpolate": _interpolate,
    "add": _add,
    "subtract": _subtract,
    "side by side": _side_by_side,
    "both": _apply_both,
}


def _mix(first: ImagePrompt, second: ImagePrompt, factors: MixCoefficients) -> ImagePrompt:
    """Weighted sums of tokens, with their K' and V': weighted sums too, where these are linear in the tokens."""
    parts, remake = [], None if first.identity.variant.linear else first.make_keys_values
    for one, other in _pairs(first, second):
        if one.tokens.shape[1:] != other.tokens.shape[1:]:
            raise ValueError(
                "Give both the same number of images, or combine them side by side; these prompts have "
                f"{one.tokens.shape[1]} and {other.tokens.shape[1]} tokens, which cannot be added."
            )
        if not _equal(_as_tuple(one.attn_bias), _as_tuple(other.attn_bias)):
            raise ValueError(
                "Encode both with the same weights of their images, or combine them side by side; the "
                "images of these prompts count differently under one softmax, and mixed they would count "
                "alike."
            )
        mixed = _sum(one, other, factors)
        parts.append(_with_keys_values(mixed, remake) if remake else mixed)
    return replace(first, parts=tuple(parts))


def _pairs(first: ImagePrompt, second: ImagePrompt) -> list[tuple[PromptPart, PromptPart]]:
    """The parts of two prompts in pairs of equally many frames, each with a row for each frame of each side."""
    if len(first.parts) != len(second.parts):
        raise ValueError(
            f'Combine these prompts by "both": they stand in {len(first.parts)} and '
            f"{len(second.parts)} places with tokens of their own, and only prompts alike in this can "
            "be mixed."
        )
    pairs = []
    for one, other in zip(first.parts, second.parts, strict=True):
        if one.weights != other.weights or not _equal(one.masks, other.masks):
            raise ValueError(
                'Encode both with the same weights and masks, or combine them by "both"; the images of '
                "these prompts have different ones, and mixed they would have the same."
            )
        frames = max(one.frames, other.frames)
        pairs.append((_expand_frames(one, frames), _expand_frames(other, frames)))
    return pairs


def _equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def _as_tuple(attn_bias: Tensor | None) -> tuple[Tensor, ...]:
    return () if attn_bias is None else (attn_bias,)


def _expand_frames(part: PromptPart, frames: int) -> PromptPart:
    """The part with a row for each frame of each side: (2 · frames, tokens, …)."""
    rows = part.row_index[:, torch.arange(frames).clamp(max=part.frames - 1)].flatten()
    kv = tuple(KeysValues(keys[rows], values[rows]) for keys, values in part.keys_values)
    return replace(part, tokens=part.tokens[rows], keys_values=kv, row_index=torch.arange(len(rows)).reshape(2, -1))


def _sum(one: PromptPart, other: PromptPart, factors: MixCoefficients) -> PromptPart:
    a_factor, b_factor = (_by_row(index, factors, one.frames).to(one.tokens) for index in (0, 1))
    pairs = zip(one.keys_values, other.keys_values, strict=True)
    kv = tuple(KeysValues(*(a * a_factor + b * b_factor for a, b in zip(x, y, strict=True))) for x, y in pairs)
    return replace(one, tokens=one.tokens * a_factor + other.tokens * b_factor, keys_values=kv)


def _with_keys_values(part: PromptPart, make: Callable[[Tensor], Sequence[KeysValues]]) -> PromptPart:
    """The part with K' and V' made of its tokens, of the dtype and on the device of those it had."""
    pairs = zip(make(part.tokens), part.keys_values, strict=True)
    kv = tuple(KeysValues(keys.to(old.keys), values.to(old.values)) for (keys, values), old in pairs)
    return replace(part, keys_values=kv)


def _by_row(prompt: int, factors: MixCoefficients, frames: int) -> Tensor:
    """The factor of prompt 0 or 1 for each row, (rows, 1, 1): first the rows of the cond side, then of uncond."""
    sides = torch.tensor([factors.cond[prompt], factors.uncond[prompt]])
    return sides.repeat_interleave(frames)[:, None, None]


def _concat_tokens(one: PromptPart, other: PromptPart, weights: tuple[float, float], each: int | None) -> PromptPart:
    """One part with the tokens of both under one softmax; each: tokens per image, None where images differ in it."""
    pairs = zip(one.keys_values, other.keys_values, strict=True)
    kv = tuple(KeysValues(*(torch.cat(both, dim=1) for both in zip(x, y, strict=True))) for x, y in pairs)
    biases = torch.cat([_token_bias(part, weight, each) for part, weight in zip((one, other), weights, strict=True)])
    tokens = torch.cat([one.tokens, other.tokens], dim=1)
    attn_bias = biases if biases.unique().numel() > 1 else None  # equal biases change nothing in a softmax
    return replace(one, tokens=tokens, keys_values=kv, attn_bias=attn_bias, images=one.images + other.images)


def _token_bias(part: PromptPart, weight: float, each: int | None) -> Tensor:
    """The bias of each token, (tokens,), when the whole part has this weight under the softmax."""
    tokens = part.images * each if each else part.tokens.shape[1]
    own = torch.zeros(tokens) if part.attn_bias is None else part.attn_bias
    return own + torch.tensor(weight).log()
