"""Adapters in ComfyUI's hands: the dtypes that files are stored in, and the room that it makes for them."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from devices.cuda_with_numbers import OnCuda, on_device
from fabricate import adapters

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["base", "plus"])
def test_a_file_of_few_bits_gives_the_prompt_of_its_own_numbers(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    from comfyui_ip_adapter.nodes.host.adapters import read

    nested = adapters.adapter(**adapters.KINDS[kind])
    rounded = {part: {name: value.to(dtype).float() for name, value in inner.items()} for part, inner in nested.items()}
    given = torch.randn(1, 5, 64) if kind == "plus" else torch.randn(1, 32)
    found, expected = (
        read("a", adapters.save(tmp_path / f"{stored}.safetensors", weights, stored)).prompt((given,), (given * 0,))
        for weights, stored in ((nested, dtype), (rounded, torch.float32))
    )
    for ours, theirs in zip(found.parts[0].keys_values, expected.parts[0].keys_values, strict=True):
        torch.testing.assert_close(ours.keys, theirs.keys, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.values, theirs.values, atol=1e-5, rtol=1e-5)


class Ledger:
    """How many bytes of tensors a device holds, at most at one time; views of one tensor count once."""

    def __init__(self) -> None:
        self.users: Counter[int] = Counter()
        self.sizes: dict[int, int] = {}
        self.peak = 0

    def enter(self, tensor: OnCuda) -> None:
        storage = tensor.held.untyped_storage()
        self.users[storage.data_ptr()] += 1
        self.sizes[storage.data_ptr()] = storage.nbytes()
        self.peak = max(self.peak, sum(self.sizes.values()))
        weakref.finalize(tensor, self.leave, storage.data_ptr())

    def leave(self, place: int) -> None:
        self.users[place] -= 1
        if not self.users[place]:
            del self.users[place], self.sizes[place]


@contextmanager
def watched(patch: pytest.MonkeyPatch) -> Iterator[tuple[Ledger, list[int]]]:
    """What the device holds from now on, and the bytes that the host was asked for each time."""
    import comfy.model_management as memory

    ledger, asked = Ledger(), list[int]()
    new: Callable[..., OnCuda] = OnCuda.__new__
    load: Callable[..., None] = memory.load_models_gpu

    def noted(cls: type[OnCuda], held: torch.Tensor) -> OnCuda:
        made = new(cls, held)
        ledger.enter(made)
        return made

    def loaded(models: Any, memory_required: int = 0, **more: Any) -> None:
        asked.append(memory_required)
        load(models, memory_required, **more)

    with patch.context() as here:
        here.setattr(OnCuda, "__new__", noted)
        here.setattr(memory, "load_models_gpu", loaded)
        yield ledger, asked


@pytest.mark.parametrize("images", [1, 40])
def test_the_host_makes_room_for_what_a_block_of_a_large_adapter_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inference_mode: None, images: int
) -> None:
    from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
    from comfyui_ip_adapter.nodes.host.adapters import read

    file = adapters.save(tmp_path / "a.safetensors", adapters.adapter(**adapters.KINDS["InstantX Flux"]))

    def encode() -> int:
        adapter, given = read("a", file), torch.randn(images, 1152)
        adapter.prompt((given,), (given[:1] * 0,), Gathering("one per frame"))
        return int(adapter.patcher.model_size())

    with watched(monkeypatch) as (ledger, asked):
        held, _ = on_device(encode)
    assert held < ledger.peak <= held + max(asked) < 4 * ledger.peak


def test_a_run_that_is_cancelled_ends_between_two_blocks(tmp_path: Path) -> None:
    import comfy.model_management as memory

    from comfyui_ip_adapter.nodes.host.adapters import read

    file = adapters.save(tmp_path / "a.safetensors", adapters.adapter(**adapters.KINDS["InstantX Flux"]))
    adapter, given = read("a", file), torch.randn(1, 1152)
    network = adapter.patcher.model
    first, second, *_ = network.layers()
    first.register_forward_hook(lambda *_: memory.interrupt_current_processing())
    second.register_forward_hook(lambda *_: pytest.fail("The next block was made."))
    with pytest.raises(memory.InterruptProcessingException):
        adapter.prompt((given,), (given * 0,))
    assert not memory.processing_interrupted()
