"""The image-projection networks: features of an image -> tokens. Attribute names are the checkpoints' keys.

    ImageProjection     embeds (images, embed)            -> linear layer, cut in tokens    -> (images, tokens, context)
    FullFaceProjection  hidden (images, patches, hidden)  -> two layers for each patch      -> (images, tokens, context)
    Resampler           hidden (images, patches, hidden)  -> learned latents read patches   -> (images, tokens, context)
    FaceProjection      face   (faces, face)              -> two layers, cut in tokens      -> (faces, tokens, context)
    FaceResampler       face   (faces, face)              -> learned latents read the face  -> (faces, tokens, context)
    FacePlusProjection  face and hidden                   -> face tokens read the patches   -> (faces, tokens, context)
    HiddenStates        hidden (images, patches, hidden)  -> as they are                    -> (images, tokens, context)

Every network has three sizes as attributes: `widths` of the features that it reads, `context`, the width of its tokens,
and `tokens`, the number per image, which is None when it depends on the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ..files.tensor_file import Shape
from ..layers.cross_stream import STATES

Shapes = Mapping[str, Shape]

HEAD_WIDTH = 64  # fixed in every published resampler; the number of heads follows from to_q


class LayerClasses(Protocol):
    """Where `Linear` and `LayerNorm` come from: torch.nn, or a host's memory-managed versions."""

    Linear: Any
    LayerNorm: Any


class ImageProjection(nn.Module):
    """Base kind: one linear layer makes a few tokens of the global embedding (arXiv 2308.06721, section 3.2.1)."""

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__()
        wide, width = shapes["proj.weight"]
        self.widths = (width,)
        (self.context,) = shapes["norm.weight"]
        self.tokens = wide // self.context
        self.proj = nn_.Linear(width, self.tokens * self.context)
        self.norm = nn_.LayerNorm(self.context)

    def forward(self, embeds: Tensor) -> Tensor:
        """(images, embed) -> (images, tokens, context)."""
        return self.norm(rearrange(self.proj(embeds), "n (t c) -> n t c", t=self.tokens))


class HiddenStates(nn.Module):
    """No projection: layers read what the encoder says of every patch."""

    tokens = None  # as many as the encoder has

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__()
        self.context = self.width = STATES
        self.widths = (STATES,)

    def forward(self, hidden: Tensor) -> Tensor:
        """(images, patches, hidden) -> the same."""
        return hidden

    def at(self, hidden: Tensor, time: Tensor) -> Tensor:
        """(rows, patches, hidden), (rows, time) -> the same, which holds at every noise level."""
        return hidden


