"""The same random Flux twice, as `twins` has UNets: in diffusers and as a real ComfyUI model of three double blocks."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from twins import Call, Construction, Twins, random_reference, transformer_patcher

GUIDANCE = 3.5
FLUX = Construction(
    {
        "image_model": "flux",
        "in_channels": 4,
        "out_channels": 4,
        "patch_size": 2,
        "vec_in_dim": 16,
        "context_in_dim": 48,
        "hidden_size": 64,
        "mlp_ratio": 4.0,
        "num_heads": 4,
        "depth": 3,
        "depth_single_blocks": 2,
        "axes_dim": [4, 6, 6],
        "theta": 10000,
        "qkv_bias": True,
        "guidance_embed": True,
        "txt_ids_dims": [],
    },
    {
        "patch_size": 1,
        "in_channels": 16,
        "num_layers": 3,
        "num_single_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 4,
        "joint_attention_dim": 48,
        "pooled_projection_dim": 16,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 6, 6),
    },
    3,
)
WIDE = Construction(
    {**FLUX.comfy, "hidden_size": 256, "num_heads": 2, "depth": 2, "depth_single_blocks": 3, "axes_dim": [16, 56, 56]},
    {
        **FLUX.diffusers,
        **{"num_layers": 2, "num_single_layers": 3, "attention_head_dim": 128, "num_attention_heads": 2},
        "axes_dims_rope": (16, 56, 56),
    },
    5,
)
"""With heads as wide as the published ones."""


class FluxTwins(Twins):
    """Flux in both libraries with the same weights, norms and biases included."""

    def __init__(self, construction: Construction = FLUX) -> None:
        self.construction = construction
        self.reference = _reference(construction)
        self.patcher = _patcher(self.reference, construction)
        self.context = 48

    def attach(self, nested: dict[str, dict[str, Tensor]]) -> None:
        """Give diffusers' model an adapter, whose blocks it counts from 0."""
        layers = {}
        for name, value in nested["ip_adapter"].items():
            number, rest = name.split(".", 1)
            layers[f"{int(number) // 2}.{rest}"] = value
        self.reference._load_ip_adapter_weights([{**nested, "ip_adapter": layers}], low_cpu_mem_usage=False)

    def call_reference(self, call: Call, images: Tensor | None = None) -> Tensor:
        height, width = call.x.shape[-2] // 2, call.x.shape[-1] // 2
        places = torch.cartesian_prod(torch.zeros(1), torch.arange(height) + 0.0, torch.arange(width) + 0.0)
        packed = rearrange(call.x, "b c (h i) (w j) -> b (h w) (c i j)", i=2, j=2)
        added = {} if images is None else {"ip_adapter_image_embeds": [images]}
        with torch.no_grad():
            found = self.reference(
                packed,
                encoder_hidden_states=call.text,
                pooled_projections=call.pooled,
                timestep=call.sigma,
                img_ids=places,
                txt_ids=torch.zeros(call.text.shape[1], 3),
                guidance=torch.full((len(call.x),), GUIDANCE),
                joint_attention_kwargs=added,
            ).sample
        return rearrange(found, "b (h w) (c i j) -> b c (h i) (w j)", h=height, i=2, j=2)

    def _conds(self, call: Call) -> dict[str, Tensor]:
        return {"y": call.pooled, "guidance": torch.full((len(call.x),), GUIDANCE)}


def weakened(model: Any, number: int, kind: str = "double_block") -> Any:
    """Another pack's patch: this block changes the picture half as much."""

    def patch(args: Any, extra: Any) -> Any:
        before = args["img"].clone()
        out = extra["original_block"](args)
        return {**out, "img": before + 0.5 * (out["img"] - before)}

    clone = model.clone()
    clone.set_model_patch_replace(patch, "dit", kind, number)
    return clone


def _reference(construction: Construction) -> Any:
    from diffusers import FluxTransformer2DModel

    return random_reference(FluxTransformer2DModel, **construction.diffusers)


def _patcher(reference: Any, construction: Construction) -> Any:
    from comfy import model_base, supported_models, utils

    config, names = supported_models.Flux(dict(construction.comfy)), utils.flux_to_diffusers(construction.comfy)
    return transformer_patcher(model_base.Flux, config, names, reference)
