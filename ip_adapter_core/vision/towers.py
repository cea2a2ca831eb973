"""Which OpenCLIP vision tower a file holds, by its tensors' names and shapes, and how to build an empty one.

A tower is OpenCLIP's word for one half of a CLIP model; here always the half that reads pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from ..files.foreign import check_runs_here
from ..files.tensor_file import Entry
from ..text.checks import check_choice
from .layouts import find_layout, shapes
from .matching import match
from .positions import Positions, find_positions
from .registry import Candidate, Config, empty_tower

ACTIVATIONS = ("auto", "gelu", "quick_gelu")
_EVA02 = "eva02_"
_LEVELS = 6  # parts into which the layers of EVA02 are cut, for those who read its pictures at several depths
AS_TRAINED, DOUBLE = "as trained", "double"
RESOLUTIONS = (AS_TRAINED, DOUBLE, "336", "448", "560", "672")
_LONGEST = 64  # patches along a side, 4096 tokens; interpolated positions mean nothing far beyond that

# Tensors do not show the activation. Plain towers of the sizes that OpenAI released count as OpenAI's, which were
# trained with the quick approximation of GELU; all other towers count as trained with the exact one.
_QUICK_GELU = {"ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336"}


@dataclass(frozen=True)
class Tower:
    """What a vision encoder is.

    name: OpenCLIP's name of the model.
    embed_dim: width of the image embedding.
    width: of the hidden states; 0 without a token sequence, as in ResNets.
    layers: number of transformer layers.
    patch: side of a patch in pixels.
    image_size: side of the pictures in pixels.
    tokens: number of hidden states, CLS included; 0 without a token sequence.
    quick_gelu: whether the activation is the quick approximation of GELU.
    mean: of the pixels, for each colour.
    std: standard deviation of the pixels, for each colour.
    interpolation: how its authors resized pictures, of preprocess.INTERPOLATIONS.
    config: OpenCLIP's, to build the tower of.
    positions: position embeddings that can be interpolated for pictures of another size; None when nothing can.
    pools: whether its head pools all hidden states by attention, after the final norm.
    """

    name: str
    embed_dim: int
    width: int
    layers: int
    patch: int
    image_size: int
    tokens: int
    quick_gelu: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    config: Config = field(repr=False, compare=False)
    positions: Positions | None = field(default=None, repr=False)
    pools: bool = field(default=False, repr=False)

    @property
    def pooled_width(self) -> int:
        """Width of the states that its head pools; 0 where it does not."""
        return self.width if self.pools else 0

    @property
    def grid(self) -> int:
        """Number of patches along a side; 0 for towers without patches."""
        return self.image_size // self.patch if self.patch else 0

    @property
    def levels(self) -> tuple[int, ...]:
        """The layers of EVA02 whose outputs PuLID reads: five of 24, after every fourth; of other towers none.

        Source: ToTheBeginning/PuLID, eva_clip/eva_vit_model.py, forward_features. Widths would not tell: those of
        ViT-L-14-336 are the same.
        """
        if not str(self.config["vision_cfg"].get("timm_model_name", "")).startswith(_EVA02):
            return ()
        return tuple(self.layers * part // _LEVELS - 1 for part in range(1, _LEVELS))

    def at(self, resolution: str) -> Tower:
        """The same tower for pictures of another size: a row of RESOLUTIONS, or a number of pixels in digits.

        Raises ValueError when there is no such resolution or the tower cannot read pictures of that size.
        """
        size = self._pixels(resolution)
        if size == self.image_size:
            return self
        if self.positions is None:
            raise ValueError(
                f'Set resolution to "{AS_TRAINED}"; {self.name} reads pictures of {self.image_size} px '
                "only, as it has no grid of position embeddings that could be interpolated."
            )
        _check_size(self.name, self.patch, size)
        config = {**self.config, "vision_cfg": {**self.config["vision_cfg"], "image_size": size}}
        tokens = self.tokens - self.grid**2 + (size // self.patch) ** 2
        return replace(self, image_size=size, tokens=tokens, config=config)

    def _pixels(self, resolution: str) -> int:
        """Side of the pictures at a resolution. Raises ValueError when there is no such resolution."""
        named = {AS_TRAINED: self.image_size, DOUBLE: 2 * (self.grid * self.patch or self.image_size)}
        if resolution not in named and not resolution.isdecimal():
            raise ValueError(f"Set resolution to one of {', '.join(RESOLUTIONS)}; found {resolution!r}.")
        return named[resolution] if resolution in named else int(resolution)

    def describe(self) -> str:
        """One line for people: what the encoder is and what it gives."""
        tokens = f"{self.tokens} tokens of {self.width}" if self.tokens else "no tokens"
        activation = "quick_gelu" if self.quick_gelu else "gelu"
        return f"{self.name}: {self.image_size} px, embeddings of {self.embed_dim}, {tokens}, {activation}"


def identify(
    entries: Mapping[str, Entry], config: Config | None = None, activation: str = "auto", file: str = "This file"
) -> Tower:
    """The OpenCLIP tower whose tensors are exactly those of a file; the text half is ignored.

    config: OpenCLIP's JSON for this file, which then replaces OpenCLIP's own list of models.
    activation: "auto" takes the config's, else quick_gelu for the sizes OpenAI released and gelu for all others.
    Raises UnsupportedCheckpoint, its sentence beginning with `file`, when the file is no such tower.
    """
    check_choice("activation", activation, ACTIVATIONS)
    check_runs_here(entries, file)
    layout = find_layout(entries, file)
    return _tower(*match(shapes(entries, layout), layout, config, file), activation)


def build(tower: Tower) -> torch.nn.Module:
    """An empty tower on the meta device, OpenCLIP's visual module without its text half."""
    visual: Any = empty_tower(tower.config, tower.quick_gelu)
    if tower.positions is not None and _measure(visual, tower.config).image_size != tower.image_size:
        visual.trunk.set_input_size(img_size=tower.image_size)  # OpenCLIP 3.3.0 does not pass its image_size to timm
    return visual


