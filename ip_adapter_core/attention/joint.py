"""Image attention that shares its softmax with the picture's own keys and values, as in the joint blocks of SD3.5."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ..adapters.keys_values import HeadNorms, KeysValues
from .reference import split_heads


class Joint(NamedTuple):
    """How an image prompt joins the picture's own attention.

    norms: of the picture's queries and keys in this attention.
    weight: λ, (rows, 1, 1); one row stands for all.
    """

    norms: HeadNorms
    weight: Tensor


class PictureQKV(NamedTuple):
    """What a joint block makes of the picture alone.

    q, k: with an RMS of 1 in each head, (batch, pixels, inner).
    v: (batch, pixels, inner).
    """

    q: Tensor
    k: Tensor
    v: Tensor


def plain_joint_attention(
    picture: PictureQKV, kv: KeysValues, joint: Joint, heads: int, attn_bias: Tensor | None = None
) -> Tensor:
    """λ·Attn(Q, [K; K'], [V; V']) as the formula says it; the faster form must equal it.

    All of one batch: K', V' (batch, tokens, inner), attn_bias (tokens,) -> (batch, pixels, inner).
    """
    q, k, v, keys, values = (rearrange(x, "b s (h d) -> b h s d", h=heads) for x in (*picture, *kv))
    keys = torch.cat([k * joint.norms.keys, keys], dim=2)
    scores = (q * joint.norms.queries) @ keys.mT * q.shape[-1] ** -0.5
    if attn_bias is not None:
        scores[..., k.shape[2] :] += attn_bias
    attended = scores.softmax(dim=-1) @ torch.cat([v, values], dim=2)
    return joint.weight * rearrange(attended, "b h s d -> b s (h d)")


def joint_attention(
    picture: PictureQKV, kv: KeysValues, joint: Joint, heads: int, attn_bias: Tensor | None = None
) -> Tensor:
    """λ·Attn(Q, [K; K'], [V; V']) where neighbouring rows of the batch share one image prompt.

    K', V' (rows, tokens, inner), attn_bias (tokens,) -> (batch, pixels, inner); batch is a multiple of rows.
    """
    q, k, v = (split_heads(x, len(x), heads) for x in picture)
    each = len(q) // len(kv.keys)
    keys, values = (split_heads(x.to(q.dtype), len(x), heads).repeat_interleave(each, dim=0) for x in kv)
    q, k = q * joint.norms.queries.to(q), k * joint.norms.keys.to(k)
    bias = None
    if attn_bias is not None:
        bias = torch.cat([attn_bias.new_zeros(k.shape[2]), attn_bias]).to(q).view(1, 1, 1, -1)
    attended = scaled_dot_product_attention(
        q, torch.cat([k, keys], dim=2), torch.cat([v, values], dim=2), attn_mask=bias
    )
    weight = joint.weight.repeat_interleave(len(q) // len(joint.weight), dim=0)
    return (attended.transpose(1, 2).flatten(2) * weight).to(q.dtype)
