"""ComfyUI's DynamicVRAM without a GPU: its own patcher and layers over stand-ins for its native buffers.

What it does on NVIDIA since torch 2.8: linear layers have no weights until they are loaded; small modules and raw
parameters are moved as a model is loaded, large ones are staged and cast at each use; the staged ones may be gone at
any time.
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

import pytest
import torch

from devices.cuda_in_main_memory import DEVICE, on_gpu

_PLENTY = 64 * 2**30


class Vbar:
    """GPU memory of a model's staged weights. What is freed is overwritten, so that who still reads it reads NaN."""

    room = _PLENTY  # bytes that can be there at once, of each model

    def __init__(self, size: int, device: int) -> None:
        self.memory = torch.empty(int(size) + 2**20, dtype=torch.uint8)
        self.offset, self.generation, self.there = 0, 1, dict[int, int]()

    def prioritize(self) -> None:
        """Nothing to do: each model has room of its own."""

    def alloc(self, size: int) -> tuple[Vbar, int, int]:
        """A place for a module's weights."""
        start = (self.offset + 511) & ~511
        self.offset = start + size
        return self, start, size

    def fault(self, start: int, size: int) -> Any:
        """What tells whether the place holds what it held before; None where there is no room for it."""
        if start not in self.there and sum(self.there.values()) + size > self.room:
            return None
        self.there[start] = size
        return (ctypes.c_uint32 * 1)(self.generation)

    def unpin(self, start: int, size: int) -> None:
        """The module's weights are not used any more for now."""

    def loaded_size(self) -> int:
        """Bytes that are there."""
        return sum(self.there.values())

    def free_memory(self, size: float) -> int:
        """Give everything back."""
        freed = self.loaded_size()
        self.memory.fill_(0xFF)
        self.there.clear()
        self.generation += 1
        return freed


class HostBuffer:
    """Main memory that a GPU copies from."""

    def __init__(self, size: int, prewarm: int = 0, max_grow_size: int = 0, *more: Any) -> None:
        self.size = int(size)
        self._memory = torch.empty(max(self.size, int(max_grow_size), 1), dtype=torch.uint8)

    def get_raw_address(self) -> int:
        """Where it begins."""
        return self._memory.data_ptr()

    def extend(self, size: int, *more: Any, **named: Any) -> int:
        """Make it longer."""
        self.size += int(size)
        return self.get_raw_address()

    def truncate(self, size: int, *more: Any, **named: Any) -> None:
        """Make it shorter; what lay behind is overwritten."""
        self._memory[int(size) : self.size].fill_(0xFF)
        self.size = int(size)


class _Runtime:
    """The two functions of the CUDA runtime that the host calls for its buffers."""

    def cudaHostRegister(self, *given: Any) -> int:  # noqa: N802, its name
        return 0

    def cudaHostUnregister(self, *given: Any) -> int:  # noqa: N802, its name
        return 0


def announce(patch: pytest.MonkeyPatch) -> None:
    """Let the host's layers be as they are with DynamicVRAM, everything else as it is."""
    import comfy.memory_management
    import comfy.model_management
    import comfy.ops

    patch.setattr(comfy.memory_management, "aimdo_enabled", True)
    if comfy.ops.manual_cast.Linear(1, 1).weight is not None:  # until 0.24 layers are so on Windows alone
        patch.setattr(comfy.model_management, "WINDOWS", True)


def switch_on(patch: pytest.MonkeyPatch, room: int = _PLENTY, free: int = _PLENTY) -> None:
    """All of DynamicVRAM, on `gpu.DEVICE`.

    room: bytes of each model's staged weights that can be there at once; free: of the GPU, as the host is told.
    """
    import comfy.model_management as memory
    import comfy.model_patcher
    import comfy_aimdo.host_buffer
    import comfy_aimdo.model_vbar
    import comfy_aimdo.torch

    announce(patch)
    patch.setattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcherDynamic)
    patch.setattr(comfy_aimdo.model_vbar, "ModelVBAR", Vbar)
    patch.setattr(comfy_aimdo.host_buffer, "HostBuffer", HostBuffer)
    patch.setattr(comfy_aimdo.torch, "aimdo_to_tensor", _tensor)
    patch.setattr(torch.cuda, "cudart", _Runtime)
    patch.setattr(torch.cuda, "synchronize", lambda *given: None)
    patch.setattr(Vbar, "room", room)
    for name in ("get_torch_device", "text_encoder_device"):
        patch.setattr(memory, name, lambda: DEVICE)
    patch.setattr(memory, "get_free_memory", partial(_free, free))
    patch.setattr(memory, "NUM_STREAMS", 0)


def _free(free: int, device: Any = None, torch_free_too: bool = False) -> Any:
    return (free, free) if torch_free_too else free


def _tensor(place: tuple[Vbar, int, int], device: torch.device) -> torch.Tensor:
    buffer, start, size = place
    return on_gpu(buffer.memory[start : start + size])
