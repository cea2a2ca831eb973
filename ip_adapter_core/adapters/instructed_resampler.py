"""The projection of IP-Adapter-Instruct: a resampler that is also told what to take from the image.

In every layer the latents read the patches of the image, then the text of the result, then the instruction.

Source of the formula: unity-research/IP-Adapter-Instruct, ip_adapter/resampler_Instruct.py, ResamplerInstructBigger.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .projections import LayerClasses, Perceiver, ResamplerLayer, Shapes, mask_of_kept


class InstructedResampler(Perceiver):
    """Instruct kind: learned queries read the patches and two texts.

    text_width: of the states of both texts.
    """

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__(shapes, nn_)
        _, self.tokens, width = shapes["latents"]
        _, self.text_width = shapes["proj_new_input.weight"]
        self.latents = nn.Parameter(torch.empty(1, self.tokens, width))
        self.proj_new_input = nn_.Linear(self.text_width, width)
        self.proj_prompt_input = nn_.Linear(self.text_width, width)
        self.prompt_layers, self.new_input_layers = (
            nn.ModuleList(ResamplerLayer(shapes, f"{name}.{n}", width, nn_) for n in range(len(self.layers)))
            for name in ("prompt_layers", "new_input_layers")
        )

    def forward(self, hidden: Tensor, kept: Tensor | None = None, *, instruction: Tensor, prompt: Tensor) -> Tensor:
        """(images, patches, hidden) -> (images, tokens, context); kept as in `Perceiver.read`.

        instruction, prompt: states of the two texts, the same for all images, (1, words, text_width).
        """
        image = self.proj_in(hidden)
        rows = len(image)
        latents = self.latents.to(image).expand(rows, -1, -1)
        attn_mask = None if kept is None else mask_of_kept(kept, latents.shape[1])
        wanted = self.proj_prompt_input(prompt).expand(rows, -1, -1)
        told = self.proj_new_input(instruction).expand(rows, -1, -1)
        layers: Any = zip(self.layers, self.prompt_layers, self.new_input_layers, strict=True)
        for look, read, obey in layers:
            latents = obey(told, read(wanted, look(image, latents, attn_mask)))
        return self.norm_out(self.proj_out(latents))
