"""The same random UNet twice: in diffusers and as a real ComfyUI model, with an adapter attached on both sides."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

TOLERANCE = 1e-4  # of a predicted noise, which is of the order of 1
HEADS_OF_16 = {"num_head_channels": 16, "use_linear_in_transformer": True}
FOUR_LEVELS = {
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1,
}
FOUR_LEVELS_DIFFUSERS = {
    "block_out_channels": (32, 64, 128, 128),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}


@dataclass(frozen=True)
class Construction:
    """A UNet that both libraries can express, at a tenth of its published width."""

    comfy: Mapping[str, Any]
    diffusers: Mapping[str, Any]
    layers: int


CONSTRUCTIONS = {
    "SD1.5": Construction(
        {**FOUR_LEVELS, "context_dim": 48, "num_heads": 8, "use_linear_in_transformer": False},
        {**FOUR_LEVELS_DIFFUSERS, "cross_attention_dim": 48, "attention_head_dim": 8},
        16,
    ),
    "SD2": Construction(
        {**FOUR_LEVELS, **HEADS_OF_16, "context_dim": 64},
        {
            **FOUR_LEVELS_DIFFUSERS,
            "cross_attention_dim": 64,
            "attention_head_dim": (2, 4, 8, 8),
            "use_linear_projection": True,
        },
        16,
    ),
    "one level": Construction(
        {
            "context_dim": 48,
            "num_heads": 4,
            "use_linear_in_transformer": False,
            "channel_mult": [1],
            "num_res_blocks": [2],
            "transformer_depth": [1, 1],
            "transformer_depth_output": [1, 1, 1],
            "transformer_depth_middle": 1,
        },
        {
            "block_out_channels": (32,),
            "down_block_types": ("CrossAttnDownBlock2D",),
            "up_block_types": ("CrossAttnUpBlock2D",),
            "cross_attention_dim": 48,
            "attention_head_dim": 4,
        },
        6,
    ),
    "SDXL": Construction(
        {
            **HEADS_OF_16,
            "context_dim": 96,
            "channel_mult": [1, 2, 4],
            "num_res_blocks": [2, 2, 2],
            "transformer_depth": [0, 0, 2, 2, 10, 10],
            "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
            "transformer_depth_middle": 10,
            "num_classes": "sequential",
            "adm_in_channels": 64,
        },
        {
            "block_out_channels": (32, 64, 128),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 96,
            "attention_head_dim": (2, 4, 8),
            "use_linear_projection": True,
            "transformer_layers_per_block": [1, 2, 10],
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 64,
        },
        70,
    ),
}


class Twins:
    """One construction in both libraries with the same weights, norms and biases included."""

    def __init__(self, name: str) -> None:
        self.construction = CONSTRUCTIONS[name]
        self.reference = _reference(self.construction)
        self.patcher = _patcher(self.construction, self.reference)
        self.context = self.construction.comfy["context_dim"]

    def with_own_reference(self) -> "Twins":
        """The same ComfyUI model beside a copy of diffusers' one, for a test that changes its weights."""
        made = copy(self)
        made.reference = deepcopy(self.reference)
        return made

    def set_reference_weight(self, weight: float) -> None:
        """λ of the adapter that the reference carries."""
        for processor in self.reference.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [weight]

    def call_reference(self, call: "Call", images: Tensor | None = None) -> Tensor:
        """The noise that diffusers predicts; images are the adapter's embeds, (batch, images, embed)."""
        added: dict[str, Any] = {} if images is None else {"image_embeds": [images]}
        if "adm_in_channels" in self.construction.comfy:
            added |= {"text_embeds": call.pooled, "time_ids": call.times}
        sampling = self.patcher.model.model_sampling
        scaled = sampling.calculate_input(call.sigma, call.x)
        with torch.no_grad():
            return self.reference(scaled, sampling.timestep(call.sigma), call.text, added_cond_kwargs=added).sample

    def call_comfy(self, call: "Call", model: Any, **options: Any) -> Tensor:
        """The noise that ComfyUI predicts with a MODEL, through its whole apply_model."""
        from comfy.patcher_extension import merge_nested_dicts

        given = model.model_options["transformer_options"]
        transformer = {**merge_nested_dicts(given, {"wrappers": model.wrappers}), **options}
        more = self._conds(call)
        seen: list[Tensor] = []
        hook = model.model.diffusion_model.register_forward_hook(lambda module, given, found: seen.append(found))
        with hook, torch.no_grad(), _patched_weights(model):
            model.model.apply_model(call.x, call.sigma, c_crossattn=call.text, transformer_options=transformer, **more)
        return seen[0]

    def _conds(self, call: "Call") -> dict[str, Tensor]:
        return {"y": self._vector(call)} if "adm_in_channels" in self.construction.comfy else {}

    def _vector(self, call: "Call") -> Tensor:
        times = self.reference.add_time_proj(call.times.flatten()).reshape(len(call.times), -1)
        return torch.cat([call.pooled, times], dim=1)


