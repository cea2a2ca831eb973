"""Decoupled cross-attention: what an image prompt adds to a layer's text attention (arXiv 2308.06721, eq. 5)."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .adapter import KeysValues


def plain_image_attention(q: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Attn(Q, K', V') as the formula says it; the reference every faster form must equal.

    q (batch, pixels, inner), keys and values (batch, tokens, inner) -> (batch, pixels, inner).
    """
    q, keys, values = (rearrange(x, "b s (h d) -> b h s d", h=heads) for x in (q, keys, values))
    scores = q @ keys.transpose(-1, -2) * q.shape[-1] ** -0.5
    return rearrange(scores.softmax(dim=-1) @ values, "b h s d -> b s (h d)")


def image_attention(q: Tensor, image: KeysValues, heads: int) -> Tensor:
    """Attn(Q, K', V') where neighbouring rows of the batch share one image prompt.

    q (batch, pixels, inner), K' and V' (rows, tokens, inner) -> (batch, pixels, inner); batch is a multiple of rows.
    Rows that share keys are read as one longer sequence, so nothing is repeated.
    """
    rows = len(image.keys)
    grouped = q.reshape(rows, -1, q.shape[-1])
    q_heads, keys, values = (rearrange(x.to(q.dtype), "b s (h d) -> b h s d", h=heads) for x in (grouped, *image))
    attended = scaled_dot_product_attention(q_heads, keys, values)
    return rearrange(attended, "b h s d -> b s (h d)").reshape(q.shape)
