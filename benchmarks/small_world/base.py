"""Train the small world's text-to-image model: ComfyUI's own UNet and text encoder, together, on sketches."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
from comfy.clip_model import CLIPTextModel
from comfy.ldm.modules.attention import attention_pytorch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_sampling import ModelSamplingDiscrete
from comfy.ops import disable_weight_init
from torch import Tensor, nn

from ...nodes.host.small_world import TEXT as TEXT_CONFIG
from ...nodes.host.small_world import SmallWorld
from . import words
from .descent import Descent
from .shelf import COUNTS, MODELS, captions, mixed_precision, pictures, plain_attention, publish, read

PREFIXES, AUTOENCODER = ("model.diffusion_model.", "cond_stage_model."), "first_stage_model."
FILE = MODELS / "checkpoints" / "small_world.safetensors"
BATCH = min(64, COUNTS["train"])
SHAPE: dict = {
    "image_size": 32,
    "in_channels": 3,
    "model_channels": 32,
    "context_dim": 128,
    "channel_mult": [1, 2, 3],
    "num_res_blocks": [1, 1, 2],
    "transformer_depth": [0, 0, 1, 1],
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "legacy": False,
    **SmallWorld.unet_extra_config,
}
DECODER = {"out_channels": 3, "transformer_depth_output": [0, 0, 0, 0, 1, 1, 1]}
SPREAD = 1.5  # of the logarithm of the noise levels
CYCLES = (1500, 1800, 1800)
"""Steps of the learning rate's cycles: up, down, and again."""
VERSIONS = 4
"""Captions per picture, each with other words left out."""


def unet() -> UNetModel:
    """The diffusion model: attention to the text in the lowest of three levels, 8×8, six times."""
    return UNetModel(**deepcopy(SHAPE | DECODER), operations=disable_weight_init, dtype=torch.float32)


class Words(nn.Module):
    """The text encoder with as many rows as the vocabulary has."""

    def __init__(self, rows: int = words.VOCABULARY) -> None:
        super().__init__()
        self.transformer = CLIPTextModel(TEXT_CONFIG, torch.float32, "cpu", disable_weight_init)
        self.transformer.set_input_embeddings(nn.Embedding(rows, TEXT_CONFIG["hidden_size"]))

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, 32) token numbers -> context (n, 32, 128)."""
        text = self.transformer.text_model
        x = text.embeddings.token_embedding(tokens) + text.embeddings.position_embedding.weight
        mask = _causal(x)
        for layer in text.encoder.layers:  # the host's own forward adds in place, which autograd cannot follow
            x = x + layer.self_attn(layer.layer_norm1(x), mask, attention_pytorch)
            x = x + layer.mlp(layer.layer_norm2(x))
        return text.final_layer_norm(x)


def _causal(x: Tensor) -> Tensor:
    return torch.full((x.shape[1], x.shape[1]), -torch.finfo(x.dtype).max, dtype=x.dtype).triu_(1)


def initialise(module: nn.Module) -> None:
    """torch's own initial weights, which the host's layers leave out; what ends a residual branch starts at zero."""
    for name, layer in module.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=0.02)
        elif isinstance(layer, (nn.GroupNorm, nn.LayerNorm)):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        if name.endswith(("out_layers.3", "proj_out")) or name == "out.2":
            nn.init.zeros_(layer.weight)


def latents(split: str) -> Tensor:
    """A split's sketches, (n, 3, 32, 32), -1 to 1: the model draws nothing else, and its decoder pictures of them."""
    return (pictures(split).float() / 127.5 - 1).half()


def noise_levels() -> Tensor:
    """The share of the signal in the variance at each of the 1000 timesteps, from the host's own schedule."""
    return 1 / (1 + ModelSamplingDiscrete(SmallWorld({})).sigmas.square())


def tokens() -> Tensor:
    """Token numbers of the training captions, (versions, n, 32), padded as in ComfyUI; each leaves other words out."""
    encode = words.tokenizer()
    texts = [captions("train", silence=0.15, version=version) for version in range(VERSIONS)]
    return torch.stack([words.padded(encode(text)) for text in texts])


