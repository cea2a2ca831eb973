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


class AnimaTwins(Twins):
    """Anima as ComfyUI has it, and a copy of its network."""

    def __init__(self) -> None:
        self.construction = ANIMA
        self.patcher = _patcher()
        self.reference = deepcopy(self.patcher.model.diffusion_model)
        self.context = CONTEXT

    def call_with(self, call: Call, added: Added = lambda number, q: torch.zeros(())) -> Tensor:
        """What the copy predicts where each cross-attention also adds something."""
        for number, block in enumerate(self.reference.blocks):
            block.cross_attn.forward = MethodType(_plain(number, added), block.cross_attn)
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


def _plain(number: int, added: Added) -> Callable[..., Tensor]:
    def forward(self: Any, x: Tensor, context: Tensor, **more: Any) -> Tensor:
        split = (-1, (HEADS, WIDTH // HEADS))
        q = self.q_norm(self.q_proj(x).unflatten(*split))
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
