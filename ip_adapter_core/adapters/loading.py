"""Identifying and loading adapter files: every name and shape is checked before any tensor is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files.errors import UnsupportedCheckpoint
from ..files.foreign import check_runs_here
from ..files.stored import Stored, stored_tensors
from ..files.tensor_file import Entry, Shape, entries, joined, joined_shape, tensors
from ..layers.families import FAMILIES
from ..layers.layout import Geometry
from . import lora
from .adapter import Adapter
from .checkpoint import Parts, split
from .identity import Identity
from .lora import AdapterLora
from .namings import find_sources
from .partial import check_last_layers, check_whole, incomplete
from .projections import LayerClasses
from .resolution import AUTO, NOTHING, Evidence, decide, gather_evidence
from .stored_layers import leave_in_file
from .variants import Variant, candidates

_MALFORMED = (KeyError, ValueError, TypeError, IndexError, ArithmeticError, RuntimeError)


def identify(named: Mapping[str, Entry], evidence: Evidence = NOTHING) -> Identity:
    """What an adapter file is; every name and shape in it is checked.

    evidence: what decides between kinds with equal tensors. Raises UnsupportedCheckpoint, which names the wrong tensor,
    when the file is no adapter that can be used.
    """
    shapes = _split_shapes(named)
    return _check(shapes, evidence).identity()._replace(lora=bool(shapes.lora))


def identify_file(path: str | Path, choice: str = AUTO) -> Identity:
    """What an adapter file is by its header, and if that is not enough, by the user's choice, sha256 and name.

    choice: a row of resolution.CHOICES. Raises UnsupportedCheckpoint like `identify`.
    """
    return identify(entries(path), gather_evidence(path, choice))


def load(path: str | Path, nn_: LayerClasses = nn, choice: str = AUTO) -> Adapter:
    """The adapter of a file with its weights in memory, in the dtype of the file.

    Weights of kinds that are too large for that stay in the file, which must not be changed while the adapter is used.
    nn_: the classes Linear and LayerNorm to build it of. choice: as in `identify_file`. Raises UnsupportedCheckpoint
    like `identify`, before any weight is loaded.
    """
    named, evidence = entries(path), gather_evidence(path, choice)
    shapes = _split_shapes(named)
    _check(shapes, evidence)
    adapter, sources = _empty(shapes, nn_, evidence), split(find_sources(named))
    places = stored_tensors(path) if adapter.variant.stays_in_file else {}
    left, read = leave_in_file(adapter, _places_of(sources, places)), _reader(path, places)
    parts = sources.without(left).map(lambda names: joined([read(name) for name in names]))  # no more than is needed
    if parts.map(lambda tensor: tuple(tensor.shape)) != shapes.without(left):
        raise UnsupportedCheckpoint(f"Run this again; {Path(path).name} was changed while it was read.")
    adapter.load_state_dict(parts._replace(lora={}).flat(), strict=True, assign=True)
    if parts.lora:
        adapter.lora = AdapterLora(Path(path).name, parts.lora, adapter.variant.lora)
    return adapter.train(False).requires_grad_(False)


def _places_of(sources: Parts[tuple[str, ...]], places: Mapping[str, Stored]) -> dict[str, Stored]:
    """Where tensors are, by published name, of those that are one tensor of the file."""
    return {name: places[first] for name, (first, *more) in sources.flat().items() if first in places and not more}


def _reader(path: str | Path, places: Mapping[str, Stored]) -> Callable[[str], Tensor]:
    """What reads a tensor of a file by its name there."""
    return (lambda name: places[name].read()) if places else tensors(path).__getitem__


def _check(shapes: Parts[Shape], evidence: Evidence) -> Adapter:
    """The network on the meta device. Raises UnsupportedCheckpoint when a name or shape is wrong.

    It is built of torch's layers: those of a host may have no parameters yet (ComfyUI's DynamicVRAM).
    """
    _check_sizes(shapes.flat())
    kind = _kind(shapes, evidence)
    try:
        adapter = _empty(_require(shapes, kind), nn, evidence)
        geometry = adapter.identity().geometry
        needed = _shapes(adapter) | lora.expected_shapes(geometry, shapes.lora, adapter.variant.lora)
    except UnsupportedCheckpoint:
        raise
    except _MALFORMED as error:
        raise incomplete(kind, f"is incomplete or malformed ({error!r})") from error
    _check_names(kind, needed, shapes.flat())
    _check_numbers(kind, list(shapes.layers), geometry)
    check_last_layers(kind, geometry)
    _check_contexts(adapter)
    _check_formula(adapter.variant, evidence)
    return adapter


def _check_formula(variant: Variant, evidence: Evidence) -> None:
    said = evidence.metadata() if variant.other_formulas else {}
    for word in variant.other_formulas:
        if str(said.get(word)).lower() == "true":
            raise UnsupportedCheckpoint(
                f"Choose another {variant.name} adapter, such as the published one; this one was trained with {word}, "
                "so that its layers are read in another way."
            )


def _kind(shapes: Parts[Shape], evidence: Evidence) -> str:
    """The name of its variant, which tensors of too few dimensions may not tell."""
    try:
        return decide(candidates(shapes), evidence).variant.name
    except UnsupportedCheckpoint:
        raise
    except _MALFORMED as error:
        raise UnsupportedCheckpoint(f"Download this adapter file again; it is malformed ({error!r}).") from error


def _empty(shapes: Parts[Shape], nn_: LayerClasses, evidence: Evidence) -> Adapter:
    """The network without memory for its parameters."""
    with torch.device("meta"):
        return Adapter(shapes, nn_, evidence)


class _RequiredShapes(dict[str, Shape]):
    """Shapes by name; the error for a missing name says that the file lacks this tensor."""

    def __init__(self, kind: str, prefix: str, shapes: Mapping[str, Shape]) -> None:
        super().__init__(shapes)
        self.kind, self.prefix = kind, prefix

    def __missing__(self, key: str) -> Shape:
        raise incomplete(self.kind, f"lacks {self.prefix}{key}")


def _require(shapes: Parts[Shape], kind: str) -> Parts[Shape]:
    layers: dict[int, dict[str, Shape]] = {
        n: _RequiredShapes(kind, f"ip_adapter.{n}.", inner) for n, inner in shapes.layers.items()
    }
    return shapes._replace(projection=_RequiredShapes(kind, "image_proj.", shapes.projection), layers=layers)


def _split_shapes(named: Mapping[str, Entry]) -> Parts[Shape]:
    check_runs_here(named)
    sources = find_sources(named)
    check_whole(named, sources)
    return split(sources).map(lambda names: joined_shape([named[name].shape for name in names]))


def _shapes(module: nn.Module) -> dict[str, Shape]:
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def _check_sizes(shapes: Mapping[str, Shape]) -> None:
    for name, shape in shapes.items():
        if any(size < 1 for size in shape):
            raise UnsupportedCheckpoint(
                f"Download this adapter file again; its {name} has shape {list(shape)}, which holds no number."
            )


def _check_names(kind: str, expected: Mapping[str, Shape], actual: Mapping[str, Shape]) -> None:
    for name, shape in expected.items():
        if name not in actual:
            raise incomplete(kind, f"lacks {name}")
        if actual[name] != shape:
            raise incomplete(kind, f"its {name} has shape {list(actual[name])}, and must have {list(shape)}")
    for name in actual:
        if name not in expected:
            raise UnsupportedCheckpoint(
                f"Use the original IP-Adapter file; this one holds {name}, which adapters of kind {kind} do not have."
            )


def _check_numbers(kind: str, numbers: list[int], geometry: Geometry) -> None:
    """Adapters number all attentions; the cross-attentions are the odd ones, the middle block last."""
    for number, expected in zip(numbers, range(1, 2 * len(numbers), 2), strict=True):
        if number != expected:
            raise incomplete(kind, f"has no layer {expected} (the next is {number})")
    for name, published in FAMILIES.items():
        if sorted(published.widths) == sorted(geometry.widths) and published.widths != geometry.widths:
            raise UnsupportedCheckpoint(
                f"Use the original file, where the middle block comes last; the layers of this {name} "
                "adapter are numbered in execution order."
            )


def _check_contexts(adapter: Adapter) -> None:
    """Every layer must read tokens of the width that the projection makes, or that the model's own projection makes."""
    needed = adapter.layers()[0].context if adapter.variant.needs_text_projection else adapter.image_proj.context
    for number, layer in adapter.ip_adapter.items():
        if layer.context != needed:
            raise UnsupportedCheckpoint(
                f"Use the original IP-Adapter file; ip_adapter.{number}.to_k_ip.weight of this one reads "
                f"tokens of width {layer.context}, and must read {needed}."
            )
        if adapter.variant.reads_time and layer.time != layer.width:
            raise incomplete(
                adapter.variant.name,
                f"its ip_adapter.{number}.adaln_ip.1.weight reads a time of width {layer.time}, and must read "
                f"{layer.width}",
            )
        if adapter.variant.timed and not adapter.variant.reads_time and layer.time != adapter.image_proj.width:
            raise incomplete(
                adapter.variant.name,
                f"its ip_adapter.{number}.norm_ip.linear.weight reads a time of width {layer.time}, and must read "
                f"{adapter.image_proj.width}",
            )
