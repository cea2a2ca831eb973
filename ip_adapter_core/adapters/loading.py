"""Adapter files, identified and loaded: every name and shape is checked before anything is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Entry, entries, tensors
from ..layers.families import FAMILIES
from ..layers.layout import Geometry
from . import lora
from .adapter import Adapter
from .checkpoint import Parts, split
from .identity import Identity
from .lora import AdapterLora
from .projections import LayerClasses
from .resolution import AUTO, NOTHING, Evidence, evidence

Shape = tuple[int, ...]

_MALFORMED = (KeyError, ValueError, TypeError, IndexError, ArithmeticError, RuntimeError)


def identify(named: Mapping[str, Entry], known: Evidence = NOTHING) -> Identity:
    """Tell what an adapter file is, checking every name and shape of it.

    known: what may tell kinds with equal tensors apart. Raises UnsupportedCheckpoint, naming the tensor at fault, when
    it is no adapter that can be used.
    """
    shapes = _split_shapes(named)
    return _check(shapes, known).identity()._replace(lora=bool(shapes.lora))


def identify_file(path: str | Path, choice: str = AUTO) -> Identity:
    """Tell what an adapter file is from its header, and where that is not enough from its contents, name and choice.

    choice: a row of resolution.CHOICES. Raises UnsupportedCheckpoint like `identify`.
    """
    return identify(entries(path), evidence(path, choice))


def load(path: str | Path, nn_: LayerClasses = nn, choice: str = AUTO) -> Adapter:
    """The adapter of a file, its weights in memory, in their stored dtype.

    nn_: where Linear and LayerNorm come from; choice as in `identify_file`. Raises UnsupportedCheckpoint like
    `identify`, before anything is loaded.
    """
    named, known = entries(path), evidence(path, choice)
    shapes = _split_shapes(named)
    _check(shapes, known)
    adapter, found = _empty(shapes, nn_, known), tensors(path)
    parts = split({name: name for name in named}).map(found.__getitem__)  # what the adapter does not need stays unread
    if parts.map(lambda tensor: tuple(tensor.shape)) != shapes:
        raise UnsupportedCheckpoint(f"{Path(path).name} was changed while it was read; run this again.")
    adapter.load_state_dict(parts._replace(lora={}).flat(), strict=True, assign=True)
    if parts.lora:
        adapter.lora = AdapterLora(Path(path).name, parts.lora)
    return adapter.eval().requires_grad_(False)


def _check(shapes: Parts[Shape], known: Evidence) -> Adapter:
    """The network in torch's layers, without memory, once every name and shape is found to be right.

    Not in a host's layers: those may have no parameters to compare with before they are loaded (ComfyUI's DynamicVRAM).
    """
    try:
        adapter = _empty(_needed(shapes), nn, known)
        geometry = adapter.identity().geometry
        needed = _shapes(adapter) | lora.expected_shapes(geometry, shapes.lora)
    except UnsupportedCheckpoint:
        raise
    except _MALFORMED as error:
        raise UnsupportedCheckpoint(f"This adapter file is incomplete or malformed ({error!r}).") from error
    _check_names(needed, shapes.flat())
    _check_numbers(list(shapes.layers), geometry)
    _check_contexts(adapter)
    return adapter


def _empty(shapes: Parts[Shape], nn_: LayerClasses, known: Evidence) -> Adapter:
    """The network without memory for its parameters."""
    with torch.device("meta"):
        return Adapter(shapes, nn_, known)


class _Needed(dict[str, Shape]):
    """Shapes by name, where asking for one that is not there tells what the file lacks."""

    def __init__(self, prefix: str, shapes: Mapping[str, Shape]) -> None:
        super().__init__(shapes)
        self.prefix = prefix

    def __missing__(self, key: str) -> Shape:
        raise UnsupportedCheckpoint(f"This adapter file lacks {self.prefix}{key}; download it again.")


def _needed(shapes: Parts[Shape]) -> Parts[Shape]:
    layers: dict[int, dict[str, Shape]] = {n: _Needed(f"ip_adapter.{n}.", inner) for n, inner in shapes.layers.items()}
    return shapes._replace(projection=_Needed("image_proj.", shapes.projection), layers=layers)


def _split_shapes(named: Mapping[str, Entry]) -> Parts[Shape]:
    return split(named).map(lambda entry: entry.shape)


def _shapes(module: nn.Module) -> dict[str, Shape]:
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def _check_names(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> None:
    for name, shape in expected.items():
        if name not in found:
            raise UnsupportedCheckpoint(f"This adapter file lacks {name}; download it again.")
        if found[name] != shape:
            raise UnsupportedCheckpoint(f"{name} has shape {list(found[name])} here, and must have {list(shape)}.")
    for name in found:
        if name not in expected:
            raise UnsupportedCheckpoint(f"This adapter file holds {name}, which adapters of its kind do not have.")


def _check_numbers(numbers: list[int], geometry: Geometry) -> None:
    """Adapters number all attentions; the cross-attentions are the odd ones, the middle block last."""
    for number, expected in zip(numbers, range(1, 2 * len(numbers), 2), strict=True):
        if number != expected:
            raise UnsupportedCheckpoint(f"This adapter file has no layer {expected} (the next is {number}).")
    for name, known in FAMILIES.items():
        if sorted(known.widths) == sorted(geometry.widths) and known.widths != geometry.widths:
            raise UnsupportedCheckpoint(
                f"The layers of this {name} adapter are numbered in execution order; use the original file, "
                "where the middle block comes last."
            )


def _check_contexts(adapter: Adapter) -> None:
    """Every layer reads what the projection makes, or what the model itself makes of that."""
    needed = adapter.layers()[0].context if adapter.variant.needs_text_projection else adapter.image_proj.context
    for number, layer in adapter.ip_adapter.items():
        if layer.context != needed:
            raise UnsupportedCheckpoint(
                f"ip_adapter.{number}.to_k_ip.weight reads tokens of width {layer.context}, and must read {needed}."
            )
