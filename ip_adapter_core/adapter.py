"""An adapter: an image projection and, for every cross-attention, to_k_ip and to_v_ip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .checkpoint import Parts, split
from .layout import FAMILIES, Geometry
from .projections import LayerClasses
from .variants import ENCODERS, Variant, variant_of
from .weightfile import Entry, UnsupportedCheckpoint, entries, tensors

Shape = tuple[int, ...]

_KEY = "to_k_ip.weight"
_MALFORMED = (KeyError, ValueError, TypeError, IndexError, ArithmeticError, RuntimeError)


class KeysValues(NamedTuple):
    """K' and V' of one cross-attention, (…, tokens, inner) each."""

    keys: Tensor
    values: Tensor


class Identity(NamedTuple):
    """What an adapter file is, read from its tensors' names and shapes alone.

    tokens: per image; None where every hidden state becomes a token.
    """

    variant: Variant
    geometry: Geometry
    tokens: int | None
    input_width: int

    @property
    def encoder(self) -> str:
        """Name of the vision encoder this adapter was trained with."""
        return ENCODERS.get((self.variant.reads, self.input_width), f"an encoder of width {self.input_width}")

    def describe(self) -> str:
        """One line for people: kind, family, tokens, encoder."""
        tokens = "a token per hidden state" if self.tokens is None else f"{self.tokens} tokens"
        return f"{self.variant.name}, {self.geometry.describe()}, {tokens}, reads {self.encoder}"


class Adapter(nn.Module):
    """The network of one adapter file, of the kind and sizes that the file's shapes tell."""

    def __init__(self, shapes: Parts[Shape], nn_: LayerClasses) -> None:
        super().__init__()
        self.variant = variant_of(shapes.projection)
        self.image_proj = self.variant.network(shapes.projection, nn_)
        layers: dict[str, nn.Module] = {str(n): KeyValueLayers(inner, nn_) for n, inner in shapes.layers.items()}
        self.ip_adapter = nn.ModuleDict(layers)

    def forward(self, features: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer from features, each picture a row: what training runs."""
        return self.keys_values(self.tokens(features))

    def tokens(self, features: Tensor) -> Tensor:
        """Image tokens of features: (images, …) -> (images, tokens, context)."""
        return self.image_proj(features)

    def keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer, in adapter order: (…, tokens, context) -> (…, tokens, inner)."""
        return tuple(layer(tokens) for layer in self.layers())

    def layers(self) -> list[KeyValueLayers]:
        """What the file holds of each cross-attention, in adapter order."""
        return [layer for layer in self.ip_adapter.values() if isinstance(layer, KeyValueLayers)]

    def identity(self) -> Identity:
        """What this adapter is."""
        projection = self.image_proj
        widths = tuple(layer.width for layer in self.layers())
        return Identity(self.variant, Geometry(projection.context, widths), projection.tokens, projection.input_width)


class KeyValueLayers(nn.Module):
    """to_k_ip and to_v_ip of one cross-attention."""

    def __init__(self, shapes: Mapping[str, Shape], nn_: LayerClasses) -> None:
        super().__init__()
        self.width, context = shapes[_KEY]
        self.to_k_ip = nn_.Linear(context, self.width, bias=False)
        self.to_v_ip = nn_.Linear(context, self.width, bias=False)

    def forward(self, tokens: Tensor) -> KeysValues:
        """(…, tokens, context) -> K' and V', (…, tokens, inner)."""
        return KeysValues(self.to_k_ip(tokens), self.to_v_ip(tokens))


def identify(named: Mapping[str, Entry]) -> Identity:
    """Tell what an adapter file is, checking every name and shape of it.

    Raises UnsupportedCheckpoint, naming the tensor at fault, when it is no adapter that can be used.
    """
    shapes = split(named).map(lambda entry: entry.shape)
    adapter = _empty(shapes, nn)
    identity = adapter.identity()
    _check_names(_shapes(adapter), shapes.flat())
    _check_numbers(list(shapes.layers), identity.geometry)
    return identity


def load(path: str | Path, nn_: LayerClasses = nn) -> Adapter:
    """The adapter of a file, its weights mapped from disk in their stored dtype.

    nn_: where Linear and LayerNorm come from. Raises UnsupportedCheckpoint like `identify`, before anything is loaded.
    """
    identify(entries(path))
    parts = split(tensors(path))
    adapter = _empty(parts.map(lambda tensor: tuple(tensor.shape)), nn_)
    adapter.load_state_dict(parts.flat(), strict=True, assign=True)
    return adapter.eval().requires_grad_(False)


def _empty(shapes: Parts[Shape], nn_: LayerClasses) -> Adapter:
    """The network without memory for its parameters."""
    try:
        with torch.device("meta"):
            return Adapter(shapes, nn_)
    except UnsupportedCheckpoint:
        raise
    except _MALFORMED as error:
        raise UnsupportedCheckpoint(f"This adapter file is incomplete or malformed ({error!r}).") from error


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
