"""What is to be done where another pack changes what happens inside a cross-attention?

What the host says: nothing. A patch of a layer's input may repeat rows of the batch (a text for each region of the
picture) and put them together again in a patch of its output; and a pack may put a module of its own in place of a
layer's. Both show: in the number of rows or pixels inside a layer, and in modules that do not project as trained.

Image attention then stands around the layer. It depends on neither change: from the input of the layer, before any
patch, the same sum comes as from inside, Z + W_out(λ·Attn(Q, K', V')). Where that is not possible either, because the
layer's own module or its rows are lost, image prompts leave the layer as it is, with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....ip_adapter_core.layers.layout import Layer
from ..warn import warn_once
from .layer_options import Address, Options, address_of

TextKV = Callable[[], tuple[Tensor, Tensor]]
"""K and V of the text, (batch, tokens, inner), as they are before any patch."""

AddImages = Callable[[Tensor, Tensor, TextKV, Options], Tensor]
"""What is attended to (batch, pixels, inner), the queries, K and V of the text, and the options of the layer -> with
what images add."""

_LAYER_INPUT = "ip_adapter_given"  # of the layer that is computed, before any patch
_LAYER_TEXT = "ip_adapter_text"  # what its keys and its values are made of
_LEFT_OUT = "ip_adapter_left"  # whether images were left out inside the layer
_AROUND = ("attn2_patch", "attn2_output_patch")
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out")

_UNKNOWN_ROWS = (
    "IP-Adapter: another pack changes the rows of a batch inside the model in a way that cannot be followed; image "
    "prompts leave those layers as they are."
)
_UNKNOWN_MODULES = (
    "IP-Adapter: another pack has put modules of its own in place of cross-attentions and keeps no original; "
    "image prompts leave those layers as they are."
)


class Attentions(NamedTuple):
    """The cross-attentions of a network.

    trained: by address, the modules that project as the model was trained.
    exchanged: the addresses of layers in which another pack has put something in place of these modules.
    """

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
            originals = getattr(base.current_patcher, "object_patches_backup", {})
            module = module if _projects(module) else originals.get(f"diffusion_model.{layer.module}.attn2")
        if _projects(module):
            trained[layer.address] = module
    if exchanged - trained.keys():
        warn_once(_UNKNOWN_MODULES)
    return Attentions(trained, frozenset(exchanged))


def follows(q: Tensor, rows: int | None, options: Options) -> bool:
    """Whether queries inside a layer are of the rows and pixels that the layer's input has; else the patch around the
    layer adds the images.

    rows: of the batch; None where nobody repeats any.
    """
    layer_input = options.get(_LAYER_INPUT)
    if rows in (None, len(q)) and (layer_input is None or layer_input.shape[1] == q.shape[1]):
        return True
    options[_LEFT_OUT] = True
    if layer_input is None:
        warn_once(_UNKNOWN_ROWS)
    return False


def around(
    patches: Mapping[str, list[Any]], attentions: Attentions, rows: int, add_images: AddImages
) -> dict[str, list[Any]]:
    """A MODEL's patches with ours around them: the first of a layer's input, and the last of its output."""
    last = _AddAround(attentions, rows, add_images)
    before, after = patches.get("attn2_patch", []), patches.get("attn2_output_patch", [])
    return {**patches, "attn2_patch": [_note_input, *before], "attn2_output_patch": [*after, last]}


def without(patches: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """A MODEL's patches without ours."""
    return {
        name: [patch for patch in listed if patch is not _note_input and not isinstance(patch, _AddAround)]
        if name in _AROUND
        else listed
        for name, listed in patches.items()
    }


def others(options: Options) -> list[Any]:
    """The patches of other packs between ours, where ours are around a layer."""
    patches = options.get("patches", {})
    before, after = patches.get("attn2_patch", []), patches.get("attn2_output_patch", [])
    return [*before[1:], None, *after[:-1]] if before[:1] == [_note_input] else []


def _note_input(x: Tensor, context: Tensor, value: Tensor, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """The first patch of a layer's input (batch, pixels, channels): it changes nothing."""
    options[_LAYER_INPUT], options[_LAYER_TEXT] = x, (context, value)
    return x, context, value


class _AddAround:
    """The last patch of a layer's output (batch, pixels, channels): it adds images that were left out inside."""

    def __init__(self, attentions: Attentions, rows: int, add_images: AddImages) -> None:
        self._attentions, self._rows, self._add_images = attentions, rows, add_images

    def __call__(self, output: Tensor, options: Options) -> Tensor:
        address = address_of(options)
        x, (context, value) = options.pop(_LAYER_INPUT), options.pop(_LAYER_TEXT)
        left_out = options.pop(_LEFT_OUT, False) or address in self._attentions.exchanged
        module = self._attentions.trained.get(address)
        if not left_out or module is None:
            return output
        if len(x) != self._rows or x.shape[:2] != output.shape[:2]:
            warn_once(_UNKNOWN_ROWS)
            return output
        q = module.to_q(x)
        images = module.to_out(
            self._add_images(torch.zeros_like(q), q, lambda: (module.to_k(context), module.to_v(value)), options)
        )
        return output + (images - module.to_out(q.new_zeros(1, 1, q.shape[-1])))  # without a second bias


def _projects(module: Any) -> bool:
    return all(hasattr(module, projection) for projection in _PROJECTIONS)
