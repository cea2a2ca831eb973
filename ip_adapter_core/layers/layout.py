"""Where a UNet's cross-attentions are, computed from the model's own configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_REQUIRED = (
    *("model_channels", "channel_mult", "num_res_blocks", "transformer_depth", "transformer_depth_output"),
    "context_dim",
)


class Layer(NamedTuple):
    """One place of a base model where image attention is added: of a UNet, a cross-attention.

    stage: "input", "middle" or "output" of a UNet; "double", "joint" and "cross" for such blocks of a transformer.
    block: number of the block within the stage, as ComfyUI counts.
    depth: number of the transformer block within that block.
    width: inner width of queries, keys and values.
    heads: number of heads that share the width.
    """

    stage: str
    block: int
    depth: int
    width: int
    heads: int

    @property
    def address(self) -> tuple[str, int, int]:
        """The key under which ComfyUI looks for attention patches of this layer."""
        return self.stage, self.block, self.depth

    @property
    def module(self) -> str:
        """Name of its transformer block in a UNet of ComfyUI: `input_blocks.4.1.transformer_blocks.0`."""
        block = "middle_block" if self.stage == "middle" else f"{self.stage}_blocks.{self.block}"
        return f"{block}.1.transformer_blocks.{self.depth}"


class Geometry(NamedTuple):
    """What an adapter and a model must have in common.

    context: width of the text tokens that cross-attentions read.
    widths: inner width of every layer, in adapter order.
    """

    context: int
    widths: tuple[int, ...]


def is_unet(config: Mapping[str, Any]) -> bool:
    """Whether a ComfyUI configuration describes a UNet of this construction."""
    return all(config.get(key) is not None for key in _REQUIRED)


def layers(config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The UNet's cross-attention layers in the order of adapter files: input, output, then middle.

    config: ComfyUI's UNet configuration. Raises ValueError when it does not describe such a UNet.
    Source of the order: `attn_processors` of diffusers, which adapter files number.
    """
    if not is_unet(config):
        kind = config.get("image_model", "of another construction")
        raise ValueError(f"Connect a UNet such as SD1.5, SD2 or SDXL, which is needed here; this model is {kind}.")
    return (*_input(config), *_output(config), *_middle(config))


def geometry(config: Mapping[str, Any]) -> Geometry:
    """What an adapter must match to fit the UNet of this configuration. Raises ValueError like `layers`."""
    widths = tuple(layer.width for layer in layers(config))  # first: says what is wrong with a model that is no UNet
    return Geometry(config["context_dim"], widths)


def _input(config: Mapping[str, Any]) -> Iterator[Layer]:
    depths = iter(config["transformer_depth"])
    block = 1  # block 0 is the first convolution
    for width, res_blocks in _levels(config):
        for _ in range(res_blocks):
            yield from _transformer(config, ("input", block), next(depths), width)
            block += 1
        block += 1  # the downsampling convolution


def _output(config: Mapping[str, Any]) -> Iterator[Layer]:
    depths = reversed(config["transformer_depth_output"])  # stored from the outside in
    block = 0
    for width, res_blocks in reversed(_levels(config)):
        for _ in range(res_blocks + 1):
            yield from _transformer(config, ("output", block), next(depths), width)
            block += 1


def _middle(config: Mapping[str, Any]) -> Iterator[Layer]:
    width, _ = _levels(config)[-1]
    return _transformer(config, ("middle", 0), config.get("transformer_depth_middle") or 0, width)


def _levels(config: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Per resolution, finest first: (inner width, residual blocks)."""
    multipliers = config["channel_mult"]
    res_blocks = config["num_res_blocks"]
    if isinstance(res_blocks, int):
        res_blocks = [res_blocks] * len(multipliers)
    return [(config["model_channels"] * m, n) for m, n in zip(multipliers, res_blocks, strict=True)]


def _transformer(config: Mapping[str, Any], block: tuple[str, int], depth: int, width: int) -> Iterator[Layer]:
    heads = _heads(config, width)
    return (Layer(*block, index, width, heads) for index in range(depth))


def _heads(config: Mapping[str, Any], width: int) -> int:
    """Number of heads: the configuration fixes either their number or their width, and the other one is -1."""
    head_width: int = config.get("num_head_channels", -1)
    heads: int = config["num_heads"] if head_width == -1 else width // head_width
    return heads
