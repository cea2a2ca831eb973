"""States of the host's modules while an adapter is trained on them, and afterwards as they were before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import comfy.model_management as memory
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside, the model has no gradients of its own, and weights that autograd accepts; its flags are put back."""
    _leave_inference_mode(model)
    with_gradient = [parameter for parameter in model.parameters() if parameter.requires_grad]
    in_training_mode = [module for module in model.modules() if module.training]
    model.requires_grad_(False).train(False)
    try:
        yield
    finally:
        for parameter in with_gradient:
            parameter.requires_grad_(True)
        for module in in_training_mode:
            module.training = True


def _leave_inference_mode(model: nn.Module) -> None:
    """Exchange weights that were loaded in inference mode for normal tensors over the same memory, for good.

    Autograd refuses inference tensors even where they only pass gradients on; to the host they are the same weights.
    """
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if type(parameter) is nn.Parameter and parameter.is_inference():
                module._parameters[name] = nn.Parameter(_alias(parameter), requires_grad=False)
        for name, buffer in module._buffers.items():
            if type(buffer) is Tensor and buffer.is_inference():
                module._buffers[name] = _alias(buffer)


def _alias(tensor: Tensor) -> Tensor:
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


@contextmanager
def in_training() -> Iterator[None]:
    """Inside, the host knows that gradients are needed: its quantized layers look here (ComfyUI 0.24 and later)."""
    before = getattr(memory, "in_training", False)
    memory.in_training = True
    try:
        yield
    finally:
        memory.in_training = before


@contextmanager
def checkpointed(network: nn.Module) -> Iterator[None]:
    """Inside, the inner tensors of blocks are computed again in the backward pass instead of being kept."""
    blocks = [block for block in network.modules() if isinstance(block, (BasicTransformerBlock, ResBlock))]
    own_forwards = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = partial(_compute_twice, block.forward)
    try:
        yield
    finally:
        for block, forward in zip(blocks, own_forwards, strict=True):
            del block.forward
            if forward is not None:
                block.forward = forward


def _compute_twice(forward: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    # The UNet goes on to change the options it hands to a block; the second pass must find what the first one did.
    args = tuple(_snapshot(value) for value in args)
    kwargs = {name: _snapshot(value) for name, value in kwargs.items()}
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


def _snapshot(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value
