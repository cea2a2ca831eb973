"""Vision encoders built of OpenCLIP's towers: from a weight file and square pictures to features of images.

pictures (images, size, size, 3)  -> normalise ->  pixels (images, 3, size, size)
pixels -> patches of patch x patch pixels, and one CLS token before them: (images, tokens, width)
tokens -> all layers but the last -> penultimate (images, tokens, width)
       -> the last layer          -> last        (images, tokens, width)
       -> norm and projection of CLS -> embeds   (images, embed_dim)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Entry, entries, is_weight_file, tensors
from .layouts import find_layout, values
from .parts import Layout
from .positions import interpolate
from .preprocess import normalise
from .towers import AS_TRAINED, Tower, build, identify

__all__ = [
    "Tower",
    "VisionEncoder",
    "VisionOutput",
    "blank",
    "config_files",
    "encode",
    "encode_levels",
    "find_config",
    "identify",
    "load",
]

_SHARED_CONFIG = "open_clip_config.json"
_PUBLISHED_STEMS = {"open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model"}
_COMPUTED_IN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class VisionOutput(NamedTuple):
    """Features of images; the two sequences are None for towers without tokens, such as ResNets.

    embeds: the projected image embedding, not normalised, (images, embed_dim).
    penultimate: after all layers but the last, CLS first, without the final norm, (images, tokens, width); this is
        transformers' hidden_states[-2].
    last: after the last layer, also without the final norm, (images, tokens, width).
    """

    embeds: Tensor
    penultimate: Tensor | None
    last: Tensor | None


class VisionEncoder(nn.Module):
    """A loaded vision tower; it computes in the dtype and on the device of its weights."""

    def __init__(self, tower: Tower, visual: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.visual: Any = visual

    @property
    def weight(self) -> Tensor:
        """One of the weights: it tells their dtype and device."""
        return next(self.visual.parameters())

    def forward(self, pixel_values: Tensor) -> VisionOutput:
        """Encode normalised pixels, (images, 3, size, size), in any dtype and on any device."""
        embeds, (penultimate, last) = self.states(pixel_values, (-2, -1))
        return VisionOutput(embeds, penultimate, last)

    @torch.no_grad()
    def normed(self, last: Tensor | None) -> Tensor | None:
        """The last states after the final norm, (images, tokens, width), as a head that pools them by attention reads
        them; None for towers without such a head."""
        normed: Tensor | None = self.visual.trunk.norm(last) if self.tower.pools else None
        return normed

    def states(self, pixel_values: Tensor, layers: Sequence[int]) -> tuple[Tensor, list[Tensor | None]]:
        """Embeds as `forward` gives them, and the output of each of these layers, (images, tokens, width).

        layers: their numbers; negative ones count from the last layer. The output of a layer that the tower does not
        have is None, and so are all outputs of towers without tokens.
        """
        pixels, depth = pixel_values.to(self.weight), self.tower.layers
        existing = sorted({layer % depth for layer in layers if -depth <= layer < depth}) if self.tower.tokens else []
        if not existing:
            return self.visual(pixels), [None] * len(layers)
        outputs = self.visual.forward_intermediates(
            pixels, indices=existing, output_fmt="NLC", output_extra_tokens=True
        )
        states = dict(zip(existing, _sequences(outputs), strict=True))
        positive = (layer % depth if -depth <= layer < depth else None for layer in layers)
        return outputs["image_features"], [None if layer is None else states[layer] for layer in positive]


def find_config(path: str | Path) -> dict[str, Any] | None:
    """OpenCLIP's JSON config of a weight file: `<stem>.json` beside it, or its folder's open_clip_config.json.

    The folder's config counts only when no other model's weights are in the folder. Without a name of its own, the
    config gets the stem as its name. Raises UnsupportedCheckpoint when the config cannot be read.
    """
    config = next((config for config in map(_read_config, config_files(path)) if config), None)
    return {"name": Path(path).stem, **config} if config else None


def config_files(path: str | Path) -> list[Path]:
    """The files beside a weight file that may hold its config; the first one counts."""
    path = Path(path)
    own, shared = path.with_suffix(".json"), path.with_name(_SHARED_CONFIG)
    return [own] * own.is_file() + [shared] * (shared.is_file() and _alone(path))


def identify_file(path: str | Path) -> Tower:
    """The tower of a weight file. Raises UnsupportedCheckpoint, naming the file, when OpenCLIP does not know it."""
    return identify(entries(path), find_config(path), file=Path(path).name)


def load(
    path: str | Path, activation: str = "auto", dtype: torch.dtype | None = None, resolution: str = AS_TRAINED
) -> VisionEncoder:
    """A vision encoder from a weight file in transformers' or OpenCLIP's naming, ready to run, on the CPU.

    activation: a row of ACTIVATIONS. dtype: None keeps the file's most frequent dtype, or float32 when torch cannot
    compute in it. resolution: as in `Tower.at`. Raises UnsupportedCheckpoint when the file is damaged or is not exactly
    one known tower, and ValueError, before any weight is read, when that tower cannot have the resolution.
    """
    path = Path(path)
    named = entries(path)
    tower = identify(named, find_config(path), activation, path.name).at(resolution)
    layout = find_layout(named, path.name)
    weights = values(tensors(path), layout, dtype or _stored_dtype(named, layout))
    visual = build(tower)
    visual.load_state_dict(_resize_positions(weights, tower), strict=True, assign=True)
    _fill_buffers(visual)
    visual.to(next(visual.parameters()).dtype)  # converts only the constants, in each module's own way
    return VisionEncoder(tower, visual).train(False).requires_grad_(False)


def encode(encoder: VisionEncoder, pictures: Tensor) -> VisionOutput:
    """Encode square pictures as preprocess.fit makes them, (images, size, size, 3), 0..1; no gradients.

    Raises ValueError when their size is not the encoder's.
    """
    # Not inference mode: features made in it could not be used for training outside of it.
    with torch.no_grad():
        return encoder(_pixels(encoder, pictures))


def encode_levels(encoder: VisionEncoder, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Embeds of square pictures, and the outputs of the tower's levels, (images, levels, tokens, width).

    Pictures and errors as in `encode`; the tower has levels.
    """
    with torch.no_grad():
        embeds, states = encoder.states(_pixels(encoder, pictures), encoder.tower.levels)
    return embeds, torch.stack([state for state in states if state is not None], dim=1)


