"""PuLID's two encoders of an identity: a face embedding and a picture of the face -> tokens. Names are the files' keys.

    IDEncoder   version 1    some tokens of the embedding, then one for each level of the picture
    IDFormer    version 1.1  learned latents that read the embedding and one level after the other

A level is the output of a layer of EVA02-CLIP: (faces, states, width), CLS first. Source of the formulas:
ToTheBeginning/PuLID, pulid/encoders.py and pulid/encoders_transformer.py.
"""

from __future__ import annotations

import re

import torch
from einops import rearrange
from torch import Tensor, nn

from .projections import LayerClasses, ResamplerLayer, Shapes

_LEVEL = re.compile(r"mapping_\d+")
FACE = 512  # of ArcFace; an embedding of the picture stands behind it


class _Mapping(nn.Sequential):
    """Three linear layers, with a norm behind the first and the second."""

    def __init__(self, shapes: Shapes, name: str, nn_: LayerClasses) -> None:
        linears = [nn_.Linear(*reversed(shapes[f"{name}.{place}.weight"])) for place in (0, 3, 6)]
        first, second, last = linears
        norms = [nn_.LayerNorm(shapes[f"{name}.{place}.weight"][0]) for place in (1, 4)]
        super().__init__(first, norms[0], nn.LeakyReLU(), second, norms[1], nn.LeakyReLU(), last)


def _levels(shapes: Shapes) -> int:
    """How many levels of a picture are read."""
    return len({found[0] for name in shapes if (found := _LEVEL.match(name))})


class IDEncoder(nn.Module):
    """Version 1: each token is of the embedding alone, or of one level alone."""

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__()
        wide, read = shapes["body.6.weight"][0], shapes["body.0.weight"][1]
        self.context, width = shapes["mapping_0.6.weight"][0], shapes["mapping_0.0.weight"][1]
        self.widths = (FACE, read - FACE, width)
        self.levels, self.of_embedding = _levels(shapes), wide // self.context
        self.tokens = self.of_embedding + self.levels
        self.body = _Mapping(shapes, "body", nn_)
        for level in range(self.levels):
            self.add_module(f"mapping_{level}", _Mapping(shapes, f"mapping_{level}", nn_))
            self.add_module(f"mapping_patch_{level}", _Mapping(shapes, f"mapping_patch_{level}", nn_))

    def forward(self, face: Tensor, embeds: Tensor, levels: Tensor) -> Tensor:
        """(faces, 512), (faces, embed), (faces, levels, states, width) -> (faces, tokens, context)."""
        first = rearrange(self.body(torch.cat([face, embeds], -1)), "n (t c) -> n t c", c=self.context)
        return torch.cat([first, *(self._token(number, level) for number, level in enumerate(levels.unbind(1)))], 1)

    def _token(self, number: int, level: Tensor) -> Tensor:
        """What CLS says, and what patches say on average: (faces, states, width) -> (faces, 1, context)."""
        of_cls, of_patches = (self.get_submodule(f"{name}_{number}") for name in ("mapping", "mapping_patch"))
        return of_cls(level[:, :1]) + of_patches(level[:, 1:]).mean(1, keepdim=True)


class IDFormer(nn.Module):
    """Version 1.1: the latents read each level in a few layers, always beside the embedding."""

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__()
        _, self.tokens, width = shapes["latents"]
        self.context = shapes["proj_out"][1]
        read, level_width = (shapes[f"{name}.0.weight"][1] for name in ("id_embedding_mapping", "mapping_0"))
        self.widths, self.levels = (FACE, read - FACE, level_width), _levels(shapes)
        depth = len({name.split(".")[1] for name in shapes if name.startswith("layers.")})
        if depth % self.levels:
            raise ValueError(f"Give each level as many layers; {depth} layers read {self.levels} levels of a picture")
        self.latents = nn.Parameter(torch.empty(1, self.tokens, width))
        self.proj_out = nn.Parameter(torch.empty(width, self.context))
        self.layers = nn.ModuleList(ResamplerLayer(shapes, f"layers.{number}", width, nn_) for number in range(depth))
        self.id_embedding_mapping = _Mapping(shapes, "id_embedding_mapping", nn_)
        for level in range(self.levels):
            self.add_module(f"mapping_{level}", _Mapping(shapes, f"mapping_{level}", nn_))

    def forward(self, face: Tensor, embeds: Tensor, levels: Tensor) -> Tensor:
        """(faces, 512), (faces, embed), (faces, levels, states, width) -> (faces, tokens, context)."""
        width = self.latents.shape[-1]
        identity = self.id_embedding_mapping(torch.cat([face, embeds], -1)).unflatten(-1, (-1, width))
        latents = torch.cat([self.latents.to(identity).expand(len(face), -1, -1), identity], 1)
        each = len(self.layers) // self.levels
        for number, level in enumerate(levels.unbind(1)):
            read = torch.cat([identity, self.get_submodule(f"mapping_{number}")(level)], 1)
            for layer in self.layers[number * each : (number + 1) * each]:
                latents = layer(read, latents)
        return latents[:, : self.tokens] @ self.proj_out.to(latents)
