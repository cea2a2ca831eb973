"""Image prompts during sampling: wrappers on a MODEL that compose attention patches at call time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context
from torch import Tensor, contiguous_format

from ...ip_adapter_core.application import Application
from ...ip_adapter_core.attention import image_attention, masked
from ...ip_adapter_core.masks import Grid
from ...ip_adapter_core.stacks import Image, Stack, add_stack_, mask_for
from . import compiled, lora, outside, places, sides
from .outside import Attentions
from .run import Prepared, Run
from .steps import offsets

KEY = "ip_adapter"
WATCH = "ip_adapter_watch"
"""Where transformer_options may hold one who sees q, the text's attention and the options of every patched layer."""
_PREPARED, _CORES, _ROWS = "ip_adapter_prepared", "ip_adapter_cores", "ip_adapter_rows"

Options = dict[str, Any]
Attention = Callable[[Tensor, Tensor, Tensor, Options], Tensor]
Watcher = Callable[[Tensor, Tensor, Options], None]


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
        run = Run(self.applications, sampling, sigmas, noise.shape, offsets(sampler))
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
            run.learn(executor.class_obj.conds, x)
        return executor(x, timestep, model_options, *rest)

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: list[Any], x: Tensor, timestep: Tensor, model_options: Options
    ) -> Any:
        """Find the sides of lists of conds, which only have numbers in the batches that are made of them."""
        options = model_options.get("transformer_options", {})
        run = self._run(options)
        if run is not None:
            known = {**options, sides.LISTS: sides.of_lists(conds, run.named)}
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
        is_compiled = compiled.is_compiled(base, options)
        run = self._run(options) or self._lone_run(base, x, t, options)
        batch = run.batch(options, x, base.get_dtype_inference())
        prepared = run.prepared(batch, t, keep=is_compiled)
        if not prepared:
            return executor(x, t, c_concat, c_crossattn, control, options, **more)
        options = patched({**options, _ROWS: batch.order.rows}, prepared, run.attentions(base))
        if is_compiled:
            executor = partial(compiled.call, executor, structure=compiled.structure(options, prepared))
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
            places.tell_of_runs()
        self._node = node
        self._open.append(run)
        try:
            yield
        finally:
            self._open.remove(run)


def patched(options: Options, prepared: Prepared, found: Attentions | None = None) -> Options:
    """Options whose patches add the prepared image attention to whatever each layer has already.

    found: the cross-attentions of the network, where other packs may have changed what happens inside them.
    """
    found = found or Attentions()
    replace, patches = options.get("patches_replace", {}), options.get("patches", {})
    there = replace.get("attn2", {})
    act = partial(_watched, options[WATCH]) if WATCH in options else _attend
    inside = [address for address in prepared if address not in found.exchanged]
    ours = {a: partial(act, there.get(a) or there.get(a[:2]) or _text_attention) for a in inside}
    if patches.get("attn2_patch") or found.exchanged & prepared.keys():
        patches = outside.around(patches, found, options[_ROWS], _add_alone)
    return {
        **options,
        "patches": patches,
        "patches_replace": {**replace, "attn2": {**there, **ours}},
        _PREPARED: prepared,
        _CORES: _is_cores(options),
    }


def _attend(text: Attention, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Z = Attn(Q, K, V) + Σ λ·Attn(Q, K', V'), before the layer's output projection."""
    attended = text(q, k, v, options)
    if not outside.follows(q, options.get(_ROWS), options):
        return attended
    return _add(attended, q, options, text is _text_attention and options[_CORES] and not attended.requires_grad)


def _add_alone(nothing: Tensor, q: Tensor, options: Options) -> Tensor:
    """Σ λ·Attn(Q, K', V'), into zeros."""
    return _add(nothing, q, options, own=True) if _address(options) in options[_PREPARED] else nothing


def _add(attended: Tensor, q: Tensor, options: Options, own: bool) -> Tensor:
    """What is attended to already with what images add; own: whether it may be added to in place."""
    for image in options[_PREPARED][_address(options)]:
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


def _address(options: Options) -> tuple[str, int, int]:
    return (*options["block"], options["block_index"])


def _grid(options: Options) -> Grid:
    return options["activations_shape"][-2], options["activations_shape"][-1]


def _is_cores(options: Options) -> bool:
    """Whether attention to the text is ComfyUI's own, which keeps no result; other packs exchange it in two ways."""
    usual = attention.optimized_attention.__module__ == attention.__name__
    return usual and "optimized_attention_override" not in options


def _watched(watch: Watcher, text: Attention, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """What `_attend` gives, while one sees it."""
    attended = text(q, k, v, options)
    if outside.follows(q, options.get(_ROWS), options):
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
