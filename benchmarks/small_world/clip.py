"""Train the small world's CLIP: OpenCLIP's own classes, pictures and captions drawn together, the rest pushed apart."""

import json
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from safetensors.torch import load_file

from ...nodes.host.small_world import CONTEXT
from . import words
from .descent import Descent
from .shelf import COUNTS, MODELS, captions, mixed_precision, pictures, plain_attention, publish, save

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 64,
        "vision_cfg": {
            "image_size": 32,
            "patch_size": 4,
            "layers": 4,
            "width": 128,
            "head_width": 32,
            "mlp_ratio": 3.0,
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": words.VOCABULARY,
            "width": 128,
            "heads": 4,
            "layers": 2,
            "mlp_ratio": 2.0,
            "tokenizer_kwargs": {"bpe_path": "../tokenizer/merges.txt.gz"},
        },
    },
    "preprocess_cfg": {"mean": list(OPENAI_DATASET_MEAN), "std": list(OPENAI_DATASET_STD)},
}
FILE = MODELS / "clip_vision" / "small_world_clip.safetensors"
BATCH = min(128, COUNTS["train"])


def blank() -> open_clip.CLIP:
    """The untrained model."""
    return open_clip.CLIP(**CONFIG["model_cfg"])


def trained() -> open_clip.CLIP:
    """The shipped model."""
    model = blank()
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(FILE).items()})
    return model.eval().requires_grad_(False)


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, 32, 32) from 0 to 1, as the encoder reads them."""
    mean, std = (torch.tensor(x)[:, None, None] for x in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return (images - mean) / std


def train(steps: int, batch: int = BATCH, rate: float = 1e-3) -> open_clip.CLIP:
    """Symmetric cross-entropy over the similarities of a batch (arXiv 2103.00020)."""
    torch.manual_seed(1)
    shelf, tokens = pictures("train"), words.tokenizer()(captions("train", silence=0.15))
    model = blank()
    descent = Descent("clip", model.parameters(), steps, rate, decay=0.05, memory=(0.9, 0.98), warm=0.1, clip=1.0)
    for _ in range(steps):
        rows = torch.randint(len(shelf), (batch,))
        images = shelf[rows].float().div(255)
        images = (images + 0.04 * torch.randn_like(images) * torch.rand(batch, 1, 1, 1)).clamp(0, 1)
        with plain_attention(), mixed_precision():
            image, text, scale = model(normalised(images), tokens[rows])
        similar = scale.float() * image.float() @ text.float().T
        answers = torch.arange(batch)
        loss = (F.cross_entropy(similar, answers) + F.cross_entropy(similar.T, answers)) / 2
        due = descent.step(loss)
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6)
        if due:
            save("clip", model.state_dict())
    descent.end()
    return model


def main(steps: int) -> None:
    """Train and write the encoder with its configuration."""
    model = train(steps)
    publish(FILE, model.state_dict())
    FILE.with_suffix(".json").write_text(json.dumps(CONFIG, indent=2) + "\n")
