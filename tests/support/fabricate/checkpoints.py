"""Random model files that stock ComfyUI loads: a miniature family, its ControlNet, and the smallest SD1.5."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from fabricate.encoders import taesd_shapes, text_shapes
from fabricate.unet import Shapes, UNet, controlnet_shapes, linear, unet_shapes
from fabricate.weights import random_weights

TINY = UNet(channels=32, context=64, multipliers=(1, 2, 4, 4), attends=(True, True, True, False))
TINY_TEXT = text_shapes(width=64, layers=2, inner=128)
SD15_SMALLEST = UNet(channels=320, context=768, multipliers=(1,), attends=(True,), blocks=1)
SD15_TEXT = text_shapes(width=768, layers=12, inner=3072)


def tiny_checkpoint(path: Path, in_channels: int = 4, seed: int = 0) -> Path:
    """A checkpoint of the miniature family (support/packs/tinyfam) with SD1.5's blocks; 9 channels is inpainting."""
    return save_checkpoint(path, TINY._replace(in_channels=in_channels), TINY_TEXT, seed)


def tiny_controlnet(path: Path, seed: int = 0) -> Path:
    """A ControlNet for the miniature family."""
    return save(path, random_weights(controlnet_shapes(TINY), seed, "control_model."))


def tiny_kolors(path: Path, seed: int = 0) -> Path:
    """The miniature UNet behind a projection of wider texts, as Kolors has one (support/packs/kolors)."""
    projection = linear("encoder_hid_proj", 2 * TINY.context, TINY.context)
    return save(path, random_weights(unet_shapes(TINY) | projection, seed, ""))


def tiny_vae(path: Path, seed: int = 0, latents: int = 4) -> Path:
    """The autoencoder alone; 16 channels of latents are those of Flux."""
    return save(path, autoencoder(seed, "", latents))


def sd15_checkpoint(path: Path, seed: int = 0) -> Path:
    """The smallest checkpoint that stock ComfyUI takes for SD1.5 (300 MB: its text encoder has one size only)."""
    return save_checkpoint(path, SD15_SMALLEST, SD15_TEXT, seed)


def save_checkpoint(path: Path, unet: UNet, text: Shapes, seed: int) -> Path:
    """Write a UNet, a text encoder and an autoencoder into one file."""
    weights = random_weights(unet_shapes(unet), seed, "model.diffusion_model.")
    weights |= random_weights(text, seed + 1, "cond_stage_model.transformer.")
    return save(path, weights | autoencoder(seed + 2, "first_stage_model."))


def autoencoder(seed: int, prefix: str, latents: int = 4) -> dict[str, torch.Tensor]:
    """Weights of the autoencoder, whose pictures are mid-grey instead of mostly black."""
    weights = random_weights(taesd_shapes(latents), seed, prefix)
    weights[f"{prefix}taesd_decoder.19.bias"] += 0.5
    return weights


def save(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    """Write a safetensors file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)
    return path
