"""Image prompts during sampling: wrappers on a MODEL that compose attention patches at call time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context
from torch import Tensor

from ....ip_adapter_core.attention.application import Application, ApplyOptions
from ....ip_adapter_core.attention.application import applications as applications_of
from ....ip_adapter_core.prompts.prompt import ImagePrompt
from .. import models
from . import compile, cond_sides, crops, lora
from .foreign_attention import Attentions
from .layer_patch import ROWS, Options, add_patches, remove_patches
from .run import Prepared, Run
from .steps import calls

KEY = "ip_adapter"
_FORWARD = ("x", "timesteps", "context", "y", "control", "transformer_options")  # of the host's UNet, in its order
_PATCHES = ("patches", "patches_replace")


def apply(model: ModelPatcher, prompt: ImagePrompt, use: ApplyOptions | None = None) -> ModelPatcher:
    """A clone of the model that follows the image prompt. Raises ValueError when they do not fit."""
    context = models.geometry(model).context
    models.check_family(model, prompt.identity)
    projected = prompt.with_text_projection(partial(models.project_as_text, model))
    more = applications_of(projected, models.layers(model), context, use)
    clone = install(model, more)
    if any(application.lora for application in more):
        on_model = [application.lora for application in (*applications(model), *more)]
        lora.settle(clone, [use for use in on_model if use])
    return clone


def install(model: ModelPatcher, more: tuple[Application, ...]) -> ModelPatcher:
    """A clone of the model with more image prompts; the given model is left as it is.

    They are registered in its model_options, which packs copy that call the model in a way of their own.
    """
    clone = model.clone()
    if more:
        prompts = ImagePrompts((*applications(model), *more))
        registered = clone.model_options["transformer_options"].setdefault("wrappers", {})
        for kind, wrapper in prompts.wrappers().items():
            registered.setdefault(kind, {})[KEY] = [wrapper]
    return clone


def applications(model: ModelPatcher) -> tuple[Application, ...]:
    """The image prompts a model already carries, in the order they were applied."""
    registered = model.model_options.get("transformer_options", {}).get("wrappers", {})
    found = registered.get(WrappersMP.APPLY_MODEL, {}).get(KEY, ())
    return next((wrapper.__self__.applications for wrapper in found), ())


class ImagePrompts:
    """The image prompts of one MODEL, and the runs that are open with it: what a run resolves lives in its `Run`."""

    def __init__(self, applications: tuple[Application, ...]) -> None:
        self.applications = applications
        self._open: list[Run] = []
        self._node: Any = None

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
        run = Run(self.applications, sampling, sigmas, noise.shape, calls(sampler))
        options = guider.model_options.setdefault("transformer_options", {})  # the guider's own copy for this run
        options[KEY] = run
        innermost = options["wrappers"][WrappersMP.APPLY_MODEL]  # other packs may patch each call in wrappers of theirs
        innermost[KEY] = innermost.pop(KEY)
        with self._opened(run):
            return executor(noise, latent, sampler, sigmas, *rest, **more)

    def sampler_sample(
        self, executor: Any, guider: Any, sigmas: Tensor, extra_args: Options, callback: Any, *rest: Any, **more: Any
    ) -> Tensor:
        """Let the sampler tell the run its steps."""
        run = self._run(extra_args["model_options"].get("transformer_options", {}))

        def told(step: int, *given: Any) -> None:
            if run is not None:
                run.clock.told(step)
            if callback is not None:
                callback(step, *given)

        return executor(guider, sigmas, extra_args, told, *rest, **more)

    def predict_noise(self, executor: Any, x: Tensor, timestep: Tensor, model_options: Options, *rest: Any) -> Tensor:
        """Tell the run how the guider names its conds, and what the picture is at this step."""
        run = self._run(model_options.get("transformer_options", {}))
        if run is not None:
            run.observe_step(executor.class_obj, x)
        return executor(x, timestep, model_options, *rest)

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: list[Any], x: Tensor, timestep: Tensor, model_options: Options
    ) -> Any:
        """Find the sides of lists of conds, which only have numbers in the batches that are made of them."""
        options = model_options.get("transformer_options", {})
        run = self._run(options)
        if run is not None:
            known = {**options, cond_sides.LISTS: cond_sides.of_lists(conds, run.named)}
            model_options = {**model_options, "transformer_options": known}
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
        prepared = run.prepared(batch, t, keep=is_compiled) if batch else {}
        if not (batch and prepared):
            return executor(x, t, c_concat, c_crossattn, control, options, **more)
        found = run.attentions(base)
        options = add_patches({**options, ROWS: batch.order.rows}, prepared, found)
        if is_compiled:
            executor = partial(compile.call_compiled, executor, structure=compile.structure(options, prepared))
        else:
            options = _patched_again(options, prepared, found)
        return executor(x, t, c_concat, c_crossattn, control, options, **more)

    def _run(self, options: Options) -> Run | None:
        """The run of a call; a pack that calls with options of its own means the one that is open."""
        found: Run | None = options.get(KEY)
        return found or next(reversed(self._open), None)

    def _lone_run(self, base: Any, x: Tensor, t: Tensor, options: Options) -> Run:
        """A run of a single call, where the model is called without a sampler."""
        pictures = len(x) // len(options.get("cond_or_uncond", [0]))
        sigmas = options.get("sample_sigmas", t)
        return Run(self.applications, base.model_sampling, sigmas, (pictures, *x.shape[1:]))

    @contextmanager
    def _opened(self, run: Run) -> Iterator[None]:
        node = get_executing_context()
        if run.masked and node is not None and node == self._node:
            crops.tell_of_runs()
        self._node = node
        self._open.append(run)
        try:
            yield
        finally:
            self._open.remove(run)


def _patched_again(options: Options, prepared: Prepared, found: Attentions) -> Options:
    """Options whose patches are composed anew in the innermost wrapper of the network, where other packs' wrappers have
    changed them."""
    known = options["patches"], options["patches_replace"]

    def wrapper(executor: Any, *given: Any, **more: Any) -> Tensor:
        x, t, context, y, control, seen = (*given, *(more.pop(name, None) for name in _FORWARD[len(given) :]))
        if any(mine is not theirs for mine, theirs in zip(known, map(seen.get, _PATCHES), strict=True)):
            seen = add_patches(remove_patches(seen), prepared, found)
        return executor(x, t, context, y, control, seen, **more)

    wrappers = options.get("wrappers", {})
    networks = wrappers.get(WrappersMP.DIFFUSION_MODEL, {})
    return {**options, "wrappers": {**wrappers, WrappersMP.DIFFUSION_MODEL: {**networks, KEY: [wrapper]}}}
