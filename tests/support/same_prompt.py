"""Image prompts to keep, and whether two are the same, bit for bit."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import zip_longest

import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.identity import Identity
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.features import AdapterInputs
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, Origin, PromptPart, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.instruction import Instruction
from fabricate import adapters

MASKS = torch.rand(3, 6, 8, generator=torch.Generator().manual_seed(7))
GATHERINGS = {
    "alike": Gathering(),
    "weighted": Gathering("concat", (1.0, 0.3, 2.0)),
    "separate": Gathering("separate", (0.1, -0.7, 1.0)),
    "masked": Gathering("concat", (1.0, 0.5, 0.25), MASKS),
    "one per frame": Gathering("one per frame", (1.0, 0.0, 0.9), MASKS),
    "average": Gathering("average", (1.0, 0.3, 2.0)),
}


_STATES = {"hidden": (5,), "normed_hidden": (5,), "levels": (adapters.LEVELS, 5)}
"""Fields that are more than a vector of each image -> the shape before its width."""


def read(identity: Identity, images: int = 3, seed: int = 0) -> AdapterInputs:
    """Something that the adapter could read of images, in the order of its fields."""
    random = torch.Generator().manual_seed(seed)
    shapes = [(*_STATES.get(field, ()), width) for field, width in _fields(identity)]
    return tuple(torch.randn(images, *shape, generator=random) for shape in shapes)


def told(identity: Identity, seed: int = 3) -> Instruction | None:
    """Something that an adapter of an instructed kind could be told; None for the others."""
    if identity.text_width is None:
        return None
    random = torch.Generator().manual_seed(seed)
    return Instruction(*(torch.randn(1, 7, identity.text_width, generator=random) for _ in range(4)))


def prompt_of(network: Adapter, how: str = "alike", name: str = "a.safetensors") -> ImagePrompt:
    """A prompt of three images and two negative ones, that knows its adapter."""
    identity = network.identity()
    made = image_prompt(network, read(identity), read(identity, 2, seed=1), GATHERINGS[how], told(identity))
    return replace(made, origin=Origin(name, network.digest()))


def assert_same(one: ImagePrompt, other: ImagePrompt) -> None:
    """Both prompts say the same of every part."""
    for name in ("identity", "lora", "make_keys_values", "origin"):
        assert getattr(one, name) == getattr(other, name)
    for ours, theirs in zip(one.parts, other.parts, strict=True):
        assert ours.weights == theirs.weights
        assert ours.images == theirs.images
        assert (ours.attn_bias is None) == (theirs.attn_bias is None)
        assert len(ours.keys_values) == len(theirs.keys_values)
        for a, b in zip_longest(_tensors(ours), _tensors(theirs)):
            assert a.dtype == b.dtype
            assert a.device == b.device
            assert torch.equal(a, b)


def _fields(identity: Identity) -> Iterable[tuple[str, int]]:
    return zip(identity.variant.reads, identity.widths, strict=True)


def _tensors(part: PromptPart) -> list[Tensor]:
    """All tensors of a part, in a fixed order."""
    attn_bias = () if part.attn_bias is None else (part.attn_bias,)
    pairs = (tensor for pair in part.keys_values for tensor in pair)
    return [part.tokens, part.row_index, *attn_bias, *part.masks, *pairs]
