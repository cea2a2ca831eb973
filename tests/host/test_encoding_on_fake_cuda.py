"""From pictures and faces to prompts on a CUDA device: what is made there is what is made here, and it comes home."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.faces.features import Faces, Portrait
from comfyui_ip_adapter.ip_adapter_core.prompts.features import Features
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from devices.cuda_with_numbers import CUDA, OnCuda, on_device
from fabricate import adapters
from fabricate.towers import TINY
from same_tower import cores, save_tower

pytestmark = pytest.mark.usefixtures("comfy", "inference_mode")


NEAR = {torch.float16: 0.005, torch.bfloat16: 0.03}  # of what a tower computes; adapters compute in fp32
HOME = {"vision._off_device"}  # what encoders say is brought home
MADE = {"adapters._off"}  # so are tokens, keys and values
KINDS: dict[str, dict[str, Any]] = {
    "base": {},
    "plus": {"kind": "plus", "embed": TINY.width, "tokens": 16},
    "full face": {"kind": "full face", "embed": TINY.width},
    "FaceID": adapters.KINDS["FaceID"],
    "portrait": adapters.KINDS["portrait"],
    "FaceID-Plus v2": {**adapters.KINDS["FaceID-Plus v2"], "embed": TINY.width},
}


def pictures(images: int = 2) -> Tensor:
    return torch.rand(images, 70, 90, 3, generator=torch.Generator().manual_seed(0))


def faces() -> Faces:
    """Two, one with its picture as it is and one cut out along its points."""
    random = torch.Generator().manual_seed(1)
    levels = torch.randint(0, 256, (2, 60, 60, 3), generator=random, dtype=torch.uint8)
    points = torch.tensor([[20.0, 24.0], [38.0, 24.0], [29.0, 33.0], [22.0, 42.0], [36.0, 42.0]])
    portraits = (Portrait(levels[0]), Portrait(levels[1], points))
    return Faces(torch.randn(2, 512, generator=random) * 20, portraits)


def ours(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    from comfyui_ip_adapter.ip_adapter_core.vision import encoder as vision
    from comfyui_ip_adapter.nodes.host.vision import OpenClipVision

    save_tower(folder / "tower.safetensors")
    return OpenClipVision(vision.load(folder / "tower.safetensors", "auto", dtype), device)


def cores_own(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    import comfy.model_management as memory

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "text_encoder_device", lambda: device)
        patch.setattr(memory, "text_encoder_dtype", lambda device: dtype)
        return cores(folder)


ENCODERS: dict[str, Callable[[Path, torch.dtype, torch.device], Any]] = {"ours": ours, "core's": cores_own}


def difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


def there_and_here(use: Callable[[torch.device], Any]) -> tuple[Any, Any, set[str]]:
    """What comes out on the device and on the processor, and which functions of this package waited for the device."""
    found, waits = on_device(lambda: use(CUDA))
    return found, use(torch.device("cpu")), set(waits)


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_there_says_what_it_says_here(tmp_path: Path, encoder: str, dtype: torch.dtype) -> None:
    from comfyui_ip_adapter.nodes.host import vision

    def said(device: torch.device) -> list[Tensor]:
        made = ENCODERS[encoder](tmp_path, dtype if device == CUDA else torch.float32, device)
        several: tuple[Features, ...] = (vision.features(made, pictures()), vision.blank_features(made))
        parts = [part for one in several for part in (one.embeds, one.hidden) if part is not None]
        assert not any(isinstance(part, OnCuda) for part in parts)
        return parts

    found, expected, waits = there_and_here(said)
    assert len(found) == 4
    assert max(map(difference, found, expected)) < NEAR[dtype]
    assert waits == HOME


def prompt(kind: str, encoder: Any, file: Path) -> ImagePrompt:
    from comfyui_ip_adapter.nodes.host import encoding
    from comfyui_ip_adapter.nodes.host.adapters import read

    adapter = read(file.name, file)
    if adapter.identity.reads_faces:
        return encoding.face_prompt(adapter, encoder, faces())[0]
    return encoding.encode_prompt(adapter, encoder, pictures(), encoding.Look(detail="whole and tiles"))[0]


def numbers(prompt: ImagePrompt) -> dict[str, Tensor]:
    """Tokens, keys and values of all its parts."""
    found = {"tokens": torch.cat([part.tokens.flatten() for part in prompt.parts])}
    for name in ("keys", "values"):
        pairs = [getattr(pair, name) for part in prompt.parts for pair in part.keys_values]
        assert not any(isinstance(one, OnCuda) for one in pairs)
        found[name] = torch.cat([one.flatten() for one in pairs])
    return found


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_made_there_is_that_made_here(tmp_path: Path, kind: str, encoder: str, dtype: torch.dtype) -> None:
    file = adapters.save(tmp_path / "adapter.safetensors", adapters.adapter(**KINDS[kind]))

    def made(device: torch.device) -> dict[str, Tensor]:
        tower = ENCODERS[encoder](tmp_path, dtype if device == CUDA else torch.float32, device)
        return numbers(prompt(kind, tower, file))

    found, expected, waits = there_and_here(made)
    for name, one in found.items():
        assert difference(one, expected[name]) < NEAR[dtype], name
    assert MADE <= waits <= HOME | MADE