def _pixels(encoder: VisionEncoder, pictures: Tensor) -> Tensor:
    size = encoder.tower.image_size
    if pictures.shape[1:] != (size, size, 3):
        shape = "x".join(map(str, pictures.shape[1:]))
        raise ValueError(f"Fit pictures to {size}x{size}x3 for {encoder.tower.name}; these are {shape}.")
    return normalise(pictures.float().to(encoder.weight.device), encoder.tower.mean, encoder.tower.std)


def blank(encoder: VisionEncoder, images: int = 1) -> VisionOutput:
    """The features of an image of zeros after normalisation, which is the mean colour: no image, for the plus kinds."""
    size = encoder.tower.image_size
    with torch.no_grad():
        return encoder(encoder.weight.new_zeros(images, 3, size, size))


def _sequences(outputs: Mapping[str, Any]) -> list[Tensor]:
    patches = outputs["image_intermediates"]
    prefixes = outputs.get("image_intermediates_prefix") or [patch[:, :0] for patch in patches]
    return [torch.cat(pair, dim=1) for pair in zip(prefixes, patches, strict=True)]


def _alone(path: Path) -> bool:
    stems = {other.stem for other in path.parent.glob("*") if is_weight_file(other)}
    return stems <= _PUBLISHED_STEMS | {path.stem}


def _read_config(path: Path) -> dict[str, Any] | None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedCheckpoint(f"Correct or remove {path.name}; it cannot be read as JSON ({error}).") from error
    is_openclip = isinstance(config, dict) and ("model_cfg" in config or "vision_cfg" in config)
    return config if is_openclip else None  # any other JSON beside a model is another program's


def _stored_dtype(named: Mapping[str, Entry], layout: Layout) -> torch.dtype:
    """The dtype of most of a tower's values, or float32 when torch cannot compute in it."""
    values_of = Counter[str]()
    for entry in (named[key] for part in layout.parts.values() for key in part.keys):
        values_of[entry.dtype] += prod(entry.shape)
    return _COMPUTED_IN.get(values_of.most_common(1)[0][0], torch.float32)


def _resize_positions(weights: Mapping[str, Tensor], tower: Tower) -> Mapping[str, Tensor]:
    """The weights with position embeddings for the number of patches that the tower has at its resolution."""
    positions = tower.positions
    if positions is None or positions.grid == tower.grid:
        return weights
    return {**weights, positions.key: interpolate(weights[positions.key], positions, tower.grid)}


def _fill_buffers(visual: nn.Module) -> None:
    """Compute constants that no file contains, such as rotary angles; the meta device gave them no values."""
    for module in visual.modules():
        empty = {name: buffer for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta}
        if not empty:
            continue
        for name, buffer in empty.items():
            setattr(module, name, torch.empty_like(buffer, device="cpu"))
        _compute_constants(module)


def _compute_constants(module: Any) -> None:
    if not hasattr(module, "init_non_persistent_buffers"):
        raise UnsupportedCheckpoint(
            "Run `pip install -U timm`; this tower needs a newer one to fill the constants of its "
            f"{type(module).__name__}."
        )
    module.init_non_persistent_buffers()
