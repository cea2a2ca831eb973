"""Which step of a sampling does a model call belong to?

What the host says: a sampler calls back after the first model call of each step, and nothing can skip that. For some
samplers this module knows how many calls lie between two callbacks, and counts them.

Where the count is exceeded, and with all other samplers, the noise level of the call is read; that makes the host wait
for the device, so it is not the usual way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from comfy.k_diffusion.sampling import offset_first_sigma_for_snr
from torch import Tensor

# Functions of comfy.k_diffusion.sampling, by name, and how many calls they make at most from one callback to the next.
# All these calls are at the noise level of the next step, as the first call of a step is. Samplers that call at levels
# between two steps, choose their own levels, or leave callbacks out are not here.
_MAX_CALLS: dict[str, int] = {
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
# Of these, the ones that begin a little below the first level of a flow model, where nothing is to be seen but noise.
_BEGIN_LOWER = {
    "sample_dpmpp_2m_sde",
    "sample_dpmpp_2m_sde_gpu",
    "sample_dpmpp_3m_sde",
    "sample_dpmpp_3m_sde_gpu",
    "sample_er_sde",
}
_MODULE = "comfy.k_diffusion.sampling"


def max_calls(sampler: Any) -> int:
    """How many calls a sampler makes at most between two callbacks; 0 where only the noise level tells steps."""
    return 0 if getattr(sampler, "extra_options", None) else _MAX_CALLS.get(_function_of(sampler), 0)


def true_levels(sampler: Any, sigmas: Tensor, sampling: Any) -> Tensor:
    """The noise levels of a run as its sampler takes them; sampling: the model's noise schedule."""
    if _function_of(sampler) not in _BEGIN_LOWER:
        return sigmas
    lowered: Tensor = offset_first_sigma_for_snr(sigmas, sampling)
    return lowered


def _function_of(sampler: Any) -> str:
    """The name of a sampler's function, where it is one of the host's own; else nothing."""
    function = getattr(sampler, "sampler_function", None)
    return getattr(function, "__name__", "") if getattr(function, "__module__", None) == _MODULE else ""


class Instant(NamedTuple):
    """When a model call is.

    step: the number of the step, from 0.
    level: the noise level of the call where it was read, else that of the step.
    """

    step: int
    level: float


class Clock:
    """The steps of one run, counted by the callbacks of its sampler and the calls of its guider.

    levels: the noise levels of the run, the final one included.
    max_calls: how many calls the sampler makes at most between two callbacks, as the function of this name says.
    """

    def __init__(self, levels: Sequence[float], max_calls: int = 0) -> None:
        self.levels, self.steps = tuple(levels), len(levels) - 1
        self._max_calls = max_calls
        self._falls = all(later <= sooner for sooner, later in pairwise(self.levels))
        self._next_step, self._calls = 0, 0

    def sampler_called_back(self, step: int) -> None:
        """Count a callback: the first model call of this step is done."""
        self._next_step, self._calls = step + 1, 0

    def guider_called(self) -> None:
        """Count a call of the guider, which is one model call for all conds."""
        self._calls += 1

    def now(self, sigma: Tensor) -> Instant:
        """When a call at this noise level is; the level is only read where counting does not tell."""
        if 1 <= self._calls <= self._max_calls:
            return Instant(min(self._next_step, self.steps - 1), self.levels[min(self._next_step, self.steps)])
        level = float(sigma.flatten()[0])
        return Instant(self._by_level(level), level)

    def _by_level(self, level: float) -> int:
        """The step that began at a noise level, or last above it; where levels do not fall, the one that is on."""
        if self._falls:
            return max(sum(level <= begins for begins in self.levels[: self.steps]) - 1, 0)
        last = min(self._next_step, self.steps - 1)
        ends = sorted(self.levels[max(last - 1, 0) : last + 1])
        return last - (ends[0] < level < ends[-1])  # a call between two levels belongs to the step that it is in
