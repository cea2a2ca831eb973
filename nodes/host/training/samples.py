"""Sample pictures of an adapter that is being trained: it draws a few of its own examples again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import comfy.model_management as memory
import comfy.sample
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ....ip_adapter_core.adapters.adapter import Adapter
from ....ip_adapter_core.prompts.prompt import image_prompt
from ....ip_adapter_core.training.shards import CachedExamples, Rows
from ..sampling import model_patch
from .dataset import HostEncoder

_REFERENCES = 4
_GUIDANCE = 7.5  # as in the paper
_SEED = 0


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws the first examples again, prompted by their captions and by themselves, into pictures in a folder.

    encoder: the models, with the VAE that decodes.
    examples: those that the adapter is trained on.
    network: the adapter.
    folder: for the pictures.
    steps: of the sampling.
    """

    encoder: HostEncoder
    examples: CachedExamples
    network: Adapter
    folder: Path
    steps: int

    def draw(self, number: int) -> Tensor:
        """A picture of references above and samples below, (height, width, 3), 8 bit; it is written as a PNG.

        number: that of the step, which names the file.
        """
        shown = range(min(_REFERENCES, len(self.examples)))
        with torch.no_grad():
            rows = [self.examples.rows([index]) for index in shown]
            pairs = [torch.cat([self._decode(row["latents"]), self._sample(row)]) for row in rows]
        # Sampling and decoding may have moved the model, whose weights training keeps on its device.
        memory.load_models_gpu([self.encoder.model], force_full_load=True)
        grid = rearrange(torch.stack(pairs), "columns rows h w c -> (rows h) (columns w) c")
        levels = (grid.clamp(0, 1) * 255).round().to(torch.uint8)
        self._write(levels.cpu().numpy(), number)
        return levels

    def _sample(self, row: Rows) -> Tensor:
        """One picture that follows an example's caption and image, (1, height, width, 3)."""
        device, nulls = self.encoder.model.load_device, self.examples.nulls
        cond, uncond = ((rows["features"].to(device),) for rows in (row, nulls))
        prompt = image_prompt(self.network, cond, uncond)
        model = model_patch.apply(self.encoder.model, prompt)
        blank = torch.zeros_like(row["latents"])
        noise = comfy.sample.prepare_noise(blank, _SEED)
        positive, negative = ([[text["context"], _pool(text)]] for text in (row, dict(nulls)))
        settings = (self.steps, _GUIDANCE, "euler", "normal")
        sampled = comfy.sample.sample(model, noise, *settings, positive, negative, blank, seed=_SEED, disable_pbar=True)
        return self.encoder.vae.decode(sampled)[..., :3].float().cpu()

    def _decode(self, latents: Tensor) -> Tensor:
        raw = self.encoder.model.model.process_latent_out(latents)
        return self.encoder.vae.decode(raw)[..., :3].float().cpu()

    def _write(self, levels: np.ndarray, number: int) -> None:
        from PIL import Image

        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(self.folder / f"step-{number:07d}.png")


def _pool(text: Rows) -> dict[str, Tensor]:
    return {"pooled_output": text["pooled"]} if "pooled" in text else {}
