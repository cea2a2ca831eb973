"""Goal 12: what image prompts add to SDXL's steps on a CUDA device, eager and compiled."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..adapters import adapter, prompt
from ..cases import NULL, PLAIN, ours
from ..figures import Findings
from ..launches import launches
from ..sampling import KEY, sample
from ..settings import Settings
from ..sites import sites
from ..timing import differences, mixed, spread
from ..unets import hollow, unet

GOALS = ("cuda fp16", "cuda bf16", "cuda compiled", "cuda kernels", "cuda reads")
EAGER = {"cuda fp16": torch.float16, "cuda bf16": torch.bfloat16}
ONE, FOUR, MANY = "one adapter, 4 tokens", "four adapters", "one adapter, 16 tokens"
_STEPS, _FIRST = 16, 4  # steps of a sampling, and those of them that prepare
_SIZE, _LAUNCH_SIZE = 1024, 512


def measure(settings: Settings) -> Findings:
    """Shares of a whole step, as calls on a device are steady enough to be compared whole."""
    found = Findings()
    if not torch.cuda.is_available():
        found.lack(GOALS, "not run: no CUDA device")
        return found
    for goal, dtype in EAGER.items():
        eager(found, goal, dtype, settings)
    compiled(found, settings)
    counted(found)
    return found


def eager(found: Findings, goal: str, dtype: torch.dtype, settings: Settings) -> None:
    """Added shares of a dtype, and what is read from the device."""
    model = unet("SDXL", dtype, "cuda")
    cases = {
        PLAIN: model,
        NULL: model.clone(),
        ONE: ours(model, [prompt(model, 4)]),
        FOUR: ours(model, [prompt(model, 4) for _ in range(4)]),
        MANY: ours(model, [prompt(model, 16)]),
    }
    how = f"{torch.cuda.get_device_name()}, SDXL, {_SIZE} px, batch 2, {goal.split()[-1]}, eager"
    add(found, goal, cases, settings, how)
    if goal == next(iter(EAGER)):
        found.add("cuda reads", float(reads(cases[ONE]) - reads(model)), "", how)


def compiled(found: Findings, settings: Settings) -> None:
    """Added share under torch.compile, as core's node applies it."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    model = unet("SDXL", torch.float16, "cuda")
    cases = {PLAIN: model, ONE: ours(model, [prompt(model, 4)])}
    made = {name: case.clone() for name, case in cases.items()}
    for clone in made.values():
        set_torch_compile_wrapper(model=clone, backend="inductor", options={"guard_filter_fn": _guards})
    how = f"{torch.cuda.get_device_name()}, SDXL, {_SIZE} px, batch 2, fp16, torch.compile"
    add(found, "cuda compiled", made, settings, how)


def _guards(entries: Sequence[Any]) -> list[bool]:
    return ["transformer_options" not in entry.name for entry in entries]


def counted(found: Findings) -> None:
    """Kernels that run on the device."""
    model = hollow("SD1.5", torch.float16, "cuda")
    stacked = ours(model, [adapter(model, 4, seed).prompt for seed in range(4)])
    where = sites("SD1.5", _LAUNCH_SIZE)
    more = launches(stacked, where, _LAUNCH_SIZE) - launches(model, where, _LAUNCH_SIZE)
    found.add("cuda kernels", float(more.kernels), "", f"{torch.cuda.get_device_name()}, SD1.5, 16 layers, fp16")


def add(found: Findings, goal: str, cases: Mapping[str, ModelPatcher], settings: Settings, how: str) -> None:
    """What each case adds to the steps of the plain one, in percent."""
    order = random.Random(0)
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(settings.repeats + 1):
        for name in mixed(cases, order):
            steps = step_times(cases[name])
            if repeat:
                taken[name].append(spread(steps[_FIRST:]).median)
    whole = spread(taken[PLAIN]).median
    found.add(f"step, {how}", [1000 * seconds for seconds in taken[PLAIN]], "ms", how)
    for name in cases:
        if name != PLAIN:
            shares = [100 * seconds / whole for seconds in differences(taken[name], taken[PLAIN])]
            found.add(goal if name == ONE else f"{goal}: {name}", shares, "%", how)


def step_times(model: ModelPatcher) -> list[float]:
    """Seconds of each step but the first, from the end of one to the end of the next, by the device's own clock."""
    ends: list[Any] = []

    def marked(executor: Any, *given: Any, **more: Any) -> Tensor:
        found: Tensor = executor(*given, **more)
        ends.append(torch.cuda.Event(enable_timing=True))
        ends[-1].record()
        return found

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, marked)
    sample(clone, _SIZE, _STEPS)
    torch.cuda.synchronize()
    return [before.elapsed_time(after) / 1000 for before, after in pairwise(ends)]


def reads(model: ModelPatcher) -> int:
    """How often a step waits for the device: the sync warnings of three steps less those of two."""
    counted = []
    for steps in (2, 3):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")  # "error" would end at the first one, which may be the host's
            try:
                sample(model, _SIZE, steps)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        counted.append(sum("synchronizing CUDA" in str(one.message) for one in told))
    return counted[1] - counted[0]
