"""Keys and shapes of the classic diffusion UNet and of its ControlNet, computed from a few numbers."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

Shapes = dict[str, tuple[int, ...]]


class UNet(NamedTuple):
    """The numbers that fix a UNet; `multipliers` and `attends` have one entry per level of resolution."""

    channels: int
    context: int
    multipliers: tuple[int, ...]
    attends: tuple[bool, ...]
    blocks: int = 2
    in_channels: int = 4


def unet_shapes(unet: UNet) -> Shapes:
    """Every key of the UNet, in checkpoint order, with SD1's convolutional `proj_in`."""
    shapes, skips = encoder_shapes(unet)
    shapes |= decoder_shapes(unet, skips)
    return shapes | norm("out.0", unet.channels) | conv("out.2", unet.channels, 4)


def controlnet_shapes(unet: UNet) -> Shapes:
    """Every key of a ControlNet for the UNet: its encoder, a reader of the hint image, and one output per block."""
    shapes, skips = encoder_shapes(unet)
    hint = (3, 16, 16, 32, 32, 96, 96, 256, unet.channels)
    for index, (inner, outer) in enumerate(pairwise(hint)):
        shapes |= conv(f"input_hint_block.{2 * index}", inner, outer)
    for index, channels in enumerate(skips):
        shapes |= conv(f"zero_convs.{index}.0", channels, channels, 1)
    return shapes | conv("middle_block_out.0", skips[-1], skips[-1], 1)


def encoder_shapes(unet: UNet) -> tuple[Shapes, list[int]]:
    """The time embedding, the input and middle blocks, and the channels that each input block hands to the decoder."""
    time, width = 4 * unet.channels, unet.channels
    shapes = linear("time_embed.0", width, time) | linear("time_embed.2", time, time)
    shapes |= conv("input_blocks.0.0", unet.in_channels, width)
    skips = [width]
    for index, (level, place) in enumerate(places(unet, unet.blocks), start=1):
        if place == unet.blocks:
            shapes |= conv(f"input_blocks.{index}.0.op", width, width)
        else:
            inner, width = width, unet.channels * unet.multipliers[level]
            shapes |= block(f"input_blocks.{index}", inner, width, unet, unet.attends[level])
        skips.append(width)
    shapes |= block("middle_block", width, width, unet, attends=True)
    return shapes | residual("middle_block.2", width, width, time), skips


def places(unet: UNet, blocks: int) -> Iterator[tuple[int, int]]:
    """Each input block as (level, place in the level); the place `blocks` is the step down to the next level."""
    for level in range(len(unet.multipliers)):
        last = level == len(unet.multipliers) - 1
        for place in range(blocks if last else blocks + 1):
            yield level, place


def decoder_shapes(unet: UNet, skips: list[int]) -> Shapes:
    """The output blocks; each takes one skip, from the last input block to the first."""
    shapes: Shapes = {}
    width, remaining = skips[-1], list(skips)
    for index in range(len(skips)):
        level = len(unet.multipliers) - 1 - index // (unet.blocks + 1)
        inner, width = width + remaining.pop(), unet.channels * unet.multipliers[level]
        name, attends = f"output_blocks.{index}", unet.attends[level]
        shapes |= block(name, inner, width, unet, attends)
        if level and index % (unet.blocks + 1) == unet.blocks:
            shapes |= conv(f"{name}.{2 if attends else 1}.conv", width, width)
    return shapes


def block(name: str, inner: int, outer: int, unet: UNet, attends: bool) -> Shapes:
    """A residual block, followed by a transformer where the level attends."""
    shapes = residual(f"{name}.0", inner, outer, 4 * unet.channels)
    return shapes | transformer(f"{name}.1", outer, unet.context) if attends else shapes


def residual(name: str, inner: int, outer: int, time: int) -> Shapes:
    """A residual block that reads the time embedding."""
    shapes = norm(f"{name}.in_layers.0", inner) | conv(f"{name}.in_layers.2", inner, outer)
    shapes |= linear(f"{name}.emb_layers.1", time, outer)
    shapes |= norm(f"{name}.out_layers.0", outer) | conv(f"{name}.out_layers.3", outer, outer)
    return shapes if inner == outer else shapes | conv(f"{name}.skip_connection", inner, outer, 1)


def transformer(name: str, width: int, context: int) -> Shapes:
    """A spatial transformer of depth one: self-attention, cross-attention, gated feed-forward."""
    inside = f"{name}.transformer_blocks.0"
    shapes = norm(f"{name}.norm", width) | conv(f"{name}.proj_in", width, width, 1)
    shapes |= attention(f"{inside}.attn1", width, width) | linear(f"{inside}.ff.net.0.proj", width, 8 * width)
    shapes |= linear(f"{inside}.ff.net.2", 4 * width, width) | attention(f"{inside}.attn2", width, context)
    for number in (1, 2, 3):
        shapes |= norm(f"{inside}.norm{number}", width)
    return shapes | conv(f"{name}.proj_out", width, width, 1)


def attention(name: str, width: int, context: int) -> Shapes:
    """One attention; `context` is what its keys and values read."""
    shapes = {f"{name}.to_q.weight": (width, width)}
    shapes |= {f"{name}.to_k.weight": (width, context), f"{name}.to_v.weight": (width, context)}
    return shapes | linear(f"{name}.to_out.0", width, width)


def linear(name: str, inner: int, outer: int) -> Shapes:
    """A linear layer with a bias."""
    return {f"{name}.weight": (outer, inner), f"{name}.bias": (outer,)}


def conv(name: str, inner: int, outer: int, size: int = 3) -> Shapes:
    """A square convolution with a bias."""
    return {f"{name}.weight": (outer, inner, size, size), f"{name}.bias": (outer,)}


def norm(name: str, width: int) -> Shapes:
    """A normalisation with a scale and a shift."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
