"""Train the small world's text-to-image model: ComfyUI's own UNet and text encoder, together, on sketches."""

from copy import deepcopy

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
    """The text encoder with the vocabulary's own number of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = CLIPTextModel(TEXT_CONFIG, torch.float32, "cpu", disable_weight_init)
        self.transformer.set_input_embeddings(nn.Embedding(words.VOCABULARY, TEXT_CONFIG["hidden_size"]))

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


def train(steps: int, cycle: int = 0, batch: int = BATCH, rate: float = 1e-3) -> tuple[nn.Module, nn.Module]:
    """Predict v (arXiv 2202.00512); of every ten captions one is empty, for guidance.

    The first cycle learns to paint: it draws all timesteps alike and hardly counts the noisiest, where only the text
    tells what to paint. The later ones learn that.
    """
    torch.manual_seed(20 + cycle)
    images, texts, signal = latents("train"), tokens(), noise_levels()
    empty = words.padded(words.tokenizer()([""]))
    both = nn.ModuleList([unet(), Words()])
    if cycle:
        both = nn.ModuleList(trained()).train().requires_grad_(True)
    else:
        initialise(both)
    average = deepcopy(both).requires_grad_(False)
    descent = Descent(f"base_{cycle}", both.parameters(), steps, rate, memory=(0.9, 0.98), clip=1.0)
    for step in range(steps):
        rows = torch.randint(len(images), (batch,))
        x, ids = images[rows].float(), texts[torch.randint(VERSIONS, (batch,)), rows]
        ids = torch.where(torch.rand(batch, 1) < 0.1, empty, ids)
        t = timesteps(batch, signal) if cycle else torch.randint(len(signal), (batch,))
        noisy, target = diffused(x, signal[t])
        with plain_attention(), mixed_precision():
            predicted = both[0](noisy, t, both[1](ids))
        ratio = signal[t] / (1 - signal[t])
        weight = (ratio.clamp(max=5) + bool(cycle)) / (ratio + 1)  # the almost clean count less (arXiv 2303.09556)
        loss = ((predicted.float() - target).square().mean(dim=(1, 2, 3)) * weight).mean()
        due = descent.step(loss)
        keep = min(0.999, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(average.parameters()), list(both.parameters()), 1 - keep)
        if due:
            write(*average)
    descent.end()
    return average[0], average[1]


def write(diffusion: nn.Module, text: nn.Module) -> None:
    """The checkpoint: diffusion model and text encoder under the names of SD's own. The autoencoder is added later."""
    parts = {"model.diffusion_model.": diffusion, "cond_stage_model.": text}
    named = {prefix + name: weight for prefix, part in parts.items() for name, weight in part.state_dict().items()}
    publish(FILE, named)


def trained() -> tuple[nn.Module, nn.Module]:
    """The shipped diffusion model and text encoder, frozen."""
    shipped, both = read(FILE), (unet(), Words())
    for prefix, part in zip(("model.diffusion_model.", "cond_stage_model."), both, strict=True):
        part.load_state_dict({key[len(prefix) :]: value for key, value in shipped.items() if key.startswith(prefix)})
        part.eval().requires_grad_(False)
    return both


def main(steps: int, cycle: int = 0) -> None:
    """Train and write the model; a later cycle goes on from the weights that are there, at a new learning rate."""
    write(*train(steps, cycle))
