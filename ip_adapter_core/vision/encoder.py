"""Image encoders in OpenCLIP's towers: from a weight file and square pictures to what the adapters read of an image."""

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
from .layouts import Layout, find_layout, values
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
    "find_config",
    "identify",
    "load",
]

_SHARED_CONFIG = "open_clip_config.json"
_PUBLISHED_STEMS = {"open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model"}
_COMPUTED_IN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class VisionOutput(NamedTuple):
    """What an encoder says of images; the two sequences are None for towers without tokens, such as ResNets.

    embeds: (images, embed_dim), the projected image embedding, not normalised.
    penultimate: (images, tokens, width), after all layers but the last, CLS first, without the final norm
    (transformers' hidden_states[-2]). last: the same after the last layer, still without the final norm.
    """

    embeds: Tensor
    penultimate: Tensor | None
    last: Tensor | None


class VisionEncoder(nn.Module):
    """A loaded vision tower; computes in the dtype and on the device its weights have."""

    def __init__(self, tower: Tower, visual: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.visual: Any = visual

    @property
    def weight(self) -> Tensor:
        """One of the weights, for their dtype and device."""
        return next(self.visual.parameters())

    def forward(self, pixel_values: Tensor) -> VisionOutput:
        """Encode normalised pixels, (images, 3, size, size); they are brought to the weights' dtype and device."""
        embeds, (penultimate, last) = self.states(pixel_values, (-2, -1))
        return VisionOutput(embeds, penultimate, last)

    def states(self, pixel_values: Tensor, layers: Sequence[int]) -> tuple[Tensor, list[Tensor | None]]:
        """Embeds as `forward` gives them, and what leaves each of these layers, (images, tokens, width); negative
        numbers count from the last one. None for layers that are not there, and for towers without tokens."""
        pixels, depth = pixel_values.to(self.weight), self.tower.layers
        there = sorted({layer % depth for layer in layers if -depth <= layer < depth}) if self.tower.tokens else []
        if not there:
            return self.visual(pixels), [None] * len(layers)
        found = self.visual.forward_intermediates(pixels, indices=there, output_fmt="NLC", output_extra_tokens=True)
        states = dict(zip(there, _sequences(found), strict=True))
        inside = (layer % depth if -depth <= layer < depth else None for layer in layers)
        return found["image_features"], [None if layer is None else states[layer] for layer in inside]


def find_config(path: str | Path) -> dict[str, Any] | None:
    """OpenCLIP's JSON config of a weight file: `<stem>.json` beside it, or its folder's open_clip_config.json.

    The folder's config counts only where no other model's weights are in the folder. The name in it is the stem.
    Raises UnsupportedCheckpoint when the config cannot be read.
    """
    found = next((config for config in map(_read_config, config_files(path)) if config), None)
    return {"name": Path(path).stem, **found} if found else None


def config_files(path: str | Path) -> list[Path]:
    """The files beside a weight file that may hold its config, the one that counts more first."""
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

    dtype: None keeps the file's (the most common one where it is mixed, float32 where it cannot be computed in).
    resolution: as in `Tower.at`. Raises UnsupportedCheckpoint when the file is damaged, or holds anything but exactly
    one known tower, and ValueError, before any weight is read, when that tower cannot have the resolution.
    """
    path = Path(path)
    found = entries(path)
    tower = identify(found, find_config(path), activation, path.name).at(resolution)
    layout = find_layout(found, path.name)
    weights = values(tensors(path), layout, dtype or _stored_dtype(found, layout))
    visual = build(tower)
    visual.load_state_dict(_place(weights, tower), strict=True, assign=True)
    _fill_buffers(visual)
    visual.to(next(visual.parameters()).dtype)  # only the constants change, each as its module wants
    return VisionEncoder(tower, visual).eval().requires_grad_(False)


def encode(encoder: VisionEncoder, pictures: Tensor) -> VisionOutput:
    """Encode square pictures as preprocess.fit makes them, (images, size, size, 3), 0..1; no gradients.

    Raises ValueError when their size is not the encoder's.
    """
    size = encoder.tower.image_size
    if pictures.shape[1:] != (size, size, 3):
        found = "x".join(map(str, pictures.shape[1:]))
        raise ValueError(f"{encoder.tower.name} needs pictures of {size}x{size}x3, these are {found}; fit them first.")
    # Not inference mode: features made in it could not be used for training outside of it.
    with torch.no_grad():
        return encoder(normalise(pictures.float().to(encoder.weight.device), encoder.tower.mean, encoder.tower.std))


def blank(encoder: VisionEncoder, images: int = 1) -> VisionOutput:
    """What the encoder says of zeros after normalisation (the mean colour): the plus kinds' unconditional image."""
    size = encoder.tower.image_size
    with torch.no_grad():
        return encoder(encoder.weight.new_zeros(images, 3, size, size))


def _sequences(found: Mapping[str, Any]) -> list[Tensor]:
    patches = found["image_intermediates"]
    prefixes = found.get("image_intermediates_prefix") or [patch[:, :0] for patch in patches]
    return [torch.cat(pair, dim=1) for pair in zip(prefixes, patches, strict=True)]


def _alone(path: Path) -> bool:
    stems = {other.stem for other in path.parent.glob("*") if is_weight_file(other)}
    return stems <= _PUBLISHED_STEMS | {path.stem}


def _read_config(path: Path) -> dict[str, Any] | None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedCheckpoint(f"{path.name} cannot be read as JSON ({error}); correct or remove it.") from error
    known = isinstance(config, dict) and ("model_cfg" in config or "vision_cfg" in config)
    return config if known else None  # any other JSON beside a model is another program's


def _stored_dtype(found: Mapping[str, Entry], layout: Layout) -> torch.dtype:
    """The dtype of most of a tower's values, if it can be computed in."""
    values_of = Counter[str]()
    for entry in (found[key] for part in layout.parts.values() for key in part.keys):
        values_of[entry.dtype] += prod(entry.shape)
    return _COMPUTED_IN.get(values_of.most_common(1)[0][0], torch.float32)


def _place(weights: Mapping[str, Tensor], tower: Tower) -> Mapping[str, Tensor]:
    """The weights with the position embeddings of as many patches as the tower's pictures have."""
    positions = tower.positions
    if positions is None or positions.grid == tower.grid:
        return weights
    return {**weights, positions.key: interpolate(weights[positions.key], positions, tower.grid)}


def _fill_buffers(visual: nn.Module) -> None:
    """Compute the constants that are in no file, such as rotary angles: on the meta device they have no values."""
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
            f"This tower needs a newer timm to fill the constants of its {type(module).__name__}: pip install -U timm."
        )
    module.init_non_persistent_buffers()
