"""Kernels that a call launches, counted by the profiler: a figure that does not depend on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from .sampling import options, sample
from .sites import Site, at

READ = "aten::_local_scalar_dense"
# Operators that compute nothing, beside those that look at a tensor in another way: they make room, or read one value.
_NOTHING = {
    "empty",
    "empty_like",
    "empty_strided",
    "is_nonzero",
    "item",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
    "resize_",
    "result_type",
    "set_",
    "unsafe_chunk",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "_local_scalar_dense",
    "_unsafe_view",
}
# One kernel, however the CPU's library does it: there a batched product is a loop over plain ones.
_WHOLE = {"addmm", "addmm_", "baddbmm", "baddbmm_", "bmm", "mm", "repeat"}
_FUSED = "_scaled_dot_product"  # how the names of fused attentions begin


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
    """What a call launches at its sites and around them, from the second step on: three steps less two.

    On a CUDA device the kernels that ran there, on the CPU the operators that compute.
    """
    _, two, three = (_sampled(model, where, size, steps) for steps in (1, 2, 3))  # what comes once, comes in the first
    return three - two


def count(event: Any) -> int:
    """Kernels of a profiled operator: those of the operators it calls, or its own one."""
    name = event.name.removeprefix("aten::")
    if name in _WHOLE or name.startswith(_FUSED):
        return 1
    inside = sum(count(child) for child in event.cpu_children if child.name.startswith("aten::"))
    return inside or int(name not in _NOTHING and not _is_view(name))


@cache
def _is_view(name: str) -> bool:
    """Whether what an operator gives is the tensor it was given, seen in another way."""
    operator = getattr(torch.ops.aten, name, None)
    return operator is not None and any(getattr(operator, form).is_view for form in operator.overloads())


def _sampled(model: ModelPatcher, where: Sequence[Site], size: int, steps: int) -> Launches:
    """Launches of a whole sampling whose network is its cross-attentions alone."""
    like = {"device": model.load_device, "dtype": model.model.get_dtype_inference()}
    inputs = [site.inputs(**like) for site in where]

    def sites_alone(executor: Any, x: Tensor, *given: Any, **more: Any) -> Tensor:
        told = options(given, more)
        for site, qkv in zip(where, inputs, strict=True):
            act, own = at(told, site.address, site.told)
            act(*qkv, own)
        return torch.zeros_like(x)

    on_cuda = model.load_device.type == "cuda"
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_cuda]
    with profile(activities=activities, acc_events=True) as profiled:
        sample(model, size, steps, sites_alone)
    events = list(profiled.events() or [])
    reads = sum(event.name == READ for event in events)
    return Launches(_on_device(events) if on_cuda else _on_cpu(events), reads)


def _on_cpu(events: Sequence[Any]) -> int:
    return sum(count(event) for event in events if event.cpu_parent is None and event.name.startswith("aten::"))


def _on_device(events: Sequence[Any]) -> int:
    return sum(event.device_type.name == "CUDA" for event in events)
