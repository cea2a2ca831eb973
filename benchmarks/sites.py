"""The cross-attentions of a UNet as sites where time is taken: in the running call, or on their own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..nodes.host import models
from .sampling import CELL, Options, observed, sample
from .timing import Clock, mixed
from .unets import TEXT_TOKENS, context, hollow, pooled_width

Attention = Callable[[Tensor, Tensor, Tensor, Options], Tensor]
Address = tuple[str, int, int]
Inputs = tuple[Tensor, Tensor, Tensor]
"""q, k and v of a layer."""

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

    def inputs(self, **like: Any) -> Inputs:
        """Random queries, keys and values; like: device and dtype."""
        return torch.randn(self.q, **like), torch.randn(self.k, **like), torch.randn(self.k, **like)


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

    def __init__(self, options: Mapping[str, Options]) -> None:
        self.calls: dict[str, list[float]] = {name: [] for name in options}
        self._race = Race(options)

    def open(self) -> None:
        """A call of the model begins."""
        for seconds in self.calls.values():
            seconds.append(0.0)

    def extra(self) -> float:
        """Seconds that this call has taken longer for being probed."""
        return sum(seconds[-1] for name, seconds in self.calls.items() if name != self._race.plain)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, live: Options) -> Tensor:
        """The plain model's attention."""
        told = {key: live[key] for key in _OF_LAYER if key in live}
        taken, attended = self._race.run((*live["block"], live["block_index"]), (q, k, v), told)
        for name, seconds in taken.items():
            self.calls[name][-1] += seconds
        return attended


class Race:
    """Cases run on the same queries, keys and values one right after another, each time in another order."""

    def __init__(self, options: Mapping[str, Options], clock: Clock = time.perf_counter) -> None:
        self.plain = next(iter(options))
        self._options, self._clock = options, clock
        self._order = random.Random(0)

    def run(self, address: Address, qkv: Inputs, told: Options) -> tuple[dict[str, float], Tensor]:
        """Seconds of each case at a site, and what the plain model, which is the first case, makes of it."""
        taken, results = {}, {}
        for name in mixed(self._options, self._order):
            act, options = at(self._options[name], address, told)
            begun = self._clock()
            found = act(*qkv, options)
            taken[name] = self._clock() - begun
            if name == self.plain:
                results[name] = found
            del found  # gives its memory back before the next one is timed
        return taken, results[self.plain]


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
    addresses = [layer.address for layer in models.layers(model)]
    patches = {"attn1": dict.fromkeys(addresses, _unattended), "attn2": dict.fromkeys(addresses, note)}
    side, beside = size // CELL, pooled_width(model)
    with torch.device("meta"), torch.no_grad():
        model.model.diffusion_model(
            torch.zeros(rows, 4, side, side),
            torch.zeros(rows),
            context=torch.zeros(rows, TEXT_TOKENS, context(model)),
            y=None if beside is None else torch.zeros(rows, beside),
            transformer_options={"patches_replace": patches},
        )
    return found


def _unattended(q: Tensor, k: Tensor, v: Tensor, live: Options) -> Tensor:
    return q


@torch.inference_mode()
def alone(where: Sequence[Site], cases: Mapping[str, Options], repeats: int) -> dict[str, list[float]]:
    """Seconds of each case in each repeat, all sites together, on random queries, keys and values.

    Site after site, so that the memory of one suffices; the first run at each is not counted.
    """
    race = Race(cases)
    found = {name: [0.0] * repeats for name in cases}
    for site in where:
        qkv = site.inputs()
        race.run(site.address, qkv, site.told)
        for repeat in range(repeats):
            taken, _ = race.run(site.address, qkv, site.told)
            for name, seconds in taken.items():
                found[name][repeat] += seconds
    return found
