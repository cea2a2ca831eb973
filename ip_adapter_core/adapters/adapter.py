"""An adapter: an image projection, for every cross-attention to_k_ip and to_v_ip, and for some a LoRA."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..files.tensor_file import Entry, UnsupportedCheckpoint, entries, tensors
from ..layers.layout import FAMILIES, Geometry, family
from . import lora
from .checkpoint import Parts, split
from .lora import AdapterLora
from .projections import LayerClasses
from .resolution import AUTO, NOTHING, TENSORS, Evidence, decide, evidence
from .variants import ENCODED, ENCODERS, Variant, candidates

Shape = tuple[int, ...]

_KEY = "to_k_ip.weight"
_MALFORMED = (KeyError, ValueError, TypeError, IndexError, ArithmeticError, RuntimeError)


class KeysValues(NamedTuple):
    """K' and V' of one cross-attention, (…, tokens, inner) each."""

    keys: Tensor
    values: Tensor


class Identity(NamedTuple):
    """What an adapter file is.

    tokens: per image; None where every hidden state becomes a token. widths: of what the variant reads, in its order.
    lora: whether the file brings one. rule: what told the variant, in words.
    """

    variant: Variant
    geometry: Geometry
    tokens: int | None
    widths: tuple[int, ...]
    lora: bool = False
    rule: str = TENSORS

    @property
    def family(self) -> str:
        """Name of the base models it is for."""
        return self.variant.family or family(self.geometry)

    @property
    def encoder(self) -> str | None:
        """Name of the vision encoder this adapter was trained with; None where it reads faces alone."""
        field, width = self.variant.reads[-1], self.widths[-1]
        if field not in ENCODED:
            return None
        return ENCODERS.get((field, width), f"an encoder of width {width}")

    @property
    def reads_faces(self) -> bool:
        """Whether it reads the embedding of a face."""
        return self.variant.reads[0] not in ENCODED

    def describe(self) -> str:
        """One line for people: kind, family, tokens, what it reads, and what told the kind if not the tensors."""
        tokens = "a token per hidden state" if self.tokens is None else f"{self.tokens} tokens"
        read = ["face embeddings"] * self.reads_faces + [self.encoder or ""] * bool(self.encoder)
        told = "" if self.rule == TENSORS else f" (told by {self.rule})"
        line = f"{self.variant.name}{told}, {self.geometry.describe(self.family)}, {tokens}, reads {' and '.join(read)}"
        return line + ", brings its LoRA" * self.lora


class Adapter(nn.Module):
    """The network of one adapter file, of the sizes that the file's shapes tell.

    lora: what the file brings for the model's own weights; no part of the network.
    """

    def __init__(self, shapes: Parts[Shape], nn_: LayerClasses, known: Evidence = NOTHING) -> None:
        super().__init__()
        self.variant, self.rule = decide(candidates(shapes), known)
        self.lora: AdapterLora | None = None
        self.image_proj = self.variant.network(shapes.projection, nn_)
        layers: dict[str, nn.Module] = {str(n): KeyValueLayers(inner, nn_) for n, inner in shapes.layers.items()}
        self.ip_adapter = nn.ModuleDict(layers)

    def forward(self, *features: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer from features, each picture a row: what training runs."""
        return self.keys_values(self.tokens(*features))

    def tokens(self, *features: Tensor, **scales: float) -> Tensor:
        """Image tokens of what the variant reads: (images, …) each -> (images, tokens, context)."""
        return self.image_proj(*features, **scales)

    def keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer, in adapter order: (…, tokens, context) -> (…, tokens, inner)."""
        return tuple(layer(tokens) for layer in self.layers())

    def layers(self) -> list[KeyValueLayers]:
        """What the file holds of each cross-attention, in adapter order."""
        return [layer for layer in self.ip_adapter.values() if isinstance(layer, KeyValueLayers)]

    def identity(self) -> Identity:
        """What this adapter is."""
        layers, projection = self.layers(), self.image_proj
        geometry = Geometry(layers[0].context, tuple(layer.width for layer in layers))
        brings = self.lora is not None
        return Identity(self.variant, geometry, projection.tokens, projection.widths, brings, self.rule)

    def digest(self) -> str:
        """Tells adapters apart by their weights, whatever file they are in: sha256 of the first and the last layer."""
        found = hashlib.sha256()
        for layer in (self.layers()[0], self.layers()[-1]):
            for weight in (layer.to_k_ip.weight, layer.to_v_ip.weight):
                found.update(weight.detach().cpu().float().numpy().tobytes())
        return found.hexdigest()

    def published(self) -> dict[str, Tensor]:
        """All its tensors under the names of published files."""
        return {**self.state_dict(), **(self.lora.published() if self.lora else {})}


class KeyValueLayers(nn.Module):
    """to_k_ip and to_v_ip of one cross-attention."""

    def __init__(self, shapes: Mapping[str, Shape], nn_: LayerClasses) -> None:
        super().__init__()
        self.width, self.context = shapes[_KEY]
        self.to_k_ip = nn_.Linear(self.context, self.width, bias=False)
        self.to_v_ip = nn_.Linear(self.context, self.width, bias=False)

    def forward(self, tokens: Tensor) -> KeysValues:
        """(…, tokens, context) -> K' and V', (…, tokens, inner)."""
        return KeysValues(self.to_k_ip(tokens), self.to_v_ip(tokens))


def identify(named: Mapping[str, Entry], known: Evidence = NOTHING) -> Identity:
    """Tell what an adapter file is, checking every name and shape of it.

    known: what may tell kinds with equal tensors apart. Raises UnsupportedCheckpoint, naming the tensor at fault, when
    it is no adapter that can be used.
    """
    shapes = _split_shapes(named)
    return _checked(shapes, known).identity()._replace(lora=bool(shapes.lora))


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
    _checked(shapes, known)
    adapter, found = _empty(shapes, nn_, known), tensors(path)
    parts = split({name: name for name in named}).map(found.__getitem__)  # what the adapter does not need stays unread
    if parts.map(lambda tensor: tuple(tensor.shape)) != shapes:
        raise UnsupportedCheckpoint(f"{Path(path).name} was changed while it was read; run this again.")
    adapter.load_state_dict(parts._replace(lora={}).flat(), strict=True, assign=True)
    if parts.lora:
        adapter.lora = AdapterLora(Path(path).name, parts.lora)
    return adapter.eval().requires_grad_(False)


def _checked(shapes: Parts[Shape], known: Evidence) -> Adapter:
    """The network in torch's layers, without memory, once every name and shape is found to be right.

    Not in a host's layers: those may have no parameters to compare with before they are loaded (ComfyUI's DynamicVRAM).
    """
    try:
        adapter = _empty(_needed(shapes), nn, known)
        geometry = adapter.identity().geometry
        needed = _shapes(adapter) | lora.expected(geometry, shapes.lora)
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
    needed = adapter.layers()[0].context if adapter.variant.widened else adapter.image_proj.context
    for number, layer in adapter.ip_adapter.items():
        if layer.context != needed:
            raise UnsupportedCheckpoint(
                f"ip_adapter.{number}.to_k_ip.weight reads tokens of width {layer.context}, and must read {needed}."
            )
