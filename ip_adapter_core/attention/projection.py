"""TABLE of the methods of PuLID: how far what an image prompt adds is turned away from what the text says already.

With T = Attn(Q, K, V), S = Attn(Q, K', V') of a prompt, and Σ over the queries of a layer,

    P = T · Σ(T·S) / Σ(T·T)        for each channel by itself: the part of S that T says too
    O = S + (m - 1)·P              this is added in the place of S

m is how much of the part stays: 0 turns S wholly away, and "fidelity" keeps it where a query looks at the first tokens,
which are of the face's embedding. Behind K' and V' stand some that are zero, which take attention from the others.

Source of the formulas: ToTheBeginning/PuLID, pulid/attention_processor.py; of the rows: its app.py and app_v1_1.py.
ComfyUI's PuLID pack (cubiq) takes the mean in m over queries, not over heads, in its method of the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..adapters.keys_values import KeysValues
from .reference import split_heads

AUTO, NEUTRAL = "auto", "neutral"
_IDENTITY = 5  # tokens of the face's embedding, the first ones
_LEAST = 1e-12  # lower bound of Σ(T·T), so that nothing is divided by zero

Kept = Callable[[Tensor, Tensor, int], Tensor | float]
"""m, of q (rows, pixels, inner), K' (rows, tokens, inner) and the number of heads: (rows, pixels, 1), or a number."""


def _share_of_identity(q: Tensor, keys: Tensor, heads: int) -> Tensor:
    """How much each query looks at the first tokens, the mean over heads; scores are not scaled, as in the source."""
    queries, keys = (split_heads(x.float(), len(x), heads) for x in (q, keys))
    looks = (queries @ keys.mT).softmax(-1)
    return looks[..., :_IDENTITY].sum(-1).mean(1)[..., None]


def _nothing(q: Tensor, keys: Tensor, heads: int) -> float:
    return 0.0


class Method(NamedTuple):
    """A row of METHODS.

    zeros: number of K' and V' that are zero, behind those of the prompt.
    kept: gives m; None where S stays as it is.
    """

    zeros: int = 0
    kept: Kept | None = None


METHODS: dict[str, Method] = {
    "fidelity": Method(8, _share_of_identity),
    "editable": Method(20, _share_of_identity),
    "style": Method(16, _nothing),
    NEUTRAL: Method(),
}
"""Words that users choose besides AUTO."""


def plain_turned(text: Tensor, added: Tensor, kept: Tensor | float) -> Tensor:
    """O as the formula says it, of T and S (batch, pixels, inner) and m; `turn_away` must equal it."""
    result = torch.empty_like(added)
    shares = torch.as_tensor(kept).expand(*added.shape[:2], 1)[..., 0]
    for row in range(len(added)):
        for channel in range(added.shape[-1]):
            said, seen = text[row, :, channel], added[row, :, channel]
            part = said * (said @ seen) / (said @ said)
            result[row, :, channel] = seen + (shares[row] - 1) * part
    return result


def turn_away(text: Tensor, added: Tensor, q: Tensor, keys: Tensor, heads: int, method: str) -> Tensor:
    """O of one prompt, in the dtype of S, computed in fp32 or better.

    text: T, added: S, both (batch, pixels, inner); keys: K' with its zeros, (rows, tokens, inner): neighbouring rows of
    the batch share a row of it. method: a row of METHODS.
    """
    kept = METHODS[method].kept
    if kept is None:
        return added
    wide = torch.promote_types(added.dtype, torch.float32)
    said, seen = text.to(wide), added.to(wide)
    both = (said * seen).sum(-2, keepdim=True) / said.square().sum(-2, keepdim=True).clamp(min=_LEAST)
    share = kept(q, keys.repeat_interleave(len(q) // len(keys), dim=0), heads)
    return (seen + (share - 1) * both * said).to(added.dtype)


def with_zeros(kv: KeysValues, method: str) -> KeysValues:
    """K' and V' (rows, tokens, inner) with the method's zeros behind them."""
    zeros = METHODS[method].zeros
    return KeysValues(*(pad(part, (0, 0, 0, zeros)) for part in kv)) if zeros else kv


def bias_with_zeros(attn_bias: Tensor | None, method: str) -> Tensor | None:
    """The bias of each token (tokens,) for K' with the method's zeros behind them, which count once each."""
    return None if attn_bias is None else pad(attn_bias, (0, METHODS[method].zeros))
