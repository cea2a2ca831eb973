"""Train the small world's CLIP: OpenCLIP's own classes, pictures and captions drawn together, the rest pushed apart.

A batch of random pictures can be told apart by colour, texture, background, size and place alone, and then shape is
never learned. So most of a batch are groups alike in all but one attribute, each attribute in turn.
"""

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from safetensors.torch import load_file

from ...nodes.host.small_world import CONTEXT
from . import words
from .descent import Descent
from .judge import READS, answers
from .shelf import COUNTS, MODELS, captions, mixed_precision, pictures, plain_attention, publish, save, scenes

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
CYCLES = (3000, 1500, 1000)
"""Steps of the learning rate's cycles."""
SHARPEST = (100.0, 16.0, 8.0)
"""In each cycle, the largest factor of the similarities. What a factor of 100 tells apart can lie very near together;
the later cycles have to move it apart, where adapters can read it."""
ALIKE = 0.75
"""The share of a batch that are pictures alike in all but one attribute; the rest are any."""


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


class Groups:
    """Pictures with one object, in groups alike in all but one attribute.

    codes: what each picture shows, (n, attributes); rows: which picture of the shelf each is, (n).
    """

    def __init__(self, codes: np.ndarray, rows: np.ndarray) -> None:
        self._of = [list(_alike(np.delete(codes, n, axis=1), codes[:, n], rows)) for n in range(codes.shape[1])]

    def draw(self, attribute: int, count: int, dice: np.random.Generator) -> np.ndarray:
        """Rows of `count` pictures, group by group; in a group each choice of the attribute at most once."""
        drawn: list[int] = []
        for number in dice.permutation(len(self._of[attribute])):
            drawn += [int(dice.choice(rows)) for rows in self._of[attribute][number]]
            if len(drawn) >= count:
                break
        return np.array(drawn[:count], dtype=np.int64)


def _alike(rest: np.ndarray, choices: np.ndarray, rows: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Of each group with the same rest, the rows of each choice; groups that show one choice only are none."""
    _, group = np.unique(rest, axis=0, return_inverse=True)
    order = np.lexsort((choices, group))
    both = np.stack([group.reshape(-1), choices], axis=1)[order]
    starts = np.flatnonzero((np.diff(both, axis=0, prepend=-1) != 0).any(axis=1))
    parts: dict[int, list[np.ndarray]] = {}
    for start, part in zip(starts, np.split(rows[order], starts[1:]), strict=True):
        parts.setdefault(int(both[start, 0]), []).append(part)
    yield from (part for part in parts.values() if len(part) > 1)


def groups() -> Groups:
    """The training pictures with one object, grouped."""
    single = [(row, one) for row, one in enumerate(scenes("train")) if len(one.objects) == 1]
    said = answers([one for _, one in single])
    return Groups(torch.stack([said[name] for name in READS], dim=1).numpy(), np.array([row for row, _ in single]))


def train(steps: int, cycle: int = 0, batch: int = BATCH, rate: float = 1e-3) -> open_clip.CLIP:
    """Symmetric cross-entropy over the similarities of a batch (arXiv 2103.00020)."""
    torch.manual_seed(1 + cycle)
    dice, grouped, turns = np.random.default_rng(1 + cycle), groups(), itertools.cycle(range(len(READS)))
    encode, shelf = words.tokenizer(), pictures("train")
    whole, robbed = encode(captions("train")), encode(captions("train", silence=0.15))
    model = trained().train().requires_grad_(True) if cycle else blank()
    name, weights = f"clip_{cycle}", model.parameters()
    descent = Descent(name, weights, steps, rate, decay=0.05, memory=(0.9, 0.98), warm=0.1, clip=1.0)
    for _ in range(steps):
        alike = torch.from_numpy(grouped.draw(next(turns), int(batch * ALIKE), dice))
        others = torch.randint(len(shelf), (batch - len(alike),))
        images = shelf[torch.cat([alike, others])].float().div(255)
        images = (images + 0.04 * torch.randn_like(images) * torch.rand(batch, 1, 1, 1)).clamp(0, 1)
        with plain_attention(), mixed_precision():
            image, text, scale = model(normalised(images), torch.cat([whole[alike], robbed[others]]))
        similar = scale.float() * image.float() @ text.float().T
        answer = torch.arange(batch)
        loss = (F.cross_entropy(similar, answer) + F.cross_entropy(similar.T, answer)) / 2
        due = descent.step(loss)
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(SHARPEST[cycle]))
        if due:
            save(name, model.state_dict())
    descent.end()
    return model


def main(steps: int, cycle: int = 0) -> None:
    """Train and write the encoder with its configuration; a later cycle goes on from the weights that are there."""
    model = train(steps, cycle)
    publish(FILE, model.state_dict())
    FILE.with_suffix(".json").write_text(json.dumps(CONFIG, indent=2) + "\n")
