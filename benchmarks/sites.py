"""The cross-attentions of a UNet as sites where time is taken: in the running call, or on their own."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..nodes.host import models
from .sampling import CELL, Options, observed, sample
from .timing import Clock, mixed
from .unets import CLASSES, TEXT_TOKENS, context, hollow, pooled_width

Attention = Callable[[Tensor, Tensor, Tensor, Options], Tensor]
Address = tuple[str, int, int]

# What a layer adds to the options of its call; the rest comes from the sampler.
_OF_LAYER = (
    "original_shape",
    "transformer_index",
    "block",
    "block_index",
    "activations_shape",
    "n_heads",
    "dim_head",
    "attn_precision",
)
_PATCHES = ("patches", "patches_replace")  # what layers do not hand to patches


class Site(NamedTuple):
    """One cross-attention in one call: shapes of q and of k and v, and what the layer tells its patch."""

    address: Address
    q: tuple[int, ...]
    k: tuple[int, ...]
    told: Options


class InCall(NamedTuple):
    """Seconds of each case in each call, all its sites together; and of the calls without what the cases took."""

    cases: dict[str, list[float]]
    calls: list[float]


def in_call(model: ModelPatcher, cases: Mapping[str, ModelPatcher], size: int, repeats: int) -> InCall:
    """Time every case on the real queries, keys and values of each layer, in calls of the model within a sampling.

    cases: the same MODEL with something applied; the first one is the plain model. The first call is not counted.
    """
    probe = Probe({name: observed(case, size) for name, case in cases.items()})
    probed = model.clone()
    for layer in models.layers(model):
        probed.set_model_attn2_replace(probe, layer.stage, layer.block, layer.depth)
    calls: list[float] = []

    def timed(executor: Any, *given: Any, **more: Any) -> Tensor:
        probe.open()
        begun = time.perf_counter()
        found: Tensor = executor(*given, **more)
        calls.append(time.perf_counter() - begun - probe.extra())
        return found

    sample(probed, size, repeats + 1, timed)
    return InCall({name: seconds[1:] for name, seconds in probe.calls.items()}, calls[1:])


class Probe:
    """A patch that runs every case in place of a layer's attention, in mixed order, and goes on with the first."""

    def __init__(self, options: Mapping[str, Options], clock: Clock = time.perf_counter) -> None:
        self.calls: dict[str, list[float]] = defaultdict(list)
        self._options, self._clock = options, clock
        self._plain = next(iter(options))
        self._order = random.Random(0)

    def open(self) -> None:
        """A call of the model begins."""
        for name in self._options:
            self.calls[name].append(0.0)

    def extra(self) -> float:
        """Seconds that this call has taken longer for being probed."""
        return sum(seconds[-1] for name, seconds in self.calls.items() if name != self._plain)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, live: Options) -> Tensor:
        """The plain model's attention."""
        told = {key: live[key] for key in _OF_LAYER if key in live}
        address = (*live["block"], live["block_index"])
        results = {name: self._timed(name, address, (q, k, v), told) for name in mixed(self._options, self._order)}
        return results[self._plain]

    def _timed(self, name: str, address: Address, qkv: tuple[Tensor, ...], told: Options) -> Tensor | None:
        act, options = at(self._options[name], address, told)
        begun = self._clock()
        found = act(*qkv, options)
        self.calls[name][-1] += self._clock() - begun
        return found if name == self._plain else None  # what is not needed gives its memory back here


def at(options: Options, address: Address, told: Options) -> tuple[Attention, Options]:
    """What a model runs in place of a layer's attention, found as its network finds it, and what that is told."""
    table = options.get("patches_replace", {}).get("attn2", {})
    act = table.get(address) or table.get(address[:2]) or text_attention
    return act, {**{key: value for key, value in options.items() if key not in _PATCHES}, **told}


def text_attention(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """What a layer does without a patch."""
    return attention.optimized_attention(
        q, k, v, options["n_heads"], attn_precision=options.get("attn_precision"), transformer_options=options
    )


def sites(family: str, size: int, rows: int = 2) -> list[Site]:
    """The sites of a call on square pictures, found by a call that computes nothing."""
    found: list[Site] = []

    def note(q: Tensor, k: Tensor, v: Tensor, live: Options) -> Tensor:
        told = {key: live[key] for key in _OF_LAYER if key in live}
        found.append(Site((*live["block"], live["block_index"]), tuple(q.shape), tuple(k.shape), told))
        return q

    model = hollow(family, device="meta")
    table = {layer.address: note for layer in models.layers(model)}
    side, beside = size // CELL, pooled_width(model)
    with torch.device("meta"), torch.no_grad():
        model.model.diffusion_model(
            torch.zeros(rows, 4, side, side),
            torch.zeros(rows),
            context=torch.zeros(rows, TEXT_TOKENS, context(model)),
            y=None if beside is None else torch.zeros(rows, beside),
            transformer_options={"patches_replace": {"attn2": table}},
        )
    return found


def alone(where: Sequence[Site], cases: Mapping[str, Options], repeats: int) -> dict[str, list[float]]:
    """Seconds of each case in each repeat, all sites together, on random queries, keys and values."""
    probe = Probe(cases)
    inputs = [(site, tuple(torch.randn(shape) for shape in (site.q, site.k, site.k))) for site in where]
    for _ in range(repeats + 1):
        probe.open()
        for site, qkv in inputs:
            probe(*qkv, site.told)
    return {name: seconds[1:] for name, seconds in probe.calls.items()}


FAMILIES = tuple(CLASSES)
