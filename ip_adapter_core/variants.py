"""The kinds of adapter: how tensors tell them apart, what they read of an image, and their network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .projections import FullFaceProjection, ImageProjection, Resampler, Shapes
from .weightfile import UnsupportedCheckpoint

Test = Callable[[Shapes], bool]


@dataclass(frozen=True)
class Variant:
    """One kind of adapter: a row of VARIANTS.

    fits tells it from the shapes of the projection; reads is the field of `Features` its network takes.
    """

    name: str
    fits: Test
    reads: str
    network: Callable[[Shapes, Any], Any]


def _has(*keys: str) -> Test:
    return lambda shapes: all(key in shapes for key in keys)


def _width(key: str, width: int) -> Test:
    """The tensor is there and takes inputs of this width."""
    return lambda shapes: shapes.get(key, (0,))[-1:] == (width,)


# The first row that fits is the answer. A kind that is recognised and not run has a sentence instead of a network.
RECOGNISED: tuple[tuple[Test, str], ...] = (
    (_has("time_embedding.linear_1.weight"), "an adapter for SD3.5"),
    (_has("perceiver_resampler.proj_in.weight"), "a FaceID-Plus adapter, which reads face embeddings"),
    (_width("proj.0.weight", 1152), "a Flux adapter of InstantX"),
    (_width("proj.0.weight", 512), "a FaceID adapter, which reads face embeddings"),
    (_width("proj_in.weight", 512), "a FaceID portrait or InstantID adapter, which reads face embeddings"),
)

VARIANTS = (
    Variant("plus", _has("latents"), "hidden", Resampler),
    Variant("full face", _has("proj.3.weight"), "hidden", FullFaceProjection),
    Variant("base", _has("proj.weight", "norm.weight"), "embeds", ImageProjection),
)

# (what the projection reads, its input width) -> the encoder it was trained with.
ENCODERS = {
    ("embeds", 768): "CLIP-ViT-L-14",
    ("embeds", 1024): "CLIP-ViT-H-14",
    ("embeds", 1280): "CLIP-ViT-bigG-14",
    ("hidden", 1024): "CLIP-ViT-L-14-336",
    ("hidden", 1280): "CLIP-ViT-H-14",
    ("hidden", 1664): "CLIP-ViT-bigG-14",
}


def variant_of(shapes: Shapes) -> Variant:
    """The kind of adapter with this image projection.

    Raises UnsupportedCheckpoint for kinds that are recognised but not run, and for unknown ones.
    """
    for fits, what in RECOGNISED:
        if fits(shapes):
            kinds = ", ".join(variant.name for variant in VARIANTS)
            raise UnsupportedCheckpoint(f"This is {what}; this version runs the kinds {kinds}.")
    for variant in VARIANTS:
        if variant.fits(shapes):
            return variant
    raise UnsupportedCheckpoint(
        f"This image projection is of no known kind (it has {', '.join(sorted(shapes)[:4])}, …)."
    )
