"""The vision towers a file may hold: OpenCLIP's own list of models, or a config that came with the file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Shape
from .parts import Layout
from .preprocess import BICUBIC, BILINEAR, CLIP_MEAN, CLIP_STD

Config = Mapping[str, Any]

# Two rows of OpenCLIP's list may be equal in every tensor; these are what the published adapters were trained with.
_PREFERRED = ("ViT-SO400M-14-SigLIP-384", "ViT-B-16-SigLIP2-512")


class Candidate(NamedTuple):
    """A model whose tower a file may hold.

    name: OpenCLIP's name of the model.
    config: OpenCLIP's config, with embed_dim and vision_cfg.
    mean, std: of the pixels, for each colour.
    interpolation: how its authors resized pictures, of preprocess.INTERPOLATIONS.
    """

    name: str
    config: Config
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


def read_candidate(config: Config, file: str) -> Candidate:
    """The model of a config, in the form of open_clip_config.json or of its model_cfg alone.

    Raises UnsupportedCheckpoint when it is no OpenCLIP config.
    """
    model_config, pixels = config.get("model_cfg", config), config.get("preprocess_cfg", {})
    try:
        model = {"embed_dim": int(model_config["embed_dim"]), "vision_cfg": dict(model_config["vision_cfg"])}
        model["quick_gelu"] = bool(model_config.get("quick_gelu", False))  # OpenCLIP's default
        preprocessing = _preprocessing(pixels)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnsupportedCheckpoint(
            f"Correct or remove the config of {file}; it is not OpenCLIP's, which has embed_dim and vision_cfg."
        ) from error
    return Candidate(str(config.get("name", "custom")), model, *preprocessing)


def list_candidates(shapes: Mapping[str, Shape], layout: Layout, file: str) -> Iterator[Candidate]:
    """OpenCLIP's models that a file may hold, each vision config once, models with plain names first.

    shapes: of the file's tensors, by OpenCLIP's names. Raises UnsupportedCheckpoint when a tensor from which the sizes
    are read is missing.
    """
    import open_clip

    fits = _quick_test(shapes, layout, file)
    seen = set()
    for name in sorted(open_clip.list_models(), key=lambda name: (name not in _PREFERRED, len(name), name)):
        config = open_clip.get_model_config(name)
        key = json.dumps([config["embed_dim"], config["vision_cfg"]], sort_keys=True)
        if key not in seen and fits(config):
            seen.add(key)
            model = {"embed_dim": config["embed_dim"], "vision_cfg": config["vision_cfg"]}
            yield Candidate(name, model, *_preprocessing(_published(name)))


def _published(name: str) -> Config:
    """What OpenCLIP says of the pixels of a model's published weights; nothing where there are none."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    return open_clip.get_pretrained_cfg(name, tags[0]) if tags else {}


def _preprocessing(pixels: Config) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Mean, deviation and interpolation that a config names, and CLIP's where it names none."""
    mean, std = (tuple(map(float, pixels.get(key, own))) for key, own in (("mean", CLIP_MEAN), ("std", CLIP_STD)))
    # As OpenCLIP does: any other word, such as random, is about training.
    return mean, std, BILINEAR if pixels.get("interpolation") == BILINEAR else BICUBIC


def _quick_test(shapes: Mapping[str, Shape], layout: Layout, file: str) -> Callable[[Config], bool]:
    """A fast test of a config, so that most towers need not be built."""
    if any(name.startswith("transformer.resblocks.") for name in shapes):
        facts = _vit_facts(shapes, layout, file)
        return lambda config: _vit_config_facts(config) == facts
    if any(name.startswith("trunk.") for name in shapes):
        lengths = {shape[0] for shape in shapes.values() if shape}
        return lambda config: "timm_model_name" in config["vision_cfg"] and config["embed_dim"] in lengths
    return lambda config: isinstance(config["vision_cfg"].get("layers"), list)


def _vit_facts(shapes: Mapping[str, Shape], layout: Layout, file: str) -> tuple[int, ...]:
    for name, rank in (("conv1.weight", 4), ("positional_embedding", 2), ("proj", 2)):
        if len(shapes.get(name, ())) != rank:
            state = f"{shapes[name]} is no shape for it" if name in shapes else "it is missing"
            raise UnsupportedCheckpoint(
                f"Download {file} again; it cannot be told apart without {layout.prefix}{name}: {state}."
            )
    patch = shapes["conv1.weight"][-1]
    side = math.isqrt(max(shapes["positional_embedding"][0] - 1, 0))
    layers = len({name.split(".")[2] for name in shapes if name.startswith("transformer.resblocks.")})
    return (shapes["proj"][-1], shapes["conv1.weight"][0], layers, patch, side * patch)


def _vit_config_facts(config: Config) -> tuple[int, ...] | None:
    vision = config["vision_cfg"]
    if "timm_model_name" in vision or not isinstance(vision.get("layers"), int):
        return None
    patch, size = vision.get("patch_size", 16), vision.get("image_size", 224)
    return (config["embed_dim"], vision.get("width", 768), vision["layers"], patch, size // patch * patch)


def empty_tower(config: Config, quick_gelu: bool) -> torch.nn.Module:
    """OpenCLIP's visual module on the meta device, without its text half."""
    # OpenCLIP has no public way to build the visual half alone; the text half would double the time and may download.
    from open_clip.model import _build_vision_tower

    vision = {**config["vision_cfg"], "timm_model_pretrained": False}
    with torch.device("meta"):
        return _build_vision_tower(config["embed_dim"], vision, quick_gelu)


def candidate_tower(candidate: Candidate, file: str) -> torch.nn.Module:
    """An empty tower of a candidate.

    Raises UnsupportedCheckpoint when OpenCLIP cannot build it, or would have to download it.
    """
    if ":" in str(candidate.config["vision_cfg"].get("timm_model_name", "")):  # hf-hub:… would download
        raise UnsupportedCheckpoint(
            f"Remove the config of {file}, or take one that names no model to download, which is not done here."
        )
    try:
        return empty_tower(candidate.config, False)
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise UnsupportedCheckpoint(
            f"Correct or remove the config of {file}; it describes no tower OpenCLIP can build ({error})."
        ) from error
