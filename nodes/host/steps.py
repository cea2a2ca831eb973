"""Which step of a sampling a model call belongs to: from what the host's samplers say after each step.

Reading the noise level instead would make the host wait for the device at every call. A sampler calls back after the
first call of each step, and nothing can skip that; how many calls lie between two callbacks is known of some samplers
and checked. Where it is not as known, and with all other samplers, the noise level is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor

Offsets = tuple[int, ...]
"""By the number of a call since the last callback: its step, counted from the number of steps that were told."""

_ONE: Offsets = (0,)
_TWO: Offsets = (-1, 0)  # the second call of a step between two noise levels, then the first one of the next step
_TWO_AHEAD: Offsets = (0, 0)  # the second call of a step at the noise level of the next

# Functions of comfy.k_diffusion.sampling, by name. Those that choose their own noise levels, make more calls, or leave
# some out are not here.
_OFFSETS: dict[str, Offsets] = {
    **dict.fromkeys(
        (
            "sample_euler",
            "sample_euler_ancestral",
            "sample_euler_cfg_pp",
            "sample_euler_ancestral_cfg_pp",
            "sample_lms",
            "sample_dpmpp_2m",
            "sample_dpmpp_2m_sde",
            "sample_dpmpp_2m_sde_gpu",
            "sample_dpmpp_2m_cfg_pp",
            "sample_dpmpp_3m_sde",
            "sample_dpmpp_3m_sde_gpu",
            "sample_ddpm",
            "sample_lcm",
            "sample_ipndm",
            "sample_ipndm_v",
            "sample_deis",
            "sample_res_multistep",
            "sample_res_multistep_ancestral",
            "sample_gradient_estimation",
            "sample_er_sde",
        ),
        _ONE,
    ),
    "sample_dpm_2": _TWO,
    "sample_heun": _TWO_AHEAD,
}
_MODULE = "comfy.k_diffusion.sampling"


def offsets(sampler: Any) -> Offsets:
    """How the calls of a sampler lie between its callbacks; empty where only the noise level tells steps."""
    function = getattr(sampler, "sampler_function", None)
    if getattr(function, "__module__", None) != _MODULE or getattr(sampler, "extra_options", None):
        return ()
    return _OFFSETS.get(getattr(function, "__name__", ""), ())


class Instant(NamedTuple):
    """A step (from 0), and a noise level: that of the call where it was read, else that of the step."""

    step: int
    level: float


class Clock:
    """The steps of one run. levels: its noise levels, the final one included; offsets: of its sampler."""

    def __init__(self, levels: Sequence[float], offsets: Offsets = ()) -> None:
        self.levels, self.steps = tuple(levels), len(levels) - 1
        self._offsets = offsets
        self._falls = all(later <= sooner for sooner, later in pairwise(self.levels))
        self._told, self._calls = 0, 0

    def told(self, step: int) -> None:
        """A sampler said that this step is on its way: the first of its calls is done."""
        self._told, self._calls = step + 1, 0

    def called(self) -> None:
        """A guider is called."""
        self._calls += 1

    def now(self, sigma: Tensor) -> Instant:
        """When a call at this noise level is; the level is only read where the sampler did not tell."""
        if 1 <= self._calls <= len(self._offsets):
            step = max(self._told + self._offsets[self._calls - 1], 0)
            return Instant(min(step, self.steps - 1), self.levels[min(step, self.steps)])
        level = float(sigma.flatten()[0])
        return Instant(self._by_level(level), level)

    def _by_level(self, level: float) -> int:
        """The step that began at a noise level, or last above it; where levels do not fall, the one that is on."""
        if self._falls:
            return max(sum(level <= begins for begins in self.levels[: self.steps]) - 1, 0)
        last = min(self._told, self.steps - 1)
        ends = sorted(self.levels[max(last - 1, 0) : last + 1])
        return last - (ends[0] < level < ends[-1])  # a call between two levels belongs to the step that it is in
