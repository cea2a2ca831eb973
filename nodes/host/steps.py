"""Which step of a sampling a model call belongs to, told by counting: reading the noise level would make the host wait
for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

StepOf = Callable[[int], int]
"""From the number of a call of the guider, from 0, to the step that began at its noise level or last above it."""


def _one(call: int) -> int:
    """One call in each step."""
    return call


def _two(call: int) -> int:
    """Two calls in each step, the second between two noise levels."""
    return call // 2


def _two_ahead(call: int) -> int:
    """Two calls in each step, the second at the noise level of the next."""
    return (call + 1) // 2


# Functions of comfy.k_diffusion.sampling, by name. Those that choose their own noise levels, make more calls, or leave
# some out are not here.
_STEPS: dict[str, StepOf] = {
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
        _one,
    ),
    "sample_dpm_2": _two,
    "sample_heun": _two_ahead,
}
_MODULE = "comfy.k_diffusion.sampling"


def step_of(sampler: Any) -> StepOf | None:
    """How to tell the steps of a sampler; None where only the noise level tells them."""
    function = getattr(sampler, "sampler_function", None)
    if getattr(function, "__module__", None) != _MODULE or getattr(sampler, "extra_options", None):
        return None
    return _STEPS.get(getattr(function, "__name__", ""))
