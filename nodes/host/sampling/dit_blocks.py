"""Patches in the place of whole blocks of a transformer, from which image prompts reach what is inside.

What the host says: such a patch is handed the block to call, and the arguments it is called with. Another pack's patch
in the same place stays around the block with its images; where it leaves the block out, the images are left out too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ....ip_adapter_core.layers.double_stream import SINGLE
from ....ip_adapter_core.settings.masks import Grid
from .layer_options import Address, Options
from .layer_patch import PREPARED, ROWS
from .prepared_layers import ImagesByLayer

Block = Callable[[Options], Options]
"""A block as its patches call it: its arguments by name -> `img` and `txt`."""
BlockPatch = Callable[[Options, Options], Options]
"""Takes the arguments of a block and `original_block`, and gives what that gives."""

UNKNOWN_TOKENS = (
    "IP-Adapter: another pack changes the rows or tokens of a batch inside the model in a way that cannot be followed; "
    "image prompts leave those blocks as they are."
)


class Place(NamedTuple):
    """A block that takes image attention.

    block: the host's module.
    add: calls the block with its images: takes what calls the block, this place, and the block's arguments.
    options: what tells of the layer, as transformer_options do in a UNet.
    """

    block: Any
    add: Callable[[Block, Place, Options], Options]
    options: Options


def options_of(address: Address, heads: int, images: ImagesByLayer, options: Options, grid: Grid) -> Options:
    """What tells of a layer; grid: height and width of the picture in tokens."""
    *block, depth = address
    told = {"block": tuple(block), "block_index": depth, "n_heads": heads, "activations_shape": grid}
    return {**told, ROWS: options[ROWS], PREPARED: images}


def add_patches(options: Options, places: Mapping[Address, Place]) -> Options:
    """Options whose patches add images to these blocks, inside whatever other packs do there."""
    replace = options.get("patches_replace", {})
    blocks = dict(replace.get("dit", {}))
    for address, place in places.items():
        key = key_of(address)
        blocks[key] = partial(_attend, blocks.get(key), place)
    return {**options, "patches_replace": {**replace, "dit": blocks}}


def remove_patches(options: Options) -> Options:
    """Options without the patches of `add_patches`, and with all that other packs have added since."""
    replace = options.get("patches_replace", {})
    existing = {key: _without_ours(patch) for key, patch in replace.get("dit", {}).items()}
    others = {key: patch for key, patch in existing.items() if patch is not None}
    return {**options, "patches_replace": {**replace, "dit": others}}


def foreign_patches(options: Options, images: ImagesByLayer) -> list[Any]:
    """The patches of other packs on the blocks that have ours; None for a block without any."""
    blocks = options["patches_replace"]["dit"]
    return [_without_ours(blocks[key_of(address)]) for address in images]


def key_of(address: Address) -> tuple[str, int]:
    """The key under which the host looks for patches of a block; those of SD3.5 are double blocks to it."""
    return "single_block" if address[0] == SINGLE else "double_block", address[1]


def _without_ours(patch: Any) -> Any:
    """What patches of ours are in, None where that is nothing; another pack's patch as it is."""
    while isinstance(patch, partial) and patch.func is _attend:
        patch = patch.args[0]
    return patch


def _attend(existing: BlockPatch | None, place: Place, args: Options, extra: Options) -> Options:
    """A block with its images, inside another pack's patch where there is one."""
    block = partial(place.add, extra["original_block"], place)
    return existing(args, {**extra, "original_block": block}) if existing is not None else block(args)
