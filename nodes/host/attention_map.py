"""Attention maps of a finished picture: it is given noise of each level, and one call of the model captures them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import comfy.model_management as memory
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...ip_adapter_core.attention.attention_map import MapAccumulator, pick_images
from . import models
from .sampling import compile
from .sampling.attention_hook import CapturingRun, MapRequest
from .sampling.layer_options import Address, Options
from .sampling.layer_patch import ATTENTION_HOOK
from .sampling.model_patch import KEY, installed_applications

# Guidance, which has no part in the maps and may call the model for its own ends; and what spreads calls over devices.
_LEFT_OUT = (
    "sampler_calc_cond_batch_function",
    "sampler_pre_cfg_function",
    "sampler_cfg_function",
    "sampler_post_cfg_function",
    "multigpu_clones",
)


@dataclass(frozen=True, eq=False)
class AddedNoise:
    """The noise that is added to a picture before the model is called on it.

    steps: fractions of the noise schedule, 0 is all noise, 1 none; the model is called once for each.
    seed: the seed of the noise.
    sigmas: the noise levels of the sampling, for prompts that count its steps; None where they are not known.
    """

    steps: tuple[float, ...]
    seed: int = 0
    sigmas: Tensor | None = None

    def levels(self, model: ModelPatcher) -> list[float]:
        """The noise level of each step on this model."""
        sampling = model.get_model_object("model_sampling")
        least, most = float(sampling.sigma_min), float(sampling.sigma_max)
        return [min(max(float(sampling.percent_to_sigma(step)), least), most) for step in self.steps]

    def schedule(self, levels: Sequence[float]) -> Tensor:
        """The noise levels of a whole sampling, as far as they are known."""
        return torch.tensor([*levels, 0.0]) if self.sigmas is None else self.sigmas


class Sampled(NamedTuple):
    """A sampled picture.

    positive: the conditioning it was sampled with.
    latent: the latent as the sampler gives it.
    images: what was decoded from the latent, (images, height, width, channels).
    """

    positive: Any
    latent: Mapping[str, Any]
    images: Tensor


class Looked(NamedTuple):
    """What was seen.

    maps: over the grid of the latent, by their names: `reference 1` and so on.
    shares: what all references add as a share of the text, by layer.
    """

    maps: dict[str, MapAccumulator]
    shares: dict[Address, float]


def look(model: ModelPatcher, sampled: Sampled, noise: AddedNoise, request: MapRequest) -> Looked:
    """Attention maps of one picture, and how references and text share the say in each layer.

    Raises ValueError, before the model is called, when it is no UNet, carries no image prompts or none that acts at
    these steps and in these layers, and when latent, images and model do not belong together.
    """
    models.cross_attentions(model)  # raises for a model that has none
    samples = sampled.latent["samples"]
    _check_latent(model, samples, request.frame)
    pick_images(sampled.images, samples.shape, request.frame)
    _check_prompts(model, noise)
    levels = noise.levels(model)
    run = CapturingRun(model, request, noise.schedule(levels), samples.shape)
    _check_request(run, noise, levels)
    _sample(model, sampled, noise.seed, _CapturingSampler(levels, run))
    return Looked(_captured_maps(run), run.shares())


def _sample(model: ModelPatcher, sampled: Sampled, seed: int, sampler: _CapturingSampler) -> None:
    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds({"positive": sampled.positive})
    guider.set_cfg(1.0)
    samples, mask = sampled.latent["samples"], sampled.latent.get("noise_mask")
    noise = comfy.sample.prepare_noise(samples, seed, sampled.latent.get("batch_index"))
    guider.sample(noise, samples, sampler, sampler.run.sigmas, mask, disable_pbar=True, seed=seed)


class _CapturingSampler(comfy.samplers.Sampler):
    """Calls the model on a finished picture with noise up to each level, where other samplers make a picture."""

    def __init__(self, levels: Sequence[float], run: CapturingRun) -> None:
        self._levels, self.run = levels, run

    @torch.no_grad()
    def sample(
        self,
        guider: Any,
        sigmas: Tensor,
        extra_args: Options,
        callback: Any,
        noise: Tensor,
        latent_image: Tensor,
        *rest: Any,
    ) -> Tensor:
        """The picture, unchanged."""
        base, options = guider.inner_model, self._with_hook(extra_args["model_options"])
        bar = comfy.utils.ProgressBar(len(self._levels))
        with _uncompiled(base, options["transformer_options"]):
            for level in self._levels:
                memory.throw_exception_if_processing_interrupted()
                sigma = sigmas.new_tensor(level)
                x = base.model_sampling.noise_scaling(sigma, noise, latent_image)
                guider(x, sigma.expand(len(x)), model_options=options, seed=extra_args["seed"])
                bar.update(1)
        return latent_image

    def _with_hook(self, model_options: Options) -> Options:
        rest = {name: value for name, value in model_options.items() if name not in _LEFT_OUT}
        transformer_options = {**model_options["transformer_options"], KEY: self.run, ATTENTION_HOOK: self.run}
        return {**rest, "transformer_options": transformer_options}


def _uncompiled(base: Any, options: Options) -> AbstractContextManager[Any]:
    """Runs a compiled network as it is: for the hook it would be compiled anew, for a few calls."""
    return torch.compiler.set_stance("force_eager") if compile.is_compiled(base, options) else nullcontext()


def _check_latent(model: ModelPatcher, samples: Tensor, frame: int) -> None:
    channels = model.get_model_object("latent_format").latent_channels
    if samples.ndim != 4 or samples.shape[1] != channels:
        shape = "x".join(map(str, samples.shape))
        raise ValueError(
            f"Connect the latent that was sampled with this model; this one is {shape}, and the model "
            f"makes (pictures)x{channels}x(height)x(width)."
        )
    if not samples.any():
        raise ValueError("Connect the latent that the sampler gives, not the one it takes; this one is empty.")
    if not 0 <= frame < len(samples):
        raise ValueError(
            f"Set frame to less than {len(samples)}, which is how many the latent holds, counted from 0; found {frame}."
        )


def _check_prompts(model: ModelPatcher, noise: AddedNoise) -> None:
    prompts = installed_applications(model)
    if not prompts:
        raise ValueError("Connect the model after Apply Image Prompt; this one carries no image prompt.")
    counted = any(prompt.span.unit == "steps" or prompt.schedule.over("steps") for prompt in prompts)
    if counted and noise.sigmas is None:
        raise ValueError(
            "Connect sigmas from Basic Scheduler, set as your sampler is, or count in percent; an "
            "image prompt of this model counts steps (its start and end, or its schedule), and "
            "nothing tells which noise the steps of your sampling have."
        )


def _check_request(run: CapturingRun, noise: AddedNoise, levels: Sequence[float]) -> None:
    if not run.maps():
        raise ValueError(
            "Show influence, or encode several images together, combined by concat; there are no "
            "shares to show, as under each softmax stands one reference alone."
        )
    if not any(map(run.captures_at, levels)):
        steps = ", ".join(f"{step:g}" for step in noise.steps)
        raise ValueError(
            f"Choose other steps or layers; no image prompt acts at these steps ({steps}) in these layers."
        )


def _captured_maps(run: CapturingRun) -> dict[str, MapAccumulator]:
    """The maps of a run. Raises ValueError when they are empty: conds may act at some steps only."""
    maps = run.maps()
    if not any(one.seen for one in maps.values()):
        raise ValueError("Choose other steps; the positive conditioning does not act at these.")
    return maps
