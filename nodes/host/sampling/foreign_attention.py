"""Image attention around a layer, where another pack changes what happens inside it.

A patch of a layer's input may repeat rows of the batch for what it does (a text for each region of the picture) and put
them together again in a patch of its output; a pack may put a module of its own in place of a layer's. What image
attention adds does not depend on either: from the input that the layer was given, before any patch, the same sum comes
as from inside, Z + W_out(λ·Attn(Q, K', V')).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....ip_adapter_core.layers.layout import Layer
from .prepared import Address

Options = dict[str, Any]
Add = Callable[[Tensor, Tensor, Options], Tensor]
"""What is attended to (batch, pixels, inner), the queries, and the options of the layer -> with what images add."""

_GIVEN, _LEFT = "ip_adapter_given", "ip_adapter_left"
_AROUND = ("attn2_patch", "attn2_output_patch")
_PARTS = ("to_q", "to_k", "to_v", "to_out")


class Attentions(NamedTuple):
    """The cross-attentions of a network: those that project as the model was trained, by address, and the addresses of
    layers that another pack exchanged."""

    trained: Mapping[Address, Any] = {}
    exchanged: frozenset[Address] = frozenset()


def attention(network: Any, layer: Layer) -> Any:
    """The module of a cross-attention of a diffusion model."""
    stages = {"input": network.input_blocks, "output": network.output_blocks, "middle": [network.middle_block]}
    parts = stages[layer.stage][layer.block]
    return next(part for part in parts if hasattr(part, "transformer_blocks")).transformer_blocks[layer.depth].attn2


def attentions(base: Any, layers: Iterable[Layer]) -> Attentions:
    """The cross-attentions of a BaseModel that is loaded, with the object patches of its MODEL in place."""
    trained, exchanged = {}, set()
    for layer in layers:
        try:
            module = attention(base.diffusion_model, layer)
        except (AttributeError, IndexError, StopIteration):
            continue  # a network that a pack runs by itself
        if not _projects(module) or "forward" in vars(module):
            exchanged.add(layer.address)
            kept = getattr(base.current_patcher, "object_patches_backup", {})
            module = module if _projects(module) else kept.get(f"diffusion_model.{layer.module}.attn2")
        if _projects(module):
            trained[layer.address] = module
    if exchanged - trained.keys():
        _tell_of_modules()
    return Attentions(trained, frozenset(exchanged))


def follows(q: Tensor, rows: int | None, options: Options) -> bool:
    """Whether queries inside a layer are of the rows and pixels that the layer was given; else they are left to what
    comes around it. rows: of the batch, None where nobody repeats any."""
    given = options.get(_GIVEN)
    if rows in (None, len(q)) and (given is None or given.shape[1] == q.shape[1]):
        return True
    options[_LEFT] = True
    if given is None:
        _tell_of_rows()
    return False


def around(patches: Mapping[str, list[Any]], found: Attentions, rows: int, add: Add) -> dict[str, list[Any]]:
    """A MODEL's patches with ours around them: the first of a layer's input, and the last of its output."""
    last = _Last(found, rows, add)
    before, after = patches.get("attn2_patch", []), patches.get("attn2_output_patch", [])
    return {**patches, "attn2_patch": [_first, *before], "attn2_output_patch": [*after, last]}


def without(patches: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """A MODEL's patches without ours."""
    return {
        name: [patch for patch in listed if patch is not _first and not isinstance(patch, _Last)]
        if name in _AROUND
        else listed
        for name, listed in patches.items()
    }


def others(options: Options) -> list[Any]:
    """The patches of other packs between ours, where ours are around a layer."""
    patches = options.get("patches", {})
    before, after = patches.get("attn2_patch", []), patches.get("attn2_output_patch", [])
    return [*before[1:], None, *after[:-1]] if before[:1] == [_first] else []


def _first(given: Tensor, context: Tensor, value: Tensor, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    options[_GIVEN] = given
    return given, context, value


class _Last:
    """The last patch of a layer's output, (batch, pixels, channels)."""

    def __init__(self, found: Attentions, rows: int, add: Add) -> None:
        self._found, self._rows, self._add = found, rows, add

    def __call__(self, output: Tensor, options: Options) -> Tensor:
        address = (*options["block"], options["block_index"])
        given = options.pop(_GIVEN)
        left = options.pop(_LEFT, False) or address in self._found.exchanged
        module = self._found.trained.get(address)
        if not left or module is None:
            return output
        if len(given) != self._rows or given.shape[:2] != output.shape[:2]:
            _tell_of_rows()
            return output
        q = module.to_q(given)
        images = module.to_out(self._add(torch.zeros_like(q), q, options))
        return output + (images - module.to_out(q.new_zeros(1, 1, q.shape[-1])))  # without a second bias


def _projects(module: Any) -> bool:
    return all(hasattr(module, part) for part in _PARTS)


@lru_cache(maxsize=1)
def _tell_of_rows() -> None:
    logging.warning(
        "IP-Adapter: another pack changes the rows of a batch inside the model in a way that cannot be followed; image "
        "prompts leave those layers as they are."
    )


@lru_cache(maxsize=1)
def _tell_of_modules() -> None:
    logging.warning(
        "IP-Adapter: another pack has put modules of its own in place of cross-attentions and keeps no original; "
        "image prompts leave those layers as they are."
    )
