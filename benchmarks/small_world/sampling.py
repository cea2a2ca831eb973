"""Pictures of the small world from texts, references and outlines, by the host's samplers and this package's nodes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.sample
import comfy.sd
import comfy.utils
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...ip_adapter_core.adapters import loading as core
from ...ip_adapter_core.adapters.adapter import Adapter
from ...ip_adapter_core.attention.application import ApplyOptions
from ...ip_adapter_core.attention.balance import OFF
from ...ip_adapter_core.layers.layout import Geometry, geometry
from ...ip_adapter_core.prompts.features import Features
from ...ip_adapter_core.prompts.prompt import ImagePrompt, PromptPart
from ...ip_adapter_core.settings.layer_weights import LINEAR, LayerWeights
from ...ip_adapter_core.small_world.world import SIDE
from ...nodes.host.sampling.model_patch import apply
from . import adapters, autoencoder, base, controlnet, host, style
from .shelf import read

STEPS, GUIDANCE = 20, 4.0
_AT_ONCE = 16  # pictures that are decoded together


@dataclass(frozen=True)
class Wish:
    """What pictures are asked for: a text and a reference each, how strongly, and what else takes part.

    kind: of the adapter, one of adapters.READS; outlines (n, 3, 256, 256); tuned: on the base of the other style;
    layers: which follow the reference; more: further references, applied at the same weight; masks (1 + len(more), 1 or
    n, h, w): where each acts, everywhere without; balance: how all are held against the text.
    """

    texts: list[str]
    references: Features | None = None
    kind: str = "base"
    weight: float = 1.0
    outlines: Tensor | None = None
    tuned: bool = False
    layers: LayerWeights = LINEAR
    more: tuple[Features, ...] = ()
    masks: Tensor | None = None
    balance: str = OFF


def sampled(wish: Wish, seed: int = 1) -> Tensor:
    """The pictures, (n, 3, 256, 256), 0 to 1, from the same noise for the same seed."""
    model, positive, negative = _prompted(wish)
    if wish.outlines is not None:
        positive, negative = (_controlled(cond, wish.outlines) for cond in (positive, negative))
    return drawn(model, positive, negative, seed)


@torch.no_grad()
def drawn(model: Any, positive: list[Any], negative: list[Any], seed: int, file: Path = base.FILE) -> Tensor:
    """What a MODEL makes of two conds, decoded by the autoencoder of a checkpoint."""
    empty = torch.zeros(len(positive[0][0]), 3, SIDE, SIDE)
    noise = comfy.sample.prepare_noise(empty, seed)
    latents = comfy.sample.sample(
        model, noise, STEPS, GUIDANCE, "ddim", "normal", positive, negative, empty, seed=seed, disable_pbar=True
    )
    decoder = autoencoder.trained(file)
    return torch.cat([decoder.decode(part.float()).clamp(0, 1) for part in latents.split(_AT_ONCE)])


def _prompted(wish: Wish) -> tuple[Any, list[Any], list[Any]]:
    """MODEL and the two conds."""
    model = _tuned() if wish.tuned else host.checkpoint().model
    text, empty = host.contexts(wish.texts), host.contexts([""]).expand(len(wish.texts), -1, -1)
    if wish.references is None:
        return model, [[text, {}]], [[empty, {}]]
    if wish.kind == "simple":
        cond, uncond = _tokens(_simple(), wish)
        return model, [[torch.cat([text, cond], dim=1), {}]], [[torch.cat([empty, uncond], dim=1), {}]]
    use = ApplyOptions(wish.weight, layer_weights=wish.layers, balance=wish.balance)
    references = (wish.references, *wish.more)
    masks = [None] * len(references) if wish.masks is None else wish.masks
    for one, mask in zip(references, masks, strict=True):
        model = apply(model, prompt(replace(wish, references=one)), replace(use, mask=mask))
    return model, [[text, {}]], [[empty, {}]]


def prompt(wish: Wish) -> ImagePrompt:
    """An image prompt for each picture."""
    network = loaded(wish.kind)
    return joined(network, *_tokens(network.image_proj, wish))


def joined(network: Adapter, cond: Tensor, uncond: Tensor) -> ImagePrompt:
    """The image prompt of tokens (n, tokens, context), a pair for each picture."""
    tokens = torch.cat([cond, uncond])
    order = torch.arange(len(tokens)).reshape(2, -1)
    return ImagePrompt(network.identity(), (PromptPart(tokens, network.keys_values(tokens), order),))


def _tokens(projection: nn.Module, wish: Wish) -> tuple[Tensor, Tensor]:
    """The tokens of the references and of a missing image, (n, tokens, context) each."""
    field = adapters.READS[wish.kind]
    references = wish.references or Features()
    kept = [references.kept] if field == "hidden" and references.kept is not None else []
    with torch.no_grad():
        cond = projection(getattr(references, field), *kept)
        uncond = projection(getattr(host.blank(), field))
    return cond, uncond.expand_as(cond)


def loaded(kind: str) -> Adapter:
    """A shipped adapter, in fp32."""
    return core.load(adapters.file(kind)).float()


def shape() -> Geometry:
    """The model's, which adapters match."""
    return geometry(host.checkpoint().model.model.model_config.unet_config)


def _simple() -> nn.Module:
    weights = read(adapters.file("simple"))
    projection = adapters.simple(shape(), weights["proj.weight"].shape[1])
    projection.load_state_dict(weights)
    return projection.eval()


def _tuned() -> Any:
    return comfy.sd.load_lora_for_models(host.checkpoint().model, None, load_file(style.FILE), 1.0, 0.0)[0]


def _controlled(cond: list[Any], outlines: Tensor) -> list[Any]:
    """What ControlNetApplyAdvanced does."""
    control = comfy.controlnet.load_controlnet(str(controlnet.FILE)).set_cond_hint(outlines, 1.0, (0.0, 1.0))
    return [[context, {**more, "control": control, "control_apply_to_uncond": False}] for context, more in cond]


def floor(wish: Wish) -> Wish:
    """The same number of pictures, asked for nothing."""
    return replace(wish, texts=[""] * len(wish.texts), references=None, outlines=None)
