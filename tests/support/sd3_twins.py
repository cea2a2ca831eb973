"""The same random SD3.5 twice, as `twins` has UNets: in diffusers and as a real ComfyUI model of three joint blocks."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fabricate import adapters
from twins import Call, Construction, Twins, call, random_reference, transformer_patcher

EMBED, PATCHES, TIME = 40, 6, 64
SD3 = Construction(
    {
        "in_channels": 4,
        "out_channels": 4,
        "patch_size": 2,
        "depth": 3,
        "input_size": None,
        "adm_in_channels": 16,
        "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 48, "out_features": 192}},
        "num_patches": 256,
        "pos_embed_max_size": 16,
        "pos_embed_scaling_factor": None,
        "qk_norm": "rms",
        "x_block_self_attn_layers": [],
    },
    {
        "sample_size": 16,
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 3,
        "attention_head_dim": 64,
        "num_attention_heads": 3,
        "joint_attention_dim": 48,
        "caption_projection_dim": 192,
        "pooled_projection_dim": 16,
        "pos_embed_max_size": 16,
        "qk_norm": "rms_norm",
    },
    3,
)


class SD3Twins(Twins):
    """SD3.5 in both libraries with the same weights, norms and biases included."""

    def __init__(self) -> None:
        self.construction = SD3
        self.reference = _reference()
        self.patcher = _patcher(self.reference)
        self.context = 192
        self.text = 48

    def attach(self, nested: adapters.Nested) -> None:
        """Give diffusers' model an adapter, whose blocks it counts from 0."""
        counted = adapters.counted(nested)
        self.reference._load_ip_adapter_weights(counted, low_cpu_mem_usage=False)

    def set_reference_weight(self, weight: float) -> None:
        for processor in self.reference.attn_processors.values():
            processor.scale = weight

    def call_reference(self, call: Call, images: Tensor | None = None) -> Tensor:
        """The noise that diffusers predicts; images are hidden states, (batch, patches, width)."""
        timesteps = call.sigma * 1000
        added = {} if images is None else {"ip_adapter_image_embeds": images}
        with torch.no_grad():
            found: Tensor = self.reference(
                call.x,
                encoder_hidden_states=call.text,
                pooled_projections=call.pooled,
                timestep=timesteps,
                joint_attention_kwargs=added,
            ).sample
        return found

    def _conds(self, call: Call) -> dict[str, Tensor]:
        return {"y": call.pooled}


def sd3_adapter(seed: int = 0, tokens: int = 4) -> adapters.Nested:
    """An adapter for the model of these tests; its values are large, as they share a softmax with the picture's."""
    sizes: dict[str, Any] = {"tokens": tokens, "width": TIME, "depth": 4, "waves": 32}
    nested = adapters.adapter("InstantX SD3.5", (192,) * 3, 192, EMBED, seed, head=64, **sizes)
    louder = {name: value * (3 if "to_v_ip" in name else 1) for name, value in nested["ip_adapter"].items()}
    return {**nested, "ip_adapter": louder}


def hidden(images: int = 1, seed: int = 5) -> Tensor:
    """What an encoder might say of the patches of pictures."""
    return torch.randn(images, PATCHES, EMBED, generator=torch.Generator().manual_seed(seed))


def sd3_call(batch: int = 2, height: int = 16, width: int = 16, sigma: float = 0.7) -> Call:
    """Random inputs at one noise level."""
    given = call(48, batch, height, width)
    return replace(given, x=given.x / given.x.std(), sigma=torch.full((batch,), sigma))


def _reference() -> Any:
    from diffusers import SD3Transformer2DModel

    return random_reference(SD3Transformer2DModel, **SD3.diffusers)


def _patcher(reference: Any) -> Any:
    from comfy import model_base, supported_models, utils

    config, names = supported_models.SD3(dict(SD3.comfy)), utils.mmdit_to_diffusers(SD3.comfy)
    return transformer_patcher(model_base.SD3, config, names, reference)
