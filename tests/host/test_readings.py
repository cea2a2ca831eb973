"""What was read of a picture is read once, for as long as the picture is there and its files are the same."""

import gc
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.catalogue.choose import FilePair
from comfyui_ip_adapter.ip_adapter_core.settings.instruction import Instruction

pytestmark = pytest.mark.usefixtures("comfy")

MODEL: Any = object()


class Loaded:
    """An adapter or an encoder."""


@pytest.fixture
def read(model_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`readings.read` over an adapter for each kind, which only notes what was encoded."""
    from comfyui_ip_adapter.nodes.host import auto, encoding, readings

    def choose_files(model: Any, kind: str) -> auto.Choice:
        return auto.Choice(FilePair(f"{kind}.safetensors", None), f"the adapter {kind}")

    def encode_prompt(adapter: Any, encoder: Any, images: Any, look: Any) -> Any:
        noted.append((adapter, look.fit))
        return object(), images.clone()

    noted: list[tuple[str, str]] = []
    for kind in ("base", "plus"):
        (model_folders / "ipadapter" / f"{kind}.safetensors").write_text(kind)
    monkeypatch.setattr(auto, "choose_files", choose_files)
    monkeypatch.setattr(auto, "load", lambda choice: auto.Found(choice.pair.adapter, None, choice.report))
    monkeypatch.setattr(encoding, "encode_prompt", encode_prompt)
    readings._kept.clear()
    return SimpleNamespace(
        of=lambda image, kind="base", fit="pad", mask=None: readings.read(MODEL, image, kind, fit, mask), noted=noted
    )


def picture() -> torch.Tensor:
    return torch.rand(1, 8, 8, 3)


def test_a_picture_is_read_once_in_each_way(read: Any) -> None:
    image = picture()
    first = read.of(image)
    assert read.of(image) is first
    assert read.of(image, fit="squash") is not first
    assert read.of(image, "plus").found.report == "the adapter plus"
    assert read.of(image) is first
    assert read.noted == [("base.safetensors", "pad"), ("base.safetensors", "squash"), ("plus.safetensors", "pad")]


def test_a_part_of_a_picture_is_another_reading_and_an_equal_mask_the_same(read: Any) -> None:
    image, mask = picture(), torch.rand(1, 4, 4)
    whole, part = read.of(image), read.of(image, mask=mask)
    assert part is not whole
    assert read.of(image, mask=mask.clone()) is part
    assert read.of(image, mask=mask.flip(-1)) is not part
    assert read.of(image, mask=mask.reshape(1, 2, 8)) is not part
    assert read.of(image) is whole


def test_an_equal_picture_is_another_one(read: Any) -> None:
    """ComfyUI hands on the same object for as long as a result is cached; to compare pixels would take longer."""
    image = picture()
    assert read.of(image) is not read.of(image.clone())
    assert len(read.noted) == 2


def test_what_was_read_goes_with_the_picture(read: Any) -> None:
    from comfyui_ip_adapter.nodes.host import readings

    image = picture()
    read.of(image)
    assert len(readings._kept) == 1
    del image
    gc.collect()
    assert not len(readings._kept)


def test_another_file_under_the_name_is_read_anew(read: Any, model_folders: Path) -> None:
    image = picture()
    first, file = read.of(image), model_folders / "ipadapter" / "base.safetensors"
    file.write_text("another one")
    os.utime(file, ns=(1, 1))
    assert read.of(image) is not first


def test_no_more_than_a_few_readings_of_a_picture_are_kept(read: Any) -> None:
    from comfyui_ip_adapter.nodes.host import readings

    image = picture()
    ways = [("base", "pad", torch.full((1, 8, 8), n / 100)) for n in range(1, readings._MOST + 3)]
    for way in ways:
        read.of(image, *way)
    assert len(readings._kept[image]) == readings._MOST < len(ways)
    read.of(image, *ways[-1])
    assert len(read.noted) == len(ways)


def test_a_picture_is_encoded_once_by_each_adapter_and_encoder(read: Any) -> None:
    """A moodboard asks so in every run: another strength, role, time or weight of a card leaves all of these alike."""
    from comfyui_ip_adapter.nodes.host import readings
    from comfyui_ip_adapter.nodes.host.encoding import Look

    first, second, encoder = Loaded(), Loaded(), Loaded()
    image, mask = picture(), torch.rand(1, 4, 4)
    told, other = (Instruction(*torch.rand(4, 1, 2, 3)) for _ in range(2))
    prompt = readings.encode(first, encoder, image, Look("pad"))
    assert readings.encode(first, encoder, image, Look("pad")) is prompt
    assert readings.encode(second, encoder, image, Look("pad")) is not prompt
    assert readings.encode(first, Loaded(), image, Look("pad")) is not prompt
    assert readings.encode(first, encoder, image, Look("pad", mask=mask)) is not prompt
    instructed = readings.encode(first, encoder, image, Look("pad", instruction=told))
    assert instructed is not prompt
    assert readings.encode(first, encoder, image, Look("pad", instruction=told)) is instructed
    assert readings.encode(first, encoder, image, Look("pad", instruction=other)) is not instructed
    assert len(read.noted) == 6
