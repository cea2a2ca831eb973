"""Which blocks of a UNet carry the style and which the composition, and where each layer stands in its model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .cross_stream import CROSS
from .double_stream import DOUBLE, SINGLE
from .joint_stream import JOINT
from .layout import Layer

Block = tuple[str, int]
"""Stage and number of a block that holds a transformer, as in the addresses of its layers."""

_OF_TRANSFORMERS = (DOUBLE, SINGLE, JOINT, CROSS)
STAGES = ("input", "middle", "output", *_OF_TRANSFORMERS)
"""Of a UNet in the order in which it runs, where adapter files have the middle last; then those of other models."""

TUNED, INSTANT_STYLE = "tuned", "InstantStyle"
"""Sources of the sets of blocks: IPAdapter Plus, by experiment, and InstantStyle (arXiv 2404.02733)."""

_MIDDLE: Block = ("middle", 0)


class Role(NamedTuple):
    """What a block is for.

    name: "style", "composition" or "rest".
    part: share of the role's weight that the block gets, 0..1.
    """

    name: str
    part: float = 1.0


STYLE, COMPOSITION, REST = Role("style"), Role("composition"), Role("rest")


class LayerPosition(NamedTuple):
    """Where a layer stands in its model.

    layer: the layer.
    t: number of its block, from 0, in running order.
    many: number of blocks with transformers in the model.
    role: what its block is for.
    """

    layer: Layer
    t: int
    many: int
    role: Role


class Construction(NamedTuple):
    """A kind of UNet.

    blocks: the blocks that have transformers; they identify the kind.
    roles: by source, the role of each block; a block without an entry has the role "rest".
    """

    blocks: frozenset[Block]
    roles: Mapping[str, Mapping[Block, Role]]


def _blocks(role: Role = REST, **numbers: Iterable[int]) -> dict[Block, Role]:
    return {(stage, number): role for stage in numbers for number in numbers[stage]}


_SDXL = {**_blocks(STYLE, output=(1,)), **_blocks(COMPOSITION, input=(8,))}
# Measured: models/small_world/RESULTS.md, table 6.
_SMALL_WORLD = {**_blocks(STYLE, output=(1, 2)), **_blocks(COMPOSITION, input=(5, 6), middle=(0,))}

CONSTRUCTIONS: dict[str, Construction] = {
    "SD": Construction(
        frozenset(_blocks(input=(1, 2, 4, 5, 7, 8), middle=(0,), output=range(3, 12))),
        {
            TUNED: {
                **_blocks(STYLE, input=(1, 2, 4, 5), output=range(5, 12)),
                **_blocks(Role("composition", 0.25), input=(7,)),
                **_blocks(COMPOSITION, input=(8,)),
            },
            INSTANT_STYLE: {
                **_blocks(STYLE, output=(3, 4, 5)),
                **_blocks(COMPOSITION, input=(7, 8), middle=(0,)),
            },
        },
    ),
    "SDXL": Construction(
        frozenset(_blocks(input=(4, 5, 7, 8), middle=(0,), output=range(6))),
        {TUNED: _SDXL, INSTANT_STYLE: _SDXL},
    ),
    "small world": Construction(
        frozenset({*_SMALL_WORLD, ("output", 0)}),
        {TUNED: _SMALL_WORLD, INSTANT_STYLE: _SMALL_WORLD},
    ),
}


def has_roles(layers: Iterable[Layer]) -> bool:
    """Whether a model with these layers is a UNet, of which it is known what its stages and blocks are for."""
    return all(layer.stage not in _OF_TRANSFORMERS for layer in layers)


def running_order(layer: Layer) -> tuple[int, int, int]:
    """Where a layer comes when the UNet runs, as a key to sort by."""
    return STAGES.index(layer.stage), layer.block, layer.depth


def layer_positions(layers: Iterable[Layer], source: str = TUNED) -> tuple[LayerPosition, ...]:
    """The position of every layer, in the order of `layers`, which must be all layers of a model."""
    layers = tuple(layers)
    blocks = list(dict.fromkeys(layer.address[:2] for layer in sorted(layers, key=running_order)))
    roles = _roles(blocks, source)
    number = {block: t for t, block in enumerate(blocks)}
    return tuple(
        LayerPosition(layer, number[layer.address[:2]], len(blocks), roles.get(layer.address[:2], REST))
        for layer in layers
    )


def _roles(blocks: list[Block], source: str) -> Mapping[Block, Role]:
    """Roles of the construction with these blocks, its middle block counted or not; without one, by structure."""
    for construction in CONSTRUCTIONS.values():
        if construction.blocks == {*blocks, _MIDDLE}:
            return construction.roles[source]
    return _by_structure(blocks)


def _by_structure(blocks: list[Block]) -> dict[Block, Role]:
    """Roles as in SDXL: composition in the last input block, style in the second output block or in the only one."""
    inputs, outputs = ([block for block in blocks if block[0] == stage] for stage in ("input", "output"))
    return {**dict.fromkeys(inputs[-1:], COMPOSITION), **dict.fromkeys(outputs[:2][-1:], STYLE)}
