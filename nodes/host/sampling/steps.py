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

# Functions of comfy.k_diffusion.sampling, by name, and how many calls they make at most from one callback to the next.
# These are all at the noise level of the step that comes then, as the first call of a step is; samplers that call at
# levels between two steps, choose their own, or leave callbacks out are not here.
_CALLS: dict[str, int] = {
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
        1,
    ),
    "sample_heun": 2,
}
_MODULE = "comfy.k_diffusion.sampling"


def calls(sampler: Any) -> int:
    """How many calls a sampler makes at most between two callbacks; 0 where only the noise level tells steps."""
    function = getattr(sampler, "sampler_function", None)
    if getattr(function, "__module__", None) != _MODULE or getattr(sampler, "extra_options", None):
        return 0
    return _CALLS.get(getattr(function, "__name__", ""), 0)


class Instant(NamedTuple):
    """A step (from 0), and a noise level: that of the call where it was read, else that of the step."""

    step: int
    level: float


class Clock:
    """The steps of one run. levels: its noise levels, the final one included; most: calls of its sampler, as above."""

    def __init__(self, levels: Sequence[float], most: int = 0) -> None:
        self.levels, self.steps = tuple(levels), len(levels) - 1
        self._most = most
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
        if 1 <= self._calls <= self._most:
            return Instant(min(self._told, self.steps - 1), self.levels[min(self._told, self.steps)])
        level = float(sigma.flatten()[0])
        return Instant(self._by_level(level), level)

    def _by_level(self, level: float) -> int:
        """The step that began at a noise level, or last above it; where levels do not fall, the one that is on."""
        if self._falls:
            return max(sum(level <= begins for begins in self.levels[: self.steps]) - 1, 0)
        last = min(self._told, self.steps - 1)
        ends = sorted(self.levels[max(last - 1, 0) : last + 1])
        return last - (ends[0] < level < ends[-1])  # a call between two levels belongs to the step that it is in
