"""The image projection of adapters for Anima: learned queries read what an encoder says of a picture, without its mean.

    queries = queries + Attn(queries, hidden - centroid)
    queries = queries + Attn(queries, queries)
    queries = queries + FeedForward(queries)              in each block, every input of a sum normalised first

Attribute names are the checkpoints' keys. Source of the formula: sorryhyun/anima_lora, library/vision/resampler.py and
bench/ip_adapter/impl/ip_adapter.py.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from .projections import LayerClasses, Shapes

_HEADS = 8  # no tensor tells it; the file's metadata may


class CentredResampler(nn.Module):
    """Queries read all tokens of a picture, each less the mean of the training's pictures."""

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__()
        width, read = shapes["kv_proj.weight"]
        _, self.tokens, _ = shapes["queries"]
        self.widths = (read,)
        (self.context, _) = shapes["out.weight"]
        depth = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
        self.ip_centroid = nn.Parameter(torch.empty(read))
        self.queries = nn.Parameter(torch.empty(1, self.tokens, width))
        self.kv_proj = nn_.Linear(read, width)
        self.blocks = nn.ModuleList(ReadingBlock(width, nn_) for _ in range(depth))
        self.out_norm = nn_.LayerNorm(width)
        self.out = nn_.Linear(width, self.context)

    def forward(self, hidden: Tensor, kept: Tensor | None = None) -> Tensor:
        """(images, patches, hidden) -> (images, tokens, context).

        kept: which patches the queries attend to, (images, patches), boolean; None for all.
        """
        image = self.kv_proj(hidden - self.ip_centroid.to(hidden))
        queries = self.queries.to(image).expand(len(image), -1, -1)
        attn_mask = None if kept is None else kept[:, None, None]
        for block in self.blocks:
            queries = block(queries, image, attn_mask)
        return self.out(self.out_norm(queries))


class ReadingBlock(nn.Module):
    """Queries read the picture, then each other."""

    def __init__(self, width: int, nn_: LayerClasses) -> None:
        super().__init__()
        self.q_norm_x, self.kv_norm_x, self.norm_s, self.norm_f = (nn_.LayerNorm(width) for _ in range(4))
        self.xattn, self.sattn = JointProjection(width, nn_), JointProjection(width, nn_)
        self.ffn = nn.Sequential(nn_.Linear(width, 4 * width), nn.GELU(), nn_.Linear(4 * width, width))

    def forward(self, queries: Tensor, image: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """(images, tokens, width), (images, patches, width) -> (images, tokens, width)."""
        queries = queries + self.xattn(self.q_norm_x(queries), self.kv_norm_x(image), attn_mask)
        normed = self.norm_s(queries)
        queries = queries + self.sattn(normed, normed)
        return queries + self.ffn(self.norm_f(queries))


class JointProjection(nn.Module):
    """Attention whose queries, keys and values have one matrix, as torch's MultiheadAttention has it."""

    def __init__(self, width: int, nn_: LayerClasses) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn_.Linear(width, width)

    def forward(self, x: Tensor, read: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """(images, tokens, width), (images, patches, width) -> (images, tokens, width)."""
        thirds = zip(self.in_proj_weight.to(x).chunk(3), self.in_proj_bias.to(x).chunk(3), strict=True)
        projected = (linear(each, *third) for each, third in zip((x, read, read), thirds, strict=True))
        q, k, v = (rearrange(each, "n s (h d) -> n h s d", h=_HEADS) for each in projected)
        return self.out_proj(rearrange(scaled_dot_product_attention(q, k, v, attn_mask), "n h s d -> n s (h d)"))