def _check_size(name: str, patch: int, size: int) -> None:
    """Raises ValueError when pictures of this size cannot be cut into patches, or into too many."""
    if size % patch or not size:
        fitting = [row for row in RESOLUTIONS if row == DOUBLE or (row.isdecimal() and int(row) % patch == 0)]
        raise ValueError(
            f"Set resolution to one of {', '.join(fitting)}; {name} cuts pictures into patches of "
            f"{patch} px, and {size} px is no whole number of them."
        )
    if size > _LONGEST * patch:
        raise ValueError(
            f"Set resolution to less; {name} cuts pictures into patches of {patch} px, {size} px "
            f"would be {size // patch} of them along a side, and at most {_LONGEST} can be read."
        )


def _tower(candidate: Candidate, visual: torch.nn.Module, activation: str) -> Tower:
    """The description of a model and its empty tower."""
    config = candidate.config
    sizes = _measure(visual, config)
    auto = config.get("quick_gelu", candidate.name in _QUICK_GELU)
    return Tower(
        name=candidate.name,
        embed_dim=config["embed_dim"],
        quick_gelu=auto if activation == "auto" else activation == "quick_gelu",
        mean=candidate.mean,
        std=candidate.std,
        interpolation=candidate.interpolation,
        config=config,
        **sizes._asdict(),
    )


class _Sizes(NamedTuple):
    """The fields of Tower that are read from an empty tower.

    width: of the hidden states; 0 without a token sequence.
    layers: number of transformer layers.
    patch: side of a patch in pixels.
    image_size: side of the pictures in pixels.
    tokens: number of hidden states, CLS included.
    positions: position embeddings that can be interpolated; None when nothing can.
    pools: whether its head pools all hidden states by attention.
    """

    width: int
    layers: int
    patch: int
    image_size: int
    tokens: int
    positions: Positions | None = None
    pools: bool = False


def _measure(visual: Any, config: Config) -> _Sizes:
    """Sizes of OpenCLIP's own transformers, of timm's, and of ResNets, which have no tokens."""
    if hasattr(visual, "transformer"):
        tokens, width = visual.positional_embedding.shape
        patch, size = visual.patch_size[0], visual.image_size[0]
        return _Sizes(width, visual.transformer.layers, patch, size, tokens, find_positions(visual))
    trunk = getattr(visual, "trunk", None)
    if trunk is not None and hasattr(trunk, "blocks") and hasattr(trunk, "num_prefix_tokens"):
        patches = trunk.patch_embed
        tokens = patches.num_patches + trunk.num_prefix_tokens
        patch, size = patches.patch_size[0], patches.img_size[0]
        pools = getattr(trunk, "attn_pool", None) is not None
        return _Sizes(trunk.embed_dim, len(trunk.blocks), patch, size, tokens, find_positions(visual), pools)
    return _Sizes(0, 0, 0, config["vision_cfg"].get("image_size", 224), 0)