def diffused(x: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (n, c, h, w) with noise, and the v to predict; signal (n): the share of the pictures in the variance."""
    a, noise = signal[:, None, None, None], torch.randn_like(x)
    return a.sqrt() * x + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * x


def timesteps(count: int, signal: Tensor) -> Tensor:
    """Timesteps, four in five where much is decided: noise around the size of the pictures (arXiv 2206.00364)."""
    wanted = 1 / (1 + (torch.randn(count) * SPREAD).exp().square())
    centred = (len(signal) - torch.searchsorted(signal.flip(0), wanted)).clamp(max=len(signal) - 1)
    return torch.where(torch.rand(count) < 0.2, torch.randint(len(signal), (count,)), centred)


class Lesson(NamedTuple):
    """What a model learns to draw.

    images: latents (n, 3, 32, 32).
    texts: token numbers of their captions in several versions, (versions, n, 32).
    empty: those of no caption, (1, 32).
    counts: how much an error counts at each place, (1 or n, 1, 1 or 32, 1 or 32).
    """

    images: Tensor
    texts: Tensor
    empty: Tensor
    counts: Tensor = torch.ones(1, 1, 1, 1)

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Some images with a caption each, of which every tenth is empty, for guidance; and what counts."""
        rows = torch.randint(len(self.images), (count,))
        ids = self.texts[torch.randint(len(self.texts), (count,)), rows]
        counts = self.counts.expand(len(self.images), -1, -1, -1)[rows]
        return self.images[rows].float(), torch.where(torch.rand(count, 1) < 0.1, self.empty, ids), counts


def train(
    both: nn.ModuleList,
    lesson: Lesson,
    steps: int,
    *,
    name: str,
    keep: Callable[[nn.ModuleList], None],
    first: bool = False,
    batch: int = BATCH,
    rate: float = 1e-3,
) -> nn.ModuleList:
    """Teach a diffusion model and its text encoder, both, to predict v (arXiv 2202.00512); gives their moving average.

    The first cycle learns to paint: it draws all timesteps alike and hardly counts the noisiest, where only the text
    tells what to paint. The later ones learn that. name: of the record; keep: called with the average now and then.
    """
    signal, average = noise_levels(), deepcopy(both).requires_grad_(False)
    descent = Descent(name, both.parameters(), steps, rate, memory=(0.9, 0.98), clip=1.0)
    for step in range(steps):
        x, ids, counts = lesson.draw(batch)
        t = torch.randint(len(signal), (batch,)) if first else timesteps(batch, signal)
        noisy, target = diffused(x, signal[t])
        with plain_attention(), mixed_precision():
            predicted = both[0](noisy, t, both[1](ids))
        ratio = signal[t] / (1 - signal[t])
        weight = (ratio.clamp(max=5) + (not first)) / (ratio + 1)  # the almost clean count less (arXiv 2303.09556)
        loss = (((predicted.float() - target).square() * counts).mean(dim=(1, 2, 3)) * weight).mean()
        due = descent.step(loss)
        share = min(0.999, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(average.parameters()), list(both.parameters()), 1 - share)
        if due:
            keep(average)
    descent.end()
    return average


def write(both: Iterable[nn.Module], file: Path = FILE) -> None:
    """The checkpoint: diffusion model and text encoder under the names of SD's own; an autoencoder in it stays."""
    parts = zip(PREFIXES, both, strict=True)
    named = {prefix + name: weight for prefix, part in parts for name, weight in part.state_dict().items()}
    others = {} if not file.exists() else read(file)
    publish(file, {name: weight for name, weight in others.items() if name.startswith(AUTOENCODER)} | named)


def trained(file: Path = FILE, rows: int = words.VOCABULARY) -> nn.ModuleList:
    """A shipped diffusion model and its text encoder, frozen."""
    shipped, both = read(file), nn.ModuleList([unet(), Words(rows)])
    for prefix, part in zip(PREFIXES, both, strict=True):
        part.load_state_dict({key[len(prefix) :]: value for key, value in shipped.items() if key.startswith(prefix)})
    return both.eval().requires_grad_(False)


def main(steps: int, cycle: int = 0) -> None:
    """Train and write the model; a later cycle goes on from the weights that are there, at a new learning rate."""
    torch.manual_seed(20 + cycle)
    lesson = Lesson(latents("train"), tokens(), words.padded(words.tokenizer()([""])))
    if cycle:
        both = trained().train().requires_grad_(True)
    else:
        both = nn.ModuleList([unet(), Words()])
        initialise(both)
    write(train(both, lesson, steps, name=f"base_{cycle}", keep=write, first=not cycle))
