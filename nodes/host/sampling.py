"""Image prompts during sampling: wrappers on a MODEL that compose attention patches at call time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor, contiguous_format

from ...ip_adapter_core.application import Application
from ...ip_adapter_core.attention import image_attention, masked
from ...ip_adapter_core.masks import Grid
from ...ip_adapter_core.stacks import Image, Stack, add_stack_, mask_for
from . import compiled, lora
from .run import Prepared, Run
from .steps import step_of

KEY = "ip_adapter"
WATCH = "ip_adapter_watch"
"""Where transformer_options may hold one who sees q, the text's attention and the options of every patched layer."""
_PREPARED, _CORES = "ip_adapter_prepared", "ip_adapter_cores"

Options = dict[str, Any]
Attention = Callable[[Tensor, Tensor, Tensor, Options], Tensor]
Watcher = Callable[[Tensor, Tensor, Options], None]


def install(model: ModelPatcher, more: tuple[Application, ...]) -> ModelPatcher:
    """A clone of the model with more image prompts; the given model is left as it is."""
    clone = model.clone()
    if more:
        prompts = ImagePrompts((*applications(model), *more))
        for kind, wrapper in prompts.wrappers().items():
            clone.remove_wrappers_with_key(kind, KEY)
            clone.add_wrapper_with_key(kind, KEY, wrapper)
    return clone


def applications(model: ModelPatcher) -> tuple[Application, ...]:
    """The image prompts a model already carries, in the order they were applied."""
    return next((wrapper.__self__.applications for wrapper in model.get_wrappers(WrappersMP.APPLY_MODEL, KEY)), ())


class ImagePrompts:
    """The image prompts of one MODEL. Nothing in it changes: what a run resolves lives in its `Run`."""

    def __init__(self, applications: tuple[Application, ...]) -> None:
        self.applications = applications

    def wrappers(self) -> dict[str, Callable[..., Any]]:
        """What to register on the model, by kind of wrapper."""
        return {
            WrappersMP.OUTER_SAMPLE: self.outer_sample,
            WrappersMP.PREDICT_NOISE: self.predict_noise,
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
        options = guider.model_options.setdefault("transformer_options", {})  # the guider's own copy for this run
        options[KEY] = Run(self.applications, sampling, sigmas, noise.shape, step_of(sampler))
        return executor(noise, latent, sampler, sigmas, *rest, **more)

    def predict_noise(self, executor: Any, x: Tensor, timestep: Tensor, model_options: Options, *rest: Any) -> Tensor:
        """Tell the run which conds are negative, as batches name their rows by cond uuid, and what the picture is."""
        run = model_options.get("transformer_options", {}).get(KEY)
        if run is not None:
            run.learn(executor.class_obj.conds, x)
        return executor(x, timestep, model_options, *rest)

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
        is_compiled = compiled.is_compiled(base, options)
        run = options.get(KEY) or self._lone_run(base, x, t, options)
        prepared = run.prepared(run.batch(options, x, base.get_dtype_inference()), t, keep=is_compiled)
        if not prepared:
            return executor(x, t, c_concat, c_crossattn, control, options, **more)
        options = patched(options, prepared)
        if is_compiled:
            executor = partial(compiled.call, executor, structure=compiled.structure(options, prepared))
        return executor(x, t, c_concat, c_crossattn, control, options, **more)

    def _lone_run(self, base: Any, x: Tensor, t: Tensor, options: Options) -> Run:
        """A run of a single call, where the model is called without a sampler."""
        pictures = len(x) // len(options.get("cond_or_uncond", [0]))
        sigmas = options.get("sample_sigmas", t)
        return Run(self.applications, base.model_sampling, sigmas, (pictures, *x.shape[1:]))


def patched(options: Options, prepared: Prepared) -> Options:
    """Options whose patches add the prepared image attention to whatever each layer has already."""
    replace = options.get("patches_replace", {})
    there = replace.get("attn2", {})
    act = partial(_watched, options[WATCH]) if WATCH in options else _attend
    ours = {a: partial(act, there.get(a) or there.get(a[:2]) or _text_attention) for a in prepared}
    return {
        **options,
        "patches_replace": {**replace, "attn2": {**there, **ours}},
        _PREPARED: prepared,
        _CORES: _is_cores(options),
    }


def _attend(text: Attention, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Z = Attn(Q, K, V) + Σ λ·Attn(Q, K', V'), before the layer's output projection."""
    attended = text(q, k, v, options)
    own = text is _text_attention and options[_CORES] and not attended.requires_grad
    for image in options[_PREPARED][(*options["block"], options["block_index"])]:
        if isinstance(image, Stack):
            attended = add_stack_(_writeable(attended, own), q, image, options["n_heads"], _grid(options))
        else:
            more = added(q, image, options)
            attended = attended.add_(more) if own else attended + more
        own = True
    return attended


def _writeable(attended: Tensor, own: bool) -> Tensor:
    """A result that may be added to in place: another patch's is left as it is."""
    return attended.contiguous() if own else attended.clone(memory_format=contiguous_format)


def _grid(options: Options) -> Grid:
    return options["activations_shape"][-2], options["activations_shape"][-1]


def _is_cores(options: Options) -> bool:
    """Whether attention to the text is ComfyUI's own, which keeps no result; other packs exchange it in two ways."""
    usual = attention.optimized_attention.__module__ == attention.__name__
    return usual and "optimized_attention_override" not in options


def _watched(watch: Watcher, text: Attention, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """What `_attend` gives, while one sees it."""
    attended = text(q, k, v, options)
    watch(q, attended, options)
    return _attend(lambda *_: attended, q, k, v, options)


def added(q: Tensor, image: Image, options: Options) -> Tensor:
    """What one image prompt adds to a layer, where it acts: (batch, pixels, inner)."""
    found = image_attention(q, image.image, options["n_heads"], image.emphasis)
    mask = None if image.masks is None else mask_for(image, _grid(options))
    return found if mask is None else masked(found, mask)


def _text_attention(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    precision = options.get("attn_precision")
    # Looked up at each call: other packs exchange the function.
    return attention.optimized_attention(
        q, k, v, options["n_heads"], attn_precision=precision, transformer_options=options
    )
