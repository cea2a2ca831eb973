"""Test-only custom node: another pack that has ids of IPAdapter Plus, each with inputs and a result of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import comfy.model_management
import torch

NAME = "the other pack's"

Result = dict[str, Any]


def said(text: str, *result: Any) -> Result:
    """Outputs, and a text that the server tells of the node."""
    return {"ui": {"said": [f"{NAME} {text}"]}, "result": result}


class Load:
    """The name of a file -> an IPADAPTER that nobody else can read."""

    RETURN_TYPES = ("IPADAPTER",)
    FUNCTION = "load"
    CATEGORY = "test"
    DESCRIPTION = NAME

    INPUT_TYPES = classmethod(lambda cls: {"required": {"ipadapter_file": (["its file"],)}})

    def load(self, ipadapter_file: str) -> Result:
        """What the node gives."""
        return said(ipadapter_file, f"{NAME} adapter")


class Advanced:
    """A MODEL as it came; an encoder is called as IPAdapter Plus calls it."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply_ipadapter"
    CATEGORY = "test"
    DESCRIPTION = NAME

    SOCKETS: ClassVar = {"model": ("MODEL",), "ipadapter": ("IPADAPTER",), "clip_vision": ("CLIP_VISION",)}
    INPUT_TYPES = classmethod(lambda cls: {"required": cls.SOCKETS})

    def apply_ipadapter(self, model: Any, ipadapter: str, clip_vision: Any) -> Result:
        """What the node gives."""
        comfy.model_management.load_model_gpu(clip_vision.patcher)
        size = clip_vision.image_size
        pixels = torch.zeros(1, 3, size, size, device=clip_vision.load_device)
        outputs = clip_vision.model(pixel_values=pixels, intermediate_output=-2)
        return said(f"{ipadapter}, {outputs[1].shape[-1]} wide", model)


class Encoder:
    """Embeds in the shape of before version 2, whose id today's shape has too."""

    RETURN_TYPES = ("EMBEDS",)
    FUNCTION = "preprocess"
    OUTPUT_NODE = True
    CATEGORY = "test"
    DESCRIPTION = NAME
    PICTURES: ClassVar = {"clip_vision": ("CLIP_VISION",), "image_1": ("IMAGE",)}
    VALUES: ClassVar = {"ipadapter_plus": ("BOOLEAN", {}), "noise": ("FLOAT", {"default": 0.0})}
    WEIGHTS: ClassVar = {f"weight_{number}": ("FLOAT", {"default": 1.0}) for number in (1, 2, 3, 4)}
    INPUT_TYPES = classmethod(lambda cls: {"required": cls.PICTURES | cls.VALUES | cls.WEIGHTS})

    def preprocess(self, **given: Any) -> Result:
        """What the node gives."""
        return said(", ".join(sorted(given)), given["image_1"])


NODE_CLASS_MAPPINGS = {"IPAdapterModelLoader": Load, "IPAdapterAdvanced": Advanced, "IPAdapterEncoder": Encoder}