class FullFaceProjection(nn.Module):
    """Full-face kind: every hidden state becomes one token."""

    tokens = None  # as many as the encoder has

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__()
        inner, width = shapes["proj.0.weight"]
        self.widths = (width,)
        (self.context,) = shapes["proj.3.weight"]
        self.proj = nn.Sequential(
            nn_.Linear(width, inner), nn.GELU(), nn_.Linear(inner, self.context), nn_.LayerNorm(self.context)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(images, patches, hidden) -> (images, patches, context)."""
        return self.proj(hidden)


class FaceTokens(nn.Module):
    """What two face kinds share: two linear layers make a few tokens of a face embedding.

    Source of the formula: tencent-ailab/IP-Adapter, ip_adapter/ip_adapter_faceid.py.
    """

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__()
        inner, width = shapes["proj.0.weight"]
        self.widths: tuple[int, ...] = (width,)
        (self.context,) = shapes["norm.weight"]
        self.tokens = shapes["proj.2.weight"][0] // self.context
        widen = nn_.Linear(inner, self.tokens * self.context)
        self.proj = nn.Sequential(nn_.Linear(width, inner), nn.GELU(), widen)
        self.norm = nn_.LayerNorm(self.context)

    def face_tokens(self, face: Tensor) -> Tensor:
        """(faces, face) -> (faces, tokens, context)."""
        return self.norm(rearrange(self.proj(face), "n (t c) -> n t c", t=self.tokens))


class FaceProjection(FaceTokens):
    """FaceID and portrait kinds: the tokens of the face embedding, and nothing else."""

    def forward(self, face: Tensor) -> Tensor:
        """(faces, face) -> (faces, tokens, context)."""
        return self.face_tokens(face)


class Perceiver(nn.Module):
    """A few layers in which latents attend to hidden states.

    Source of the formula: tencent-ailab/IP-Adapter, ip_adapter/resampler.py.
    """

    def __init__(self, shapes: Shapes, nn_: LayerClasses, prefix: str = "") -> None:
        super().__init__()
        width, read = shapes[f"{prefix}proj_in.weight"]
        stem = f"{prefix}layers."
        self.widths = (read,)
        self.context = shapes[f"{prefix}proj_out.weight"][0]
        depth = len({key[len(stem) :].partition(".")[0] for key in shapes if key.startswith(stem)})
        self.proj_in = nn_.Linear(read, width)
        self.layers = nn.ModuleList(ResamplerLayer(shapes, f"{stem}{n}", width, nn_) for n in range(depth))
        self.proj_out = nn_.Linear(width, self.context)
        self.norm_out = nn_.LayerNorm(self.context)

    def read(self, hidden: Tensor, latents: Tensor, kept: Tensor | None = None) -> Tensor:
        """(images, patches, hidden), (images, tokens, width) -> (images, tokens, context).

        kept: which patches the latents attend to, (images, patches), boolean; None for all.
        """
        image = self.proj_in(hidden)
        latents = latents.to(image)
        attn_mask = None if kept is None else mask_of_kept(kept, latents.shape[1])
        for layer in self.layers:
            latents = layer(image, latents, attn_mask)
        return self.norm_out(self.proj_out(latents))


class Resampler(Perceiver):
    """Plus kinds: the latents are learned queries."""

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__(shapes, nn_)
        _, self.tokens, width = shapes["latents"]
        self.latents = nn.Parameter(torch.empty(1, self.tokens, width))

    def forward(self, hidden: Tensor, kept: Tensor | None = None) -> Tensor:
        """(images, patches, hidden) -> (images, tokens, context); kept as in `Perceiver.read`."""
        return self.read(hidden, self.latents.expand(len(hidden), -1, -1), kept)


class FaceResampler(Resampler):
    """Portrait kind without normalisation: learned queries read one face embedding."""

    def forward(self, face: Tensor, kept: Tensor | None = None) -> Tensor:
        """(faces, face) -> (faces, tokens, context); a face has no patches to leave out."""
        return super().forward(face[:, None])


class FacePlusProjection(FaceTokens):
    """FaceID-Plus kinds: the tokens of the face embedding read the hidden states of the face's picture.

    shortcut: whether the result is the sum of the face tokens and of what they read (version 2), or only the latter.
    """

    def __init__(self, shapes: Shapes, nn_: LayerClasses, shortcut: bool) -> None:
        super().__init__(shapes, nn_)
        self.shortcut = shortcut
        self.perceiver_resampler = Perceiver(shapes, nn_, "perceiver_resampler.")
        self.widths += self.perceiver_resampler.widths

    def forward(self, face: Tensor, hidden: Tensor, kept: Tensor | None = None, *, shortcut: float = 1.0) -> Tensor:
        """(faces, face), (faces, patches, hidden) -> (faces, tokens, context).

        kept: as in `Perceiver.read`. shortcut: weight of what the tokens read, in version 2.
        """
        tokens = self.face_tokens(face)
        read = self.perceiver_resampler.read(hidden, tokens, kept)
        return tokens + shortcut * read if self.shortcut else read


class PerceiverAttention(nn.Module):
    """Latents attend to the image and to themselves."""

    def __init__(self, width: int, inner: int, nn_: LayerClasses) -> None:
        super().__init__()
        self.heads = inner // HEAD_WIDTH
        self.norm1 = nn_.LayerNorm(width)
        self.norm2 = nn_.LayerNorm(width)
        self.to_q = nn_.Linear(width, inner, bias=False)
        self.to_kv = nn_.Linear(width, inner * 2, bias=False)
        self.to_out = nn_.Linear(inner, width, bias=False)

    def forward(self, image: Tensor, latents: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """(images, patches, width), (images, tokens, width) -> (images, tokens, width); attn_mask of `mask_of_kept`."""
        return self.read(self.norm1(image), self.norm2(latents), attn_mask)

    def read(self, image: Tensor, latents: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """What latents read of the image and of themselves, both normalised already; shapes as in `forward`."""
        k, v = self.to_kv(torch.cat([image, latents], dim=1)).chunk(2, dim=-1)
        q, k, v = (rearrange(x, "n s (h d) -> n h s d", h=self.heads) for x in (self.to_q(latents), k, v))
        return self.to_out(rearrange(scaled_dot_product_attention(q, k, v, attn_mask), "n h s d -> n s (h d)"))


class ResamplerLayer(nn.ModuleList):
    """Perceiver attention and a feed-forward network, each added to the latents."""

    def __init__(self, shapes: Shapes, name: str, width: int, nn_: LayerClasses) -> None:
        inner = shapes[f"{name}.0.to_q.weight"][0]
        hidden = shapes[f"{name}.1.1.weight"][0]
        widen = nn_.Linear(width, hidden, bias=False)
        feed_forward = nn.Sequential(nn_.LayerNorm(width), widen, nn.GELU(), nn_.Linear(hidden, width, bias=False))
        super().__init__([PerceiverAttention(width, inner, nn_), feed_forward])

    def forward(self, image: Tensor, latents: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """(images, patches, width), (images, tokens, width) -> (images, tokens, width); attn_mask of `mask_of_kept`."""
        attention, feed_forward = self
        latents = latents + attention(image, latents, attn_mask)
        return latents + feed_forward(latents)


def mask_of_kept(kept: Tensor, latents: int) -> Tensor:
    """Kept patches (images, patches), and behind them all latents, as attention wants it: (images, 1, 1, keys)."""
    return rearrange(torch.cat([kept, kept.new_ones(len(kept), latents)], dim=1), "n keys -> n 1 1 keys")
