"""K', V' and λ of a model's image prompts as named tensors with a header, for programs with an attention of their own.

    n.layer.keys, n.layer.values   (sides, tokens, inner) of image prompt n in a layer: side 0 is the cond, 1 the uncond
    n.bias                         (1, tokens) added to the scores
    header                         what `header` says, as JSON in the file's metadata

Exported is what is the same in every frame and everywhere in the picture: λ is a number that others may change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..files.atomic import save_whole
from ..layers.layout import Layer
from ..layers.roles import has_roles
from ..prompts.prompt import COND
from .application import Application, LayerTerm
from .balance import OFF
from .projection import NEUTRAL
from .scaling import scale_each

_FORMAT, _VERSION = "IP-Adapter keys and values", "1"
_BY_WEIGHT = "V only"  # the scaling in which λ can stay outside of K' and V'
_HOW = (
    "In each layer, before its output projection, for rows of a side: attended + the sum over prompts of "
    "weights[side][layer] * softmax(q keys^T / sqrt(width / heads) + bias) values, from start to end."
)
_DIFFERS: dict[str, Callable[[Application], bool]] = {
    "frames of their own": lambda one: one.framed,
    "the schedule": lambda one: one.schedule.over_time,
    "the masks": lambda one: bool(one.masks),
    "the balance": lambda one: one.balance != OFF,
}
"""What is not exported -> whether an application has it."""


class Exported(NamedTuple):
    """Image prompts for another program.

    tensors: by name.
    header: layers, prompts, and how to apply them; it can be written as JSON.
    """

    tensors: dict[str, Tensor]
    header: dict[str, Any]

    def save(self, file: Path) -> None:
        """Write it to a safetensors file, in the place of what was there."""
        save_whole(self.tensors, file, {"format": _FORMAT, "version": _VERSION, "header": json.dumps(self.header)})


class _Sum(NamedTuple):
    """What one softmax adds to layers: the terms of an application that read the same sides, by number of the layer."""

    application: Application
    source_cond: tuple[int | None, int | None]
    terms: dict[int, LayerTerm]


def export(applications: Sequence[Application], layers: tuple[Layer, ...]) -> Exported:
    """Applications on a model with these layers, for others to apply.

    layers: all of the model's, in adapter order, by which they are numbered. Raises ValueError where there is nothing
    to export, and for what differs by frame, by place, by a schedule or by what the text says.
    """
    if not applications:
        raise ValueError("Give a model that follows an image prompt, at a weight that is not 0; this one follows none.")
    if not has_roles(layers):
        raise ValueError(
            "Give a model with a UNet; Flux, SD3.5 and Anima take image prompts otherwise than the file can say. Save "
            "Image Prompt keeps a prompt for them, to load it in ComfyUI."
        )
    for what, has in _DIFFERS.items():
        if any(map(has, applications)):
            raise ValueError(
                f"Remove {what}; exported is what is the same in every frame, step and place, for any text."
            )
    if any(one.method != NEUTRAL for one in applications):
        raise ValueError(
            f'Set method to "{NEUTRAL}" where PuLID is applied, and lower the weight; the other methods turn what is '
            "added away from what the text says, which a file cannot know."
        )
    sums = [one for application in applications for one in _sums(application, layers)]
    tensors = {name: tensor for number, one in enumerate(sums) for name, tensor in _tensors(number, one)}
    described = [_layer(layer) for layer in layers]
    header = {"apply": _HOW, "layers": described, "prompts": [_prompt(one, len(layers)) for one in sums]}
    return Exported(tensors, header)


def _sums(application: Application, layers: tuple[Layer, ...]) -> Iterator[_Sum]:
    numbered = [(number, term) for number, layer in enumerate(layers) for term in application.layers.get(layer, ())]
    for source in dict.fromkeys(term.source_cond for _, term in numbered):
        yield _Sum(application, source, {number: term for number, term in numbered if term.source_cond == source})


def _tensors(number: int, one: _Sum) -> Iterator[tuple[str, Tensor]]:
    part = one.application.part
    rows = part.row_index[[COND if source is None else source for source in one.source_cond], 0]
    for layer, term in one.terms.items():
        kv = type(term.kv)(*(tensor[rows] for tensor in term.kv))
        if not _stays_outside(one):
            images = one.application.images if one.application.mean_of_each else 1
            kv = scale_each(kv, _weight(one, term), one.application.scaling, images)
        yield f"{number}.{layer}.keys", kv.keys.contiguous()
        yield f"{number}.{layer}.values", kv.values.contiguous()
    tokens = part.tokens.shape[1]
    yield f"{number}.bias", torch.zeros(1, tokens) if part.attn_bias is None else part.attn_bias[None].clone()


def _prompt(one: _Sum, layers: int) -> dict[str, Any]:
    """What the header says of a prompt."""
    application = one.application
    numbers = {layer: _weight(one, term) if _stays_outside(one) else 1.0 for layer, term in one.terms.items()}
    weights = [
        [0.0 if source is None else numbers.get(layer, 0.0) for layer in range(layers)] for source in one.source_cond
    ]
    lora = application.lora
    return {
        "tokens": application.part.tokens.shape[1],
        "weights": weights,
        "scaling": application.scaling,
        "weights_are_in_the_tensors": not _stays_outside(one),
        **dict(zip(("start", "end", "unit"), application.span, strict=True)),
        "lora": None if lora is None else {"file": lora.file, "strength": lora.strength},
    }


def _layer(layer: Layer) -> dict[str, Any]:
    """What the header says of a layer."""
    return {"module": f"{layer.module}.attn2", "heads": layer.heads, "width": layer.width}


def _stays_outside(one: _Sum) -> bool:
    return one.application.scaling == _BY_WEIGHT


def _weight(one: _Sum, term: LayerTerm) -> float:
    return term.weight * one.application.frame_weight(0, 1)
