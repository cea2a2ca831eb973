"""TABLE of the goals: what an image prompt may cost at most."""

from __future__ import annotations

from typing import NamedTuple


class Goal(NamedTuple):
    """At most so much of something. name: of the figure that is held against it."""

    name: str
    most: float
    unit: str
    text: str


GOALS = (
    Goal("one to peers", 0.35, "×", "one adapter, 4 tokens: added time, against the peers' method"),
    Goal("one of call", 0.3, "%", "one adapter, 4 tokens: added time, of the UNet call"),
    Goal("four to one", 1.6, "×", "four stacked adapters: added time, against one"),
    Goal("four to peers", 0.15, "×", "four stacked adapters: added time, against the peers' method"),
    Goal("many to peers", 0.5, "×", "16 tokens: added time, against the peers' method"),
    Goal("mask to none", 1.2, "×", "with a mask: added time, against without"),
    Goal("held", 12, "MB", "tensors held while sampling, SDXL plus in fp16, for each reference"),
    Goal("kernels of one", 48, "", "kernels added to a call of SD1.5, one adapter"),
    Goal("kernels of four", 48, "", "kernels added to a call of SD1.5, four adapters"),
    Goal("loading", 1.0, "×", "loading SDXL plus (850 MB), against reading the file into memory"),
    Goal("loading memory", 1.1, "×", "largest memory while loading, against the file"),
    Goal("encoding", 0.9, "×", "encoding 16 images at once, against one by one"),
    Goal("importing", 200, "ms", "importing the package when ComfyUI starts"),
    Goal("imported", 0, "", "heavy libraries imported then (open_clip and others)"),
    Goal("again SD1.5", 50, "ms", "another weight, span, mask or schedule: Apply again, SD1.5"),
    Goal("again SDXL", 250, "ms", "another weight, span, mask or schedule: Apply again, SDXL"),
    Goal("one to diffusers", 1 / 3, "×", "one adapter, 4 tokens: share of the call, against diffusers with its own"),
    Goal("many to diffusers", 1 / 3, "×", "16 tokens: share of the call, against diffusers with its own"),
    Goal("cuda fp16", 0.7, "%", "CUDA, SDXL 1024 px, fp16, eager: added time, of the step"),
    Goal("cuda bf16", 0.7, "%", "CUDA, SDXL 1024 px, bf16, eager: added time, of the step"),
    Goal("cuda compiled", 0.2, "%", "CUDA, SDXL 1024 px, fp16, torch.compile: added time, of the step"),
    Goal("cuda kernels", 48, "", "CUDA: kernels added to a call of SD1.5, four adapters"),
    Goal("cuda reads", 0, "", "CUDA: device reads added to a step"),
)
