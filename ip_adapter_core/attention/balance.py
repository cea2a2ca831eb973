"""TABLE of the ways in which what image prompts add to a layer is held against what the text says there.

Adapters differ in how long their V' are, and several references add up: the same λ is faint here and drowns the text
there. Balance measures both attentions where they are added and makes λ a share of the text's. With T = Attn(Q, K, V),
S = mask·Attn(Q, K', w·V') of a prompt, and Σ over all prompts that are balanced,

    Z = T + Σ f·S      f by the row of the table from the ratio ‖L·T‖ / ‖Σ S‖      L the largest |w·mask| of them

It is the sum that is held: several references of one λ have together the say of one, and their shares stay as they are.
L·T is what they may say together at a query: where w or the mask is 0, nothing.

‖…‖ is over the queries and channels of a layer, in each row of the batch. One number for a row keeps what the adapter
has learned: where in the picture it says much, and in which heads. A number for each query or head raises what it only
whispers; and one for all rows would let pictures and the two sides of guidance depend on each other. A prompt with a
mask is measured within it, weighted with it, so that regions do not weaken one another.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import reduce
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

OFF = "off"

_LEAST = 1e-12  # lower bound of norms, so that nothing is divided by zero: where nothing is added, 0 stays 0

MOST = 100.0
"""The largest factor: a sum that is fainter is what rounding leaves of prompts that cancel out."""

BALANCES: dict[str, Callable[[Tensor], Tensor]] = {
    OFF: torch.ones_like,
    "cap": lambda ratio: ratio.clamp(max=1.0),
    "equalise": lambda ratio: ratio.clamp(max=MOST),
}
"""Word -> the factor of a prompt, from the ratio of what prompts may say to what they do say. Those with the first word
take no part in the ratio."""


class Balance(NamedTuple):
    """How an image prompt is balanced in a layer.

    mode: a row of BALANCES other than off.
    limit: |w|, (rows, 1, groups) with a group for each prompt; neighbouring rows of the batch share a row of it.
    place: equal for prompts that have the same masks.
    """

    mode: str
    limit: Tensor
    place: Hashable = ()


class Balanced(NamedTuple):
    """What prompts of one mode and mask add to a layer.

    mode: a row of BALANCES.
    added: S, (batch, pixels, inner).
    limit: the largest |w·mask|, (batch, pixels or 1, 1).
    mask: where they are measured, (batch, pixels, 1); None is everywhere.
    """

    mode: str
    added: Tensor
    limit: Tensor
    mask: Tensor | None = None


def plain_balance(text: Tensor, parts: Sequence[Balanced]) -> Tensor:
    """Z as the formula says it, of T (batch, pixels, inner); the fast form, T + hold(T, parts), must equal it."""
    total = torch.stack([part.added for part in parts]).sum(0)
    limit = torch.stack([part.limit.expand(*text.shape[:2], 1) for part in parts]).amax(0)
    result = text.clone()
    for row, part in product(range(len(text)), parts):
        within = 1.0 if part.mask is None else part.mask[row]
        may, does = ((within * x).square().sum().sqrt() for x in (limit[row] * text[row], total[row]))
        result[row] += BALANCES[part.mode](may / does if does else does) * part.added[row]
    return result


def hold(text: Tensor, parts: Sequence[Balanced]) -> Tensor:
    """Σ f·S of parts that are balanced, (batch, pixels, inner); text is T, of the same shape. At least one part."""
    weighed = zip(factors(text, parts), parts, strict=True)
    return reduce(torch.add, ((part.added * factor).to(part.added.dtype) for factor, part in weighed))


def factors(text: Tensor, parts: Sequence[Balanced]) -> list[Tensor]:
    """f of each part, (batch, 1, 1), in fp32 or better: half precision has no room for a ratio to almost nothing."""
    limit = reduce(torch.maximum, (part.limit for part in parts))
    may = limit * _lengths(text)
    does = _lengths(reduce(torch.add, (part.added for part in parts)))
    return [BALANCES[part.mode](_norm(may, part.mask) / _norm(does, part.mask).clamp(min=_LEAST)) for part in parts]


def balance_at(mode: str, weight: float | Tensor, like: Tensor, place: Hashable = ()) -> Balance | None:
    """The balance of a prompt whose K' and V' hold this weight, on the device of another tensor; None for off.

    The limit is a tensor even where all rows have one weight, as a traced graph would take a number as constant.
    """
    if mode == OFF:
        return None
    limit = weight if isinstance(weight, Tensor) else torch.full((1, 1, 1), weight, device=like.device)
    return Balance(mode, limit.abs(), place)


def join(balances: Sequence[Balance | None]) -> Balance | None:
    """The balance of prompts that are computed together, of one mode and place; None where they have none."""
    some = [balance for balance in balances if balance]
    if not some:
        return None
    rows = max(len(balance.limit) for balance in some)
    return some[0]._replace(limit=torch.cat([balance.limit.expand(rows, -1, -1) for balance in some], dim=-1))


def _lengths(x: Tensor) -> Tensor:
    """The length of each query's vector: (batch, pixels, inner) -> (batch, pixels, 1)."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)


def _norm(lengths: Tensor, mask: Tensor | None) -> Tensor:
    """The norm of a layer from the lengths of its queries, (batch, pixels, 1) -> (batch, 1, 1)."""
    return torch.linalg.vector_norm(lengths if mask is None else lengths * mask, dim=1, keepdim=True)
