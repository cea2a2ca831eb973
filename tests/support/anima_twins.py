"""A random Anima of three blocks: as a real ComfyUI model, and as a copy of its network that takes other attention.

No other library has Anima. The formula of the adapter is written here, from the layout of its files, and stands in the
place of the forward of each cross-attention of the copy, where nothing of this package reaches.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from types import MethodType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear

from comfyui_ip_adapter.ip_adapter_core.layers.cross_stream import STATES
from fabricate import adapters
from twins import Call, Construction, Twins, call, patcher_of

EMBED, PATCHES, CONTEXT, WIDTH, HEADS = 40, 10, 48, 64, 4
ANIMA = Construction(
    {
        "image_model": "anima",
        "max_img_h": 240,
        "max_img_w": 240,
        "max_frames": 128,
        "in_channels": 4,
        "out_channels": 4,
        "patch_spatial": 2,
        "patch_temporal": 1,
        "model_channels": WIDTH,
        "concat_padding_mask": True,
        "crossattn_emb_channels": CONTEXT,
        "pos_emb_cls": "rope3d",
        "pos_emb_learnable": True,
        "pos_emb_interpolation": "crop",
        "min_fps": 1,
        "max_fps": 30,
        "use_adaln_lora": True,
        "adaln_lora_dim": 16,
        "num_blocks": 3,
        "num_heads": HEADS,
        "extra_per_block_abs_pos_emb": False,
        "rope_h_extrapolation_ratio": 4.0,
        "rope_w_extrapolation_ratio": 4.0,
        "rope_t_extrapolation_ratio": 1.0,
        "rope_enable_fps_modulation": False,
    },
    {},
    3,
)
Added = Callable[[int, Tensor], Tensor]
"""Number of a block and its queries (batch, tokens, heads, width) -> what is added before the projection."""


Behind = Callable[[int, Tensor, Tensor], Tensor]
"""Number of a block, its queries, and the noise level as its modulation reads it (batch, width) -> what is added behind
the block."""


class AnimaTwins(Twins):
    """Anima as ComfyUI has it, and a copy of its network."""

    def __init__(self) -> None:
        self.construction = ANIMA
        self.patcher = _patcher()
        self.reference = deepcopy(self.patcher.model.diffusion_model)
        self.context = CONTEXT

    def call_with(self, call: Call, added: Added | None = None, behind: Behind | None = None) -> Tensor:
        """What the copy predicts where each cross-attention, or each block, also adds something."""
        for number, block in enumerate(self.reference.blocks):
            block.cross_attn.forward = MethodType(_plain(number, added or _nothing), block.cross_attn)
            block.forward = MethodType(_and_behind(number, behind), block) if behind else block_forward(block)
        sampling = self.patcher.model.model_sampling
        with torch.no_grad():
            found: Tensor = self.reference(
                sampling.calculate_input(call.sigma, call.x), sampling.timestep(call.sigma).float(), call.text
            )
        return found


def anima_call(batch: int = 2, height: int = 16, width: int = 16, sigma: float = 0.7) -> Call:
    """Random inputs at one noise level, with an axis for time."""
    given = call(CONTEXT, batch, height, width)
    return replace(given, x=(given.x / given.x.std())[:, :, None], sigma=torch.full((batch,), sigma))


def anima_adapter(seed: int = 0, tokens: int = 4) -> adapters.Nested:
    """An adapter for the model of these tests."""
    sizes: dict[str, Any] = {"tokens": tokens, "width": 32, "depth": 2}
    return adapters.adapter("Anima PE-Core", (WIDTH,) * 3, CONTEXT, EMBED, seed, gated=True, **sizes)


def outer_adapter(seed: int = 0, rank: int | None = None) -> adapters.Nested:
    """An adapter of SigLIP2 for the model of these tests; rank: of its LoRA, None for none."""
    sizes: dict[str, Any] = {"bias": True, "faded": CONTEXT, "rank": rank}
    nested = adapters.adapter("Anima SigLIP2", (WIDTH,) * 3, STATES, STATES, seed, **sizes)
    layers = nested["ip_adapter"]
    scale = {name: (WIDTH if ".adaln" in name else STATES) ** -0.5 / adapters.SPREAD for name in layers}
    return {
        **nested,
        "ip_adapter": {n: v * scale[n] if n.endswith("ip.weight") or ".adaln" in n else v for n, v in layers.items()},
    }


def states(images: int = 1, seed: int = 5) -> Tensor:
    """What SigLIP2 might say of the patches of pictures."""
    return torch.randn(images, PATCHES, STATES, generator=torch.Generator().manual_seed(seed))


def hidden(images: int = 1, seed: int = 5) -> Tensor:
    """What an encoder might say of the patches of pictures."""
    return torch.randn(images, PATCHES, EMBED, generator=torch.Generator().manual_seed(seed))


# The formula, written from the layout of the file


def tokens_of(file: dict[str, Tensor], features: Tensor) -> Tensor:
    """(images, patches, embed) -> (images, tokens, context); file: tensors by the names of anima_lora."""
    part = {name.removeprefix("resampler."): value for name, value in file.items() if name.startswith("resampler.")}

    def lin(x: Tensor, name: str) -> Tensor:
        return linear(x, part[f"{name}.weight"], part[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], part[f"{name}.weight"], part[f"{name}.bias"])

    def attend(q: Tensor, kv: Tensor, name: str) -> Tensor:
        torchs = nn.MultiheadAttention(q.shape[-1], 8, batch_first=True)
        torchs.load_state_dict({n.removeprefix(f"{name}."): v for n, v in part.items() if n.startswith(f"{name}.")})
        found: Tensor = torchs(q, kv, kv, need_weights=False)[0]
        return found.detach()

    image = lin(features - file["ip_centroid"], "kv_proj")
    x = part["queries"].expand(len(image), -1, -1)
    for n in range(len({name.split(".")[1] for name in part if name.startswith("blocks.")})):
        block = f"blocks.{n}"
        x = x + attend(norm(x, f"{block}.q_norm_x"), norm(image, f"{block}.kv_norm_x"), f"{block}.xattn")
        normed = norm(x, f"{block}.norm_s")
        x = x + attend(normed, normed, f"{block}.sattn")
        x = x + lin(gelu(lin(norm(x, f"{block}.norm_f"), f"{block}.ffn.0")), f"{block}.ffn.2")
    return lin(norm(x, "out_norm"), "out")


def plain_images(file: dict[str, Tensor], features: Tensor, weight: float = 1.0) -> Added:
    """What images add, a row of features for each of the batch."""
    tokens = tokens_of(file, features)

    def added(number: int, q: Tensor) -> Tensor:
        k, v = (
            (tokens @ file[f"to_{part}_ip.{number}.weight"].T).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in "kv"
        )
        scores = q.transpose(1, 2) @ k.mT / q.shape[-1] ** 0.5
        return weight * file[f"ip_gate.{number}"] * (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    return added


def plain_behind(file: dict[str, Tensor], features: Tensor, weight: float = 1.0) -> Behind:
    """What images add behind blocks, a row of features for each of the batch; file: tensors by LuciferTC's names."""

    def added(number: int, q: Tensor, time: Tensor) -> Tensor:
        def lin(x: Tensor, name: str) -> Tensor:
            return linear(x, file[f"blocks.{number}.{name}.weight"], file[f"blocks.{number}.{name}.bias"])

        k, v = (lin(features, f"ip_{part}_proj").unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in "kv")
        scores = q.transpose(1, 2) @ k.mT / q.shape[-1] ** 0.5
        read = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return weight * lin(time * torch.sigmoid(time), "adaln_ip.1")[:, None] * read

    return added


