"""Image prompts on a MODEL: wrappers that put attention patches on every call of the model while it is sampled.

apply and install return a clone with the wrappers of ImagePrompts. outer_sample opens a Run; sampler_sample and
predict_noise tell it the step; apply_model asks it what each layer attends to, and calls the model with the patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context
from torch import Tensor

from ....ip_adapter_core.adapters.lora import AdapterLora
from ....ip_adapter_core.attention.application import Application, Applied, ApplyOptions, applications
from ....ip_adapter_core.prompts.prompt import ImagePrompt
from .. import models
from ..warn import warn_once
from . import compile, cond_sides, crops, hooks, lora
from .hooks import AddPatches, Hooks
from .layer_options import OVERRIDE, Options
from .layer_patch import ROWS
from .run import Run
from .steps import max_calls, true_levels

KEY = "ip_adapter"
_OPTIONS = "transformer_options"
_PATCHES = ("patches", "patches_replace", OVERRIDE)


def apply(model: ModelPatcher, prompt: ImagePrompt, use: ApplyOptions | None = None) -> ModelPatcher:
    """A clone of the model that follows the image prompt. Raises ValueError when they do not fit."""
    added = applications_on(model, prompt, use or ApplyOptions())
    clone = install(model, added)
    if any(application.lora for application in added):
        loras = [application.lora for application in (*installed_applications(model), *added)]
        lora.settle(clone, [use for use in loras if use])
    return clone


def applications_on(model: ModelPatcher, prompt: ImagePrompt, use: ApplyOptions) -> tuple[Application, ...]:
    """The applications of a prompt on a model, which stays as it is. Raises ValueError when they do not fit."""
    context = models.geometry(model, prompt.identity.geometry).context
    models.check_family(model, prompt.identity)
    layers = models.layers(model, prompt.identity.geometry)
    hooks.check(model, layers, use)
    projected = prompt.with_text_projection(partial(models.project_as_text, model))
    made, applied = applications(projected, layers, context, use), Applied(prompt, use)
    embed_time = models.embed_time if prompt.identity.variant.reads_time else None
    return tuple(replace(application, applied=applied, embed_time=embed_time) for application in made)


def apply_lora(model: ModelPatcher, adapter_lora: AdapterLora | None, strength: float) -> ModelPatcher:
    """A clone of the model with an adapter's LoRA alone; the model itself where there is nothing to add.

    Raises ValueError when they do not fit.
    """
    if adapter_lora is None or not strength:
        return model
    clone = model.clone()
    lora.settle(clone, [adapter_lora.use_on(models.layers(model), strength)])
    return clone


def install(model: ModelPatcher, added: tuple[Application, ...]) -> ModelPatcher:
    """A clone of the model with these image prompts after its own; the given model is left as it is."""
    return carry(model, (*installed_applications(model), *added)) if added else model.clone()


def carry(model: ModelPatcher, prompts: tuple[Application, ...]) -> ModelPatcher:
    """A clone of the model with these image prompts in the place of its own.

    They are registered in its model_options, which packs copy that call the model in a way of their own.
    """
    clone = model.clone()
    _load_beside(clone, prompts)
    registered = clone.model_options["transformer_options"].setdefault("wrappers", {})
    for kind, wrapper in ImagePrompts(prompts).wrappers().items():
        registered.setdefault(kind, {})[KEY] = [wrapper]
    return clone


def _load_beside(model: ModelPatcher, prompts: tuple[Application, ...]) -> None:
    """Have the host load, beside the model, the adapters that make K' and V' at each noise level."""
    patchers = [getattr(application.network, "patcher", None) for application in prompts]
    needed = list({id(patcher.model): patcher for patcher in patchers if patcher is not None}.values())
    if needed:
        model.set_additional_models(KEY, needed)
    else:
        model.remove_additional_models(KEY)


def installed_applications(model: ModelPatcher) -> tuple[Application, ...]:
    """The image prompts a model already carries, in the order they were applied."""
    registered = model.model_options.get("transformer_options", {}).get("wrappers", {})
    wrappers = registered.get(WrappersMP.APPLY_MODEL, {}).get(KEY, ())
    return next((wrapper.__self__.applications for wrapper in wrappers), ())


class ImagePrompts:
    """The image prompts of one MODEL, and its open runs: what belongs to one sampling lives in its `Run`."""

    def __init__(self, applications: tuple[Application, ...]) -> None:
        self.applications = applications
        self._open_runs: list[Run] = []
        self._last_node: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> ImagePrompts:
        """Itself: packs copy the options that it is registered in, and a run is open for all copies."""
        return self

    def wrappers(self) -> dict[str, Callable[..., Any]]:
        """What to register on the model, by kind of wrapper."""
        return {
            WrappersMP.OUTER_SAMPLE: self.outer_sample,
            WrappersMP.SAMPLER_SAMPLE: self.sampler_sample,
            WrappersMP.PREDICT_NOISE: self.predict_noise,
            WrappersMP.CALC_COND_BATCH: self.calc_cond_batch,
            WrappersMP.APPLY_MODEL: self.apply_model,
        }

    def outer_sample(
        self, executor: Any, noise: Tensor, latent: Tensor, sampler: Any, sigmas: Tensor, *rest: Any, **more: Any
    ) -> Tensor:
        """Open a run: start and end are resolved once, and prepared tensors live exactly as long as it."""
        guider = executor.class_obj
        for application in self.applications:
            if application.lora:
                lora.warn_of_copies(guider.model_patcher, application.lora)
        sampling = guider.model_patcher.get_model_object("model_sampling")
        levels = true_levels(sampler, sigmas, sampling)
        run = Run(self.applications, sampling, levels, noise.shape, max_calls(sampler))
        options = guider.model_options.setdefault("transformer_options", {})  # the guider's own copy for this run
        options[KEY] = run
        innermost = options["wrappers"][WrappersMP.APPLY_MODEL]  # other packs may patch each call in wrappers of theirs
        innermost[KEY] = innermost.pop(KEY)
        with self._keep_open(run):
            return executor(noise, latent, sampler, sigmas, *rest, **more)

    def sampler_sample(
        self, executor: Any, guider: Any, sigmas: Tensor, extra_args: Options, callback: Any, *rest: Any, **more: Any
    ) -> Tensor:
        """Call the sampler with a callback that also tells the run the step."""
        run = self._run(extra_args["model_options"].get("transformer_options", {}))

        def call_back(step: int, *args: Any) -> None:
            if run is not None:
                run.clock.sampler_called_back(step)
            if callback is not None:
                callback(step, *args)

        return executor(guider, sigmas, extra_args, call_back, *rest, **more)

    def predict_noise(self, executor: Any, x: Tensor, timestep: Tensor, model_options: Options, *rest: Any) -> Tensor:
        """Tell the run how the guider names its conds, and what the picture is at this step."""
        run = self._run(model_options.get("transformer_options", {}))
        if run is not None:
            run.observe_step(executor.class_obj, x)
        return executor(x, timestep, model_options, *rest)

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: list[Any], x: Tensor, timestep: Tensor, model_options: Options
    ) -> Any:
        """Note the side of each list of conds; in the batches that are made of them, lists only have numbers."""
        options = model_options.get("transformer_options", {})
        run = self._run(options)
        if run is not None:
            options = {**options, cond_sides.LISTS: cond_sides.of_lists(conds, run.conds)}
            model_options = {**model_options, "transformer_options": options}
        return executor(model, conds, x, timestep, model_options)

    def apply_model(
        self,
        executor: Any,
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: Options | None = None,
        **more: Any,
    ) -> Tensor:
        """Call the model with patches for the image prompts that act at this noise level."""
        base, options = executor.class_obj, transformer_options or {}
        is_compiled = compile.is_compiled(base, options)
        run = self._run(options) or self._lone_run(base, x, t, options)
        batch = run.batch(options, x, base.get_dtype_inference(), c_crossattn)
        images = run.prepare(batch._replace(base=base), t, keep_all=is_compiled) if batch else {}
        if not (batch and images):
            return executor(x, t, c_concat, c_crossattn, control, options, **more)
        row = hooks.of_layers(images)
        add_patches = row.prepare(run, base, batch, images)
        options = add_patches({**options, ROWS: batch.order.rows})
        if is_compiled:
            executor = partial(compile.call_compiled, executor, structure=compile.structure(options, images))
        else:
            options = _patch_again_inside(options, add_patches, row)
        with row.attached(base, images):
            return executor(x, t, c_concat, c_crossattn, control, options, **more)

    def _run(self, options: Options) -> Run | None:
        """The run of a call; where a pack calls with options of its own, it is the latest open one."""
        run: Run | None = options.get(KEY)
        return run or next(reversed(self._open_runs), None)

    def _lone_run(self, base: Any, x: Tensor, t: Tensor, options: Options) -> Run:
        """A run of a single call, where the model is called without a sampler."""
        pictures = len(x) // len(options.get("cond_or_uncond", [0]))
        sigmas = options.get("sample_sigmas", t)
        return Run(self.applications, base.model_sampling, sigmas, (pictures, *x.shape[1:]))

    @contextmanager
    def _keep_open(self, run: Run) -> Iterator[None]:
        node = get_executing_context()
        if run.masked and node is not None and node == self._last_node:
            warn_once(crops.REPEATED_RUNS)
        self._last_node = node
        self._open_runs.append(run)
        try:
            yield
        finally:
            self._open_runs.remove(run)


def _patch_again_inside(options: Options, add_patches: AddPatches, row: Hooks) -> Options:
    """Options with a wrapper, the innermost of the network, that composes the patches anew where other packs' wrappers
    have changed them."""
    ours = [options.get(name) for name in _PATCHES]

    def wrapper(executor: Any, *args: Any, **more: Any) -> Tensor:
        by_name = _OPTIONS in more
        *given, inner = (*args, more.pop(_OPTIONS)) if by_name else args
        if any(mine is not theirs for mine, theirs in zip(ours, map(inner.get, _PATCHES), strict=True)):
            inner = add_patches(row.remove(inner))
        return executor(*given, **more, **{_OPTIONS: inner}) if by_name else executor(*given, inner, **more)

    wrappers = options.get("wrappers", {})
    networks = wrappers.get(WrappersMP.DIFFUSION_MODEL, {})
    return {**options, "wrappers": {**wrappers, WrappersMP.DIFFUSION_MODEL: {**networks, KEY: [wrapper]}}}
