"""What an animation keeps in memory, by its number of frames: a table for docs/animation.md.

`python .ci/develop/bring.py run -- python benchmarks/animation_memory.py`. Keys and values are random, of SD1.5's true
sizes; the windows are those of AnimateDiff, 16 frames with 4 in common, sampled in half precision.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / ".ci")]

import torch  # noqa: E402

import package  # noqa: E402, F401  (loads it)
from develop.inprocess import enter  # noqa: E402

FRAMES = (16, 64, 512)
KINDS = {"base, 4 tokens": 4, "plus, 16 tokens": 16}
LENGTH, OVERLAP, STEPS = 16, 4, 3
CONTEXT = 768
MEGA = 2**20


class Sampling:
    """A noise schedule, of which nothing is asked here."""

    @staticmethod
    def percent_to_sigma(percent: float) -> float:
        """Straight down."""
        return 1 - percent


def windows(frames: int) -> Iterator[list[int]]:
    """The context windows of one step."""
    for start in range(0, max(frames - OVERLAP, 1), LENGTH - OVERLAP):
        yield list(range(start, min(start + LENGTH, frames)))


def size(*holders: Any) -> int:
    """Bytes of the memory behind all tensors that can be reached, each storage counted once."""
    from comfyui_ip_adapter.benchmarks.storages import storages

    return sum(storages(*holders).values())


def prompt(references: int, tokens: int) -> Any:
    """A prompt of so many references, one per frame, and their shared blank one."""
    from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
    from comfyui_ip_adapter.ip_adapter_core.layers.families import FAMILIES
    from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import PromptPart

    rows = references + 1
    pairs = tuple(
        KeysValues(*(torch.randn(rows, tokens, width) for _ in range(2))) for width in FAMILIES["SD1.5"].widths
    )
    order = torch.stack([torch.arange(references), torch.full((references,), references)])
    return PromptPart(torch.randn(rows, tokens, CONTEXT), pairs, order)


def measured(part: Any, frames: int) -> tuple[int, int]:
    """Bytes of what the prompt keeps in main memory, and the most that a run keeps on the device at once."""
    from comfyui_ip_adapter.ip_adapter_core.attention.application import Application, LayerTerm
    from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
    from comfyui_ip_adapter.ip_adapter_core.layers.layout import layers
    from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
    from comfyui_ip_adapter.nodes.host.sampling.run import Run

    terms = {
        layer: (LayerTerm(image, 1.0, (0, 1)),)
        for layer, image in zip(layers(CONFIGS["SD1.5"]), part.keys_values, strict=True)
    }
    run = Run([Application(part, terms, Span())], Sampling, torch.linspace(1, 0, STEPS + 1), (frames, 4, 64, 64))
    most = 0
    for step in range(STEPS):
        for window in windows(frames):
            x = torch.zeros(2 * len(window), 4, 64, 64)
            told = {"cond_or_uncond": [1, 0], "ad_params": {"sub_idxs": window, "full_length": frames}}
            run.prepare(run.batch(told, x, torch.float16), torch.tensor([1 - step / STEPS]), keep_all=False)
            most = max(most, size(run.layers.tensors))
    return size(part.tokens, part.keys_values), most


def main() -> None:
    """Print the table."""
    enter(Path(tempfile.mkdtemp()))
    print("| adapter | references | frames | main memory | on the device, at most |")
    print("| --- | --- | --- | --- | --- |")
    for name, tokens in KINDS.items():
        for frames in FRAMES:
            for references in sorted({2, frames}):
                part = prompt(references, tokens)
                main_memory, device = measured(spread(part, frames), frames)
                print(f"| {name} | {references} | {frames} | {main_memory / MEGA:.0f} MB | {device / MEGA:.0f} MB |")


def spread(part: Any, frames: int) -> Any:
    """The part as a transition reads it where it has fewer references than frames."""
    from dataclasses import replace

    if part.frames == frames:
        return part
    chosen = torch.linspace(0, part.frames - 1, frames).round().long()
    return replace(part, row_index=part.row_index[:, chosen])


if __name__ == "__main__":
    main()
