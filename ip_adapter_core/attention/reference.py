"""Decoupled cross-attention: what an image prompt adds to a layer's text attention (arXiv 2308.06721, eq. 5)."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ..adapters.keys_values import KeysValues


def plain_image_attention(
    q: Tensor, keys: Tensor, values: Tensor, heads: int, attn_bias: Tensor | None = None
) -> Tensor:
    """Attn(Q, K', V') as the formula says it; every faster form must equal it.

    q (batch, pixels, inner), keys and values (batch, tokens, inner) -> (batch, pixels, inner). attn_bias
    (tokens,): the logarithm of how often a token counts.
    """
    q, keys, values = (rearrange(x, "b s (h d) -> b h s d", h=heads) for x in (q, keys, values))
    scores = q @ keys.transpose(-1, -2) * q.shape[-1] ** -0.5
    if attn_bias is not None:
        scores = scores + attn_bias
    return rearrange(scores.softmax(dim=-1) @ values, "b h s d -> b s (h d)")


def image_attention(q: Tensor, kv: KeysValues, heads: int, attn_bias: Tensor | None = None) -> Tensor:
    """Attn(Q, K', V') where neighbouring rows of the batch share one image prompt.

    q (batch, pixels, inner), K' and V' (rows, tokens, inner) -> (batch, pixels, inner); batch is a multiple of rows.
    Rows that share keys are read as one longer sequence, so nothing is repeated. attn_bias: (tokens,) as in the plain
    formula, or (rows, tokens).
    """
    queries, keys, values = (split_heads(x.to(q.dtype), len(kv.keys), heads) for x in (q, *kv))
    bias = None if attn_bias is None else attn_bias.to(q.dtype).view(-1, 1, 1, attn_bias.shape[-1])
    attended = scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    return attended.transpose(1, 2).reshape(q.shape)


def split_heads(x: Tensor, parts: int, heads: int) -> Tensor:
    """A tensor (rows, length, inner) cut by heads: (parts, heads, rows / parts · length, inner / heads).

    It runs in every layer of every step, and an expression of einops takes twice as long.
    """
    return x.reshape(parts, -1, heads, x.shape[-1] // heads).transpose(1, 2)


def apply_mask(added: Tensor, mask: Tensor) -> Tensor:
    """The attention result that is added to a layer, multiplied with a mask.

    added (batch, pixels, inner), mask (rows, pixels, 1) -> (batch, pixels, inner); neighbouring rows of the batch share
    a row of the mask.
    """
    grouped = added.reshape(len(mask), -1, *added.shape[1:])
    return (grouped * mask[:, None].to(added.dtype)).reshape(added.shape)