def _nothing(number: int, q: Tensor) -> Tensor:
    return torch.zeros(())


def block_forward(block: Any) -> Any:
    """The host's own forward of a block."""
    return MethodType(type(block).forward, block)


def _and_behind(number: int, behind: Behind) -> Callable[..., Tensor]:
    def forward(self: Any, picture: Tensor, time: Tensor, *rest: Any, **more: Any) -> Tensor:
        found: Tensor = type(self).forward(self, picture, time, *rest, **more)
        return found + behind(number, self.cross_attn.q, time[:, 0]).reshape(found.shape)

    return forward


def _plain(number: int, added: Added) -> Callable[..., Tensor]:
    def forward(self: Any, x: Tensor, context: Tensor, **more: Any) -> Tensor:
        split = (-1, (HEADS, WIDTH // HEADS))
        q = self.q = self.q_norm(self.q_proj(x).unflatten(*split))
        k, v = self.k_norm(self.k_proj(context).unflatten(*split)), self.v_proj(context).unflatten(*split)
        scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1) * q.shape[-1] ** -0.5
        text = (scores.softmax(-1) @ v.transpose(1, 2)).transpose(1, 2).flatten(2)
        projected: Tensor = self.output_proj(text + added(number, q))
        return projected

    return forward


def _patcher() -> Any:
    from comfy import latent_formats, model_base, ops, supported_models
    from comfy.ldm.anima import model as anima

    class Latent(latent_formats.LatentFormat):
        latent_channels, latent_dimensions = 4, 3

    config = supported_models.Anima(dict(ANIMA.comfy))
    config.unet_config["dtype"] = torch.float32
    config.latent_format, config.custom_operations = Latent(), ops.disable_weight_init
    with patch.object(anima, "LLMAdapter", lambda **sizes: nn.Identity()):  # 130 million parameters, of texts alone
        model = model_base.Anima(config, device="cpu")
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.diffusion_model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
            if parameter.ndim > 1:
                parameter *= 0.8 * parameter.shape[-1] ** -0.5
            else:
                parameter.mul_(0.1).add_(1.0)
    model.eval().requires_grad_(False)
    return patcher_of(model)
