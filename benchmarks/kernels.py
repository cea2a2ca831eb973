"""Kernels that a call launches, counted by the profiler: a figure that does not depend on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from .sampling import options, sample
from .sites import Site, at

READ = "aten::_local_scalar_dense"
_NOTHING = {  # operators that compute nothing: they look at a tensor in another way, or make room for one
    "alias",
    "as_strided",
    "detach",
    "diagonal",
    "empty",
    "empty_like",
    "empty_strided",
    "expand",
    "expand_as",
    "lift_fresh",
    "narrow",
    "new_empty",
    "new_empty_strided",
    "permute",
    "resize_",
    "resolve_conj",
    "resolve_neg",
    "result_type",
    "select",
    "set_",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unbind",
    "unflatten",
    "unfold",
    "unsafe_split",
    "unsqueeze",
    "view",
    "view_as",
    "_reshape_alias",
    "_unsafe_view",
}
_WHOLE = "_scaled_dot_product"  # one kernel, whatever the profiler shows within


class Launches(NamedTuple):
    """What a call launches: kernels, and reads of a value from the device."""

    kernels: int
    reads: int

    def __sub__(self, other: object) -> Launches:
        """What comes to another call."""
        if not isinstance(other, Launches):
            return NotImplemented
        return Launches(self.kernels - other.kernels, self.reads - other.reads)


def launches(model: ModelPatcher, where: Sequence[Site], size: int) -> Launches:
    """What a call launches at its sites and around them, from the second step on: three steps less two."""
    two, three = (_sampled(model, where, size, steps) for steps in (2, 3))
    return three - two


def count(event: Any) -> int:
    """Kernels of a profiled operator: those of the operators it calls, or one."""
    name = event.name.removeprefix("aten::")
    if name.startswith(_WHOLE):
        return 1
    inside = [child for child in event.cpu_children if child.name.startswith("aten::")]
    if inside:
        return sum(map(count, inside))
    return int(name not in _NOTHING and event.name != READ)


def _sampled(model: ModelPatcher, where: Sequence[Site], size: int, steps: int) -> Launches:
    """Launches of a whole sampling whose network is its cross-attentions alone."""
    inputs = [tuple(torch.randn(shape) for shape in (site.q, site.k, site.k)) for site in where]

    def sites_alone(executor: Any, x: Tensor, *given: Any, **more: Any) -> Tensor:
        told = options(given, more)
        for site, qkv in zip(where, inputs, strict=True):
            act, own = at(told, site.address, site.told)
            act(*qkv, own)
        return torch.zeros_like(x)

    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        sample(model, size, steps, sites_alone)
    events = profiled.events() or []
    outermost = [event for event in events if event.cpu_parent is None and event.name.startswith("aten::")]
    return Launches(sum(map(count, outermost)), sum(event.name == READ for event in events))