@dataclass(frozen=True)
class Call:
    """The inputs of one model call."""

    x: Tensor
    sigma: Tensor
    text: Tensor
    pooled: Tensor
    times: Tensor


def call(context: int, batch: int = 2, height: int = 16, width: int = 16, seed: int = 0) -> Call:
    """Random inputs; every row has a noise level of its own."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    sigma = torch.linspace(1.5, 4.0, batch)
    x = draw(batch, 4, height, width) * (sigma**2 + 1).sqrt()[:, None, None, None]
    return Call(x, sigma, draw(batch, 7, context), draw(batch, 16), draw(batch, 6).abs() * 64)


def error(a: Tensor, b: Tensor) -> float:
    """Largest difference of two predictions."""
    return (a - b).abs().max().item()


@contextmanager
def _patched_weights(model: Any) -> Iterator[None]:
    """A MODEL with the LoRAs it carries, as when it is loaded for sampling."""
    if not model.patches:
        yield
        return
    model.patch_model(device_to=model.load_device)
    try:
        yield
    finally:
        model.unpatch_model(device_to=model.offload_device)


def random_reference(kind: Callable[..., Any], **options: Any) -> Any:
    """A random model of diffusers, the same each time, in which no norm and no bias is neutral."""
    torch.manual_seed(1)
    model = kind(**options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def transformer_patcher(kind: Callable[..., Any], config: Any, names: Mapping[str, Any], reference: Any) -> Any:
    """The MODEL of a transformer with the weights of diffusers' model.

    kind: of the host's model; config: of the host's supported models; names: the host's, of diffusers' tensors.
    """
    from comfy import latent_formats, ops

    config.unet_config["dtype"] = torch.float32
    config.latent_format = latent_formats.SD15()  # of four channels, as in the other models of these tests
    config.custom_operations = ops.disable_weight_init
    model = kind(config, device="cpu")
    model.encode_adm = lambda **given: given.get("pooled_output")  # as Flux has it from 0.24 on
    values = reference.state_dict()
    weights = {name: torch.full_like(part, torch.nan) for name, part in model.diffusion_model.state_dict().items()}
    for theirs, ours in names.items():
        if theirs in values:
            name, part, change = (ours, None, None) if isinstance(ours, str) else (*ours, None, None)[:3]
            target = weights[name] if part is None else weights[name].narrow(*part)
            target.copy_(change(values[theirs]) if change else values[theirs])
    assert not any(part.isnan().any() for part in weights.values())
    model.diffusion_model.load_state_dict(weights, strict=True)
    return patcher_of(model)


def patcher_of(model: Any) -> Any:
    """A MODEL of a model of the host, on the processor."""
    import comfy.model_patcher

    device = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


def _reference(construction: Construction) -> Any:
    from diffusers import UNet2DConditionModel

    sizes = {"sample_size": 16, "layers_per_block": 2, "norm_num_groups": 32}
    return random_reference(UNet2DConditionModel, **sizes, **construction.diffusers)


def _patcher(construction: Construction, reference: Any) -> Any:
    from comfy import latent_formats, model_base, ops, supported_models_base, utils

    class Config(supported_models_base.BASE):
        unet_extra_config: ClassVar[dict[str, Any]] = {}  # the base class would overwrite the heads

    config = Config(dict(_unet_config(construction)))
    config.latent_format = latent_formats.SD15()
    config.custom_operations = ops.disable_weight_init
    model = model_base.BaseModel(config, model_type=model_base.ModelType.EPS, device="cpu")
    names = utils.unet_to_diffusers(config.unet_config)
    values = reference.state_dict()
    weights = {ours: values[theirs] for theirs, ours in names.items() if theirs in values}
    model.diffusion_model.load_state_dict(weights, strict=True)
    return patcher_of(model)


def _unet_config(construction: Construction) -> dict[str, Any]:
    common = {
        "image_size": 16,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 32,
        "use_spatial_transformer": True,
        "legacy": False,
        "num_heads": -1,
        "num_head_channels": -1,
        "dtype": torch.float32,
    }
    return {**common, **construction.comfy}
