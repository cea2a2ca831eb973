"""Where the recipe keeps what it makes on the way: pictures, weights, loss curves."""

import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...ip_adapter_core.small_world.drawing import sketch
from ...ip_adapter_core.small_world.world import Scene, caption, scene

_ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("SMALL_WORLD_MODELS", _ROOT / "models" / "small_world"))
"""Where the shipped weights are, and where a run of the recipe puts its own."""
FOLDER = Path(os.environ.get("SMALL_WORLD_SHELF", _ROOT / ".host" / "small_world"))
RECORDS = MODELS / "records"
SERIES = {"train": 1, "test": 2, "unseen": 3}
EVERY = 50
COUNTS = {"train": int(os.environ.get("SMALL_WORLD_PICTURES", "40000")), "test": 2_000, "unseen": 2_000}


@cache
def scenes(split: str) -> list[Scene]:
    """The scenes of a split; those of `unseen` have one object, of combinations that training never shows."""
    unseen = split == "unseen"
    return [scene(SERIES[split], n, unseen=unseen, objects=1 if unseen else None) for n in range(COUNTS[split])]


def captions(split: str, silence: float = 0.0, nameless: float = 0.0, version: int = 0) -> list[str]:
    """What the pictures of a split show; words are left out at the rate `silence`, shapes at the rate `nameless`."""
    dice = np.random.default_rng((SERIES[split], version))
    return [caption(one, dice, silence, nameless) for one in scenes(split)]


def pictures(split: str) -> torch.Tensor:
    """The sketches of a split, (n, 3, 32, 32), bytes; drawn once and written to disk."""

    def make() -> dict[str, torch.Tensor]:
        drawn = scenes(split)
        parts = [(sketch(drawn[n : n + 500]) * 255).round().byte() for n in range(0, len(drawn), 500)]
        return {"pictures": torch.cat(parts)}

    return kept(split, make)["pictures"]


def save(name: str, tensors: dict[str, torch.Tensor]) -> Path:
    """Write tensors to the shelf."""
    path = FOLDER / f"{name}.safetensors"
    _write(path, tensors)
    return path


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A file of tensors, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def load(name: str) -> dict[str, torch.Tensor]:
    """Tensors from the shelf."""
    return load_file(FOLDER / f"{name}.safetensors")


def kept(name: str, make: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Tensors from the shelf; made, and written to disk, where they are not there."""
    try:
        return load(name)
    except FileNotFoundError:
        made = make()
        save(name, made)
        return made


class Report:
    """The losses of a training run, printed while it runs and written at its end."""

    def __init__(self, name: str) -> None:
        self.name, self.started = name, time.time()
        self.losses: list[float] = []

    def step(self, loss: float) -> bool:
        """Note a step's loss; whether it is time to keep what there is."""
        self.losses.append(loss)
        number = len(self.losses)
        if number % EVERY == 0:
            mean = sum(self.losses[-EVERY:]) / EVERY
            logging.info("%s step %d: loss %.4f, %.0f s", self.name, number, mean, time.time() - self.started)
        return number % (10 * EVERY) == 0

    def keep(self) -> None:
        """Write the loss curve and the time it took."""
        record(self.name, self.losses, time.time() - self.started)


def record(name: str, losses: list[float], seconds: float) -> None:
    """Keep a loss curve (means of EVERY steps, or of a fifth of them all) and the time it took, beside the weights."""
    size = max(1, min(EVERY, len(losses) // 5))
    parts = [losses[n : n + size] for n in range(0, len(losses), size)]
    means = [round(sum(part) / len(part), 5) for part in parts]
    RECORDS.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"seconds": round(seconds), "steps": len(losses), "losses": means})
    (RECORDS / f"{name}.json").write_text(text + "\n")


def publish(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write weights that the package ships, in half precision."""
    _write(path, {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()})


def plain_attention() -> AbstractContextManager[None]:
    """Attention as plain matrix products: for small heads on a CPU, 2.5 times faster to train than fused."""
    return sdpa_kernel([SDPBackend.MATH])


def mixed_precision() -> torch.autocast:
    """Products in bfloat16, unless the processor emulates it, twenty times slower; SMALL_WORLD_BFLOAT16 is 0 or 1."""
    told = os.environ.get("SMALL_WORLD_BFLOAT16")
    has = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.autocast("cpu", torch.bfloat16, enabled=told == "1" or (told is None and has))


def read(path: Path) -> dict[str, torch.Tensor]:
    """Weights that the package ships, in single precision."""
    return {key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()}
