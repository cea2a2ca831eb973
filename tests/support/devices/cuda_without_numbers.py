"""A CUDA device for training: its tensors have a device, a type, a shape and gradients, and no numbers.

Torch's own FakeTensorMode: operations raise where devices mix, and where a program would wait for the device to read a
value back. Nothing can be sampled or compared with it; `cuda_with_numbers` does that, and is for inference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

CUDA = torch.device("cuda")


@contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New tensors have no values; mixed precision and its scaler believe in the device."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *given, **more: True)
    with FakeTensorMode():
        yield


def onto_cuda(module: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Exchange what a module holds for tensors of the device, inside `fake_cuda`; dtype: of parameters, if another."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                fake = torch.empty(parameter.shape, dtype=dtype or parameter.dtype, device=CUDA)
                part._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA)
