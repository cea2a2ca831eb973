"""A ComfyUI MODEL as the frozen model that an image prompt's network is trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import comfy.model_management as memory
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import CONST, EPS, V_PREDICTION
from comfy.patcher_extension import merge_nested_dicts
from comfy.samplers import encode_model_conds
from torch import Tensor

from ....ip_adapter_core.adapters.keys_values import KeysValues
from ....ip_adapter_core.attention.grouped import ImageKV
from ....ip_adapter_core.prompts.prompt import COND
from ....ip_adapter_core.training.pictures import NUMBERS
from .. import models
from ..sampling import compile
from ..sampling.foreign_attention import attention
from ..sampling.layer_options import Options
from ..sampling.layer_patch import add_patches
from ..sampling.model_patch import installed_applications
from ..sampling.prepared_layers import ImagesByLayer
from .frozen import checkpointed, frozen, in_training

# The names in `objective.OBJECTIVES` of the host's ways of predicting.
PREDICTIONS: dict[type, str] = {EPS: "eps", V_PREDICTION: "v", CONST: "flow"}

# Names of text rows -> their names in the host's conds.
_TENSORS = {"context": "cross_attn", "pooled": "pooled_output"}


class HostBase:
    """A MODEL to train on, with its patches, LoRAs and noise schedule. Train between entering and leaving it.

    Entering loads the model and leaves inference mode, in which nodes run and no gradients exist; so make the network
    inside too. Leaving puts everything back.

    checkpointing: whether blocks are computed twice instead of keeping what they computed.

    Raises ValueError for models without cross-attention blocks, models that predict in an unknown way, compiled
    models, and models that follow an image prompt already.
    """

    def __init__(self, model: ModelPatcher, checkpointing: bool = False) -> None:
        _check(model)
        self.prediction = prediction(model)
        self.device: torch.device = model.load_device
        self.dtype: torch.dtype = model.model.get_dtype_inference()
        self._layers = models.cross_attentions(model)
        self._wanted, self._checkpointing = model, checkpointing
        self._open = ExitStack()

    def __enter__(self) -> HostBase:
        self._patcher = _load(self._wanted)
        self._model = self._patcher.model
        network = self._model.diffusion_model
        with ExitStack() as opening:
            opening.enter_context(torch.inference_mode(False))
            opening.enter_context(torch.enable_grad())
            opening.enter_context(frozen(self._model))
            opening.enter_context(in_training())
            if self._checkpointing:
                opening.enter_context(checkpointed(network))
            self._open = opening.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._open.close()

    def sigmas(self, shares: Tensor) -> Tensor:
        """The noise levels of whole timesteps, each as likely as any other."""
        levels = self._model.model_sampling.sigmas.to(shares.device)
        return levels[(shares * len(levels)).long()]

    def noised(self, latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
        """Latents at noise levels, as the model's schedule mixes them."""
        return self._model.model_sampling.noise_scaling(sigmas, noise, latents)

    def denoised(
        self, noisy: Tensor, sigmas: Tensor, text: Mapping[str, Tensor], image: Sequence[KeysValues]
    ) -> Tensor:
        """The model's estimate of the clean latents; K' and V' of every layer have a row per picture.

        text: context (rows, tokens, width); for SDXL also pooled (rows, width) and, where the pictures' sizes are not
        their latents', the NUMBERS (rows) of the pictures, on the CPU.
        """
        pairs = zip(self._layers, image, strict=True)
        images: ImagesByLayer = {layer.address: (ImageKV(pair),) for layer, pair in pairs}
        options = add_patches(self._options(sigmas), images)
        return self._model.apply_model(noisy, sigmas, transformer_options=options, **self._conds(noisy, text))

    def _options(self, sigmas: Tensor) -> Options:
        """What the host's samplers would hand to this MODEL's patches, with an attention that has gradients."""
        of_model = self._patcher.model_options.get("transformer_options", {})
        options = merge_nested_dicts(of_model, {"wrappers": self._patcher.wrappers})
        return {
            **options,
            "cond_or_uncond": [COND],
            "sigmas": sigmas,
            "optimized_attention_override": _differentiable,
        }

    def _conds(self, noisy: Tensor, text: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the host makes of the text, a row per picture."""
        if self._model.adm_channels and "pooled" not in text:
            raise ValueError("Give the examples `pooled` rows; this model reads a pooled text too.")
        rows = [_cond(text, row) for row in range(len(noisy))]
        first = noisy[:1].detach()
        conds = encode_model_conds(self._model.extra_conds, rows, first, self.device, "positive", latent_image=first)
        return {name: torch.cat([row["model_conds"][name].cond for row in conds]) for name in conds[0]["model_conds"]}


def prediction(model: ModelPatcher) -> str:
    """What the model predicts, a row of `objective.OBJECTIVES`. Raises ValueError when training has no loss for it."""
    classes = type(model.get_model_object("model_sampling")).__mro__
    defining = next(cls for cls in classes if "calculate_denoised" in vars(cls))
    if defining not in PREDICTIONS:
        kinds = ", ".join(cls.__name__ for cls in PREDICTIONS)
        raise ValueError(
            f"Connect a model that predicts by {kinds}, which training knows; this one predicts by {defining.__name__}."
        )
    return PREDICTIONS[defining]


def latents(model: ModelPatcher, encoded: Tensor) -> Tensor:
    """Latents of a VAE (a LATENT's samples), scaled as the model sees them; examples must hold these."""
    return model.model.process_latent_in(encoded)


def attention_weights(model: ModelPatcher) -> list[tuple[Tensor, Tensor]]:
    """to_k and to_v (inner, context) of every cross-attention in adapter order, LoRAs included: fp32 copies on the CPU.

    Raises ValueError for models without cross-attention blocks.
    """
    layers = models.cross_attentions(model)
    resident = _load(model)  # stays loaded while its weights are read
    attentions = [attention(resident.model.diffusion_model, layer) for layer in layers]
    with torch.inference_mode(False):
        return [(_copy(attention.to_k.weight), _copy(attention.to_v.weight)) for attention in attentions]


def _copy(weight: Tensor) -> Tensor:
    return torch.empty(weight.shape).copy_(weight.detach())


def _check(model: ModelPatcher) -> None:
    if compile.is_compiled(model.model, {"wrappers": model.wrappers}):
        raise ValueError("Connect the model as it is before the compile node; this one is compiled.")
    if installed_applications(model):
        raise ValueError("Connect the model without an image prompt; this one follows one already.")


def _load(model: ModelPatcher) -> ModelPatcher:
    """The model wholly on its device; gradients need weights that stay where they are until the backward pass.

    Raises ValueError for a model that moves its weights while it computes and cannot be had in another way.
    """
    dynamic = getattr(model, "is_dynamic", bool)()
    if dynamic and model.cached_patcher_init is None:
        raise ValueError(
            "Load the model with one of ComfyUI's own loaders, or start ComfyUI with --disable-dynamic-vram: the node "
            "that made this model cannot make it without dynamic VRAM, and training needs weights that stay in place."
        )
    resident = model.clone(disable_dynamic=True) if dynamic else model
    memory.load_models_gpu([resident], force_full_load=True)
    return resident


def _cond(text: Mapping[str, Tensor], row: int) -> Options:
    """One picture's text as the host's conds hold it."""
    tensors = {theirs: text[ours][row : row + 1] for ours, theirs in _TENSORS.items() if ours in text}
    return {**tensors, **{name: _number(text[name][row]) for name in NUMBERS if name in text}, "model_conds": {}}


def _number(value: Tensor) -> float:
    return value.item()


def _differentiable(attention: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """PyTorch's attention in place of the host's choice, which may have no backward pass."""
    return attention_pytorch(*args, **kwargs)
