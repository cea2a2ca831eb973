"""Random files of a small Flux that stock ComfyUI loads: the model, its two text encoders, its autoencoder.

The host reads the model's sizes from the file. It builds the text encoders in one size only, unless
support/packs/tinytexts tells it that of the files.
"""

from pathlib import Path
from typing import NamedTuple

from fabricate.checkpoints import save
from fabricate.encoders import text_shapes
from fabricate.unet import Shapes, linear
from fabricate.weights import random_weights

HEAD, PATCH, TIME = 128, 64, 256  # widths that the host takes for granted: of a head, a patch and the time's embedding
T5_VOCABULARY, BUCKETS = 32128, 32


class Flux(NamedTuple):
    """The numbers that fix a Flux: width of its streams, of T5's tokens and of CLIP's pooled text; how many blocks."""

    width: int = HEAD
    context: int = 48
    pooled: int = 64
    double: int = 3
    single: int = 2


TINY = Flux()


def tiny_flux(path: Path, seed: int = 0) -> Path:
    """The diffusion model alone."""
    return save(path, random_weights(flux_shapes(TINY), seed))


def tiny_clip_l(path: Path, seed: int = 1) -> Path:
    """CLIP's text half, of two layers."""
    return save(path, random_weights(text_shapes(width=TINY.pooled, layers=2, inner=128), seed))


def tiny_t5(path: Path, seed: int = 2) -> Path:
    """T5's encoder, of two layers."""
    return save(path, random_weights(t5_shapes(TINY.context, layers=2, heads=2, feed=96), seed))


def flux_shapes(flux: Flux) -> Shapes:
    """Every key of the model, with the guidance of the dev version."""
    width = flux.width
    shapes = linear("img_in", PATCH, width) | linear("txt_in", flux.context, width)
    for name, inner in (("time_in", TIME), ("vector_in", flux.pooled), ("guidance_in", TIME)):
        shapes |= linear(f"{name}.in_layer", inner, width) | linear(f"{name}.out_layer", width, width)
    for block in range(flux.double):
        for stream in ("img", "txt"):
            shapes |= _stream(f"double_blocks.{block}.{stream}", width)
    for block in range(flux.single):
        shapes |= _single(f"single_blocks.{block}", width)
    return (
        shapes | linear("final_layer.linear", width, PATCH) | linear("final_layer.adaLN_modulation.1", width, 2 * width)
    )


def t5_shapes(width: int, layers: int, heads: int, feed: int) -> Shapes:
    """Every key of T5's encoder, version 1.1; a head is 64 wide."""
    inner = 64 * heads
    shapes: Shapes = {"shared.weight": (T5_VOCABULARY, width)}
    for layer in range(layers):
        first, second = (f"encoder.block.{layer}.layer.{half}" for half in (0, 1))
        shapes |= {f"{first}.SelfAttention.{part}.weight": (inner, width) for part in ("q", "k", "v")}
        shapes |= {f"{first}.SelfAttention.o.weight": (width, inner), f"{first}.layer_norm.weight": (width,)}
        shapes |= {f"{second}.DenseReluDense.{part}.weight": (feed, width) for part in ("wi_0", "wi_1")}
        shapes |= {f"{second}.DenseReluDense.wo.weight": (width, feed), f"{second}.layer_norm.weight": (width,)}
    bias = {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (BUCKETS, heads)}
    return shapes | bias | {"encoder.final_layer_norm.weight": (width,)}


def _stream(name: str, width: int) -> Shapes:
    """One of the two streams of a double block."""
    shapes = linear(f"{name}_mod.lin", width, 6 * width) | linear(f"{name}_attn.qkv", width, 3 * width)
    shapes |= _head_norms(f"{name}_attn.norm") | linear(f"{name}_attn.proj", width, width)
    return shapes | linear(f"{name}_mlp.0", width, 4 * width) | linear(f"{name}_mlp.2", 4 * width, width)


def _single(name: str, width: int) -> Shapes:
    """A block of both streams joined, attention and feed-forward side by side."""
    shapes = linear(f"{name}.linear1", width, 7 * width) | linear(f"{name}.linear2", 5 * width, width)
    return shapes | _head_norms(f"{name}.norm") | linear(f"{name}.modulation.lin", width, 3 * width)


def _head_norms(name: str) -> Shapes:
    return {f"{name}.{part}_norm.scale": (HEAD,) for part in ("query", "key")}
