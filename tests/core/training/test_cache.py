"""Tests of ip_adapter_core/training/cache.py: nothing is computed twice, nothing stale is used, nothing is lost."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.training import cache, shards
from comfyui_ip_adapter.ip_adapter_core.training.cache import cache_examples
from comfyui_ip_adapter.ip_adapter_core.training.pairs import CaptionedPicture
from comfyui_ip_adapter.ip_adapter_core.training.pictures import Picture
from comfyui_ip_adapter.ip_adapter_core.training.shards import CachedExamples
from comfyui_ip_adapter.ip_adapter_core.vision import preprocess

SIZE = 8


class Counted:
    """Models that say what they were given, and how often they were asked for one of the pictures."""

    sees = 5

    def __init__(
        self, scale: float = 1.0, width: int = 3, weights: str = "", interpolation: str = preprocess.BICUBIC
    ) -> None:
        self.scale, self.width, self.weights, self.interpolation = scale, width, weights, interpolation
        self.captions: list[str] = []

    def identity(self) -> str:
        return self.weights

    def encode(self, pictures: Picture, captions: Sequence[str]) -> dict[str, Tensor]:
        assert pictures.seen.shape[1:] == (self.sees, self.sees, 3)
        self.captions += [caption for caption in captions if caption.startswith("caption")]
        images = pictures.square
        colour = images.mean(dim=(1, 2)) * self.scale
        words = torch.tensor([[[float(len(caption))]] for caption in captions])
        return {"latents": images.movedim(-1, 1), "features": colour[:, : self.width], "context": words} | {
            "width": pictures.numbers[:, 1]
        }

    def nulls(self) -> dict[str, Tensor]:
        return {"features": torch.zeros(1, self.width), "context": torch.ones(1, 1, 1)}


@pytest.fixture
def pairs(tmp_path: Path) -> list[CaptionedPicture]:
    return [drawn(tmp_path, number) for number in range(20)]


def drawn(folder: Path, number: int) -> CaptionedPicture:
    path = folder / "pictures" / f"{number}.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (SIZE, SIZE), (number * 10, 0, 255)).save(path)
    return CaptionedPicture(path.name, f"caption {number}", path)


def make(
    pairs: Sequence[CaptionedPicture], folder: Path, encoder: Any = None, size: int = SIZE, **more: Any
) -> CachedExamples:
    return cache_examples(folder / "cache", pairs, encoder or Counted(), size, **more)


def test_examples_come_back_as_they_were_encoded_in_the_order_asked_for(
    pairs: list[CaptionedPicture], tmp_path: Path
) -> None:
    examples = make(pairs, tmp_path)
    assert len(examples) == 20
    rows = examples.rows([7, 3, 7])
    assert rows["latents"].shape == (3, 3, SIZE, SIZE)
    assert torch.allclose(rows["features"][:, 0], torch.tensor([70.0, 30.0, 70.0]) / 255, atol=1e-3)
    assert {name: values.dtype for name, values in rows.items()} == {
        **dict.fromkeys(("latents", "features", "context"), torch.float32),
        "width": torch.int32,
    }
    assert examples.nulls["context"].tolist() == [[[1.0]]]


def test_nothing_is_encoded_twice(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    encoder = Counted()
    make(pairs, tmp_path, encoder)
    again = make(pairs, tmp_path, encoder)
    assert sorted(encoder.captions) == sorted(pair.caption for pair in pairs)
    assert len(again) == 20


def test_only_new_and_changed_pairs_are_encoded(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    make(pairs, tmp_path)
    changed = [CaptionedPicture(pairs[0].name, "caption changed", pairs[0].path), *pairs[1:], drawn(tmp_path, 21)]
    encoder = Counted()
    examples = make(changed, tmp_path, encoder)
    assert encoder.captions == ["caption changed", "caption 21"]
    assert examples.rows([0])["context"].item() == len("caption changed")
    assert len(examples) == 21


@pytest.mark.parametrize("other", [dict(scale=1.1), dict(width=2), dict(scale=1.005, weights="other")])
def test_other_models_are_not_answered_with_what_these_said(
    pairs: list[CaptionedPicture], tmp_path: Path, other: dict[str, Any]
) -> None:
    first = make(pairs, tmp_path)
    encoder = Counted(**other)
    second = make(pairs, tmp_path, encoder)
    assert len(encoder.captions) == 20
    assert not torch.equal(first.rows([5])["features"], second.rows([5])["features"])
    returned = Counted(1.0001)  # as far away as another device may be
    make(pairs, tmp_path, returned)
    assert not returned.captions


def test_an_encoder_that_is_shown_pictures_otherwise_is_another(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    make(pairs, tmp_path)
    encoder = Counted(interpolation=preprocess.BILINEAR)
    make(pairs, tmp_path, encoder)
    assert len(encoder.captions) == 20
    again = Counted(interpolation=preprocess.BILINEAR)
    make(pairs, tmp_path, again)
    assert not again.captions


def test_another_size_is_encoded_anew(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    make(pairs, tmp_path)
    assert make(pairs, tmp_path, size=4).rows([0])["latents"].shape == (1, 3, 4, 4)


def test_an_interrupted_encoding_goes_on_where_it_stopped(
    pairs: list[CaptionedPicture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BATCH", 4)
    monkeypatch.setattr(shards, "SHARD", 8)
    encoder = Counted()

    def stop(done: int, of: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(pairs, tmp_path, encoder, on_picture=stop)
    assert len(encoder.captions) == 12
    assert len(make(pairs, tmp_path, encoder)) == 20
    assert len(encoder.captions) == 20
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_damaged_file_costs_only_its_own_pictures(
    pairs: list[CaptionedPicture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BATCH", 4)
    monkeypatch.setattr(shards, "SHARD", 4)
    make(pairs, tmp_path)
    shard = sorted(tmp_path.rglob("shard-*"))[1]
    shard.write_bytes(shard.read_bytes()[:40])
    encoder = Counted()
    examples = make(pairs, tmp_path, encoder)
    assert len(encoder.captions) == 4
    assert len(examples.rows(range(20))["context"]) == 20


def test_unreadable_pictures_are_named_and_left_out(
    pairs: list[CaptionedPicture], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 4):
        pairs[number].path.write_text("no picture")
    gone = [CaptionedPicture(f"gone{number}", "caption", tmp_path / "gone") for number in range(30)]
    with caplog.at_level(logging.WARNING):
        examples = make([*pairs, *gone[:1]], tmp_path)
    assert len(examples) == 17
    assert "4 of 21 pictures cannot be read" in caplog.text
    assert "3.png: the file is no picture" in caplog.text
    assert "gone0: the file does not exist" in caplog.text


def test_a_long_report_is_cut(pairs: list[CaptionedPicture], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = [CaptionedPicture(f"gone{number}", f"caption {number}", tmp_path / "gone") for number in range(30)]
    with caplog.at_level(logging.WARNING):
        make([*pairs, *gone], tmp_path)
    assert caplog.text.count("the file does not exist") == 20
    assert "and 10 more" in caplog.text


def test_no_readable_picture_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"of 1 none can, and the first is gone: the file does not"):
        make([CaptionedPicture("gone", "", tmp_path / "gone")], tmp_path)


def test_values_that_are_no_numbers_are_refused(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    class Broken(Counted):
        def encode(self, pictures: Picture, captions: Sequence[str]) -> dict[str, Tensor]:
            said = super().encode(pictures, captions)
            return said | {"latents": said["latents"] * float("nan")}

    with pytest.raises(ValueError, match=r"--fp32-vae.*latents that are no numbers"):
        make(pairs, tmp_path, Broken())


def test_values_too_large_for_half_precision_are_kept_whole(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    examples = make(pairs, tmp_path, Counted(scale=1e6))
    assert torch.allclose(examples.rows([0])["features"][0, 2], torch.tensor(1e6))


def test_what_is_read_in_inference_mode_can_be_trained_on(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    with torch.inference_mode():
        examples = make(pairs, tmp_path)
        rows = examples.rows([0])
    assert not any(values.is_inference() for values in (*rows.values(), *examples.nulls.values()))


class Opened:
    """Counts the files that are opened, and how many are open at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = self.open = self.most = 0
        self._real = shards.safe_open
        monkeypatch.setattr(shards, "safe_open", self)

    @contextmanager
    def __call__(self, *given: Any, **more: Any) -> Iterator[Any]:
        self.times, self.open = self.times + 1, self.open + 1
        self.most = max(self.most, self.open)
        with self._real(*given, **more) as file:
            yield file
        self.open -= 1


def test_every_file_is_opened_once_however_many_pictures_it_has(
    pairs: list[CaptionedPicture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BATCH", 4)
    monkeypatch.setattr(shards, "SHARD", 4)
    make(pairs, tmp_path)
    opened = Opened(monkeypatch)
    examples = make(pairs, tmp_path)
    assert opened.times == len(list(tmp_path.rglob("shard-*"))) == 5
    opened.times = 0
    examples.rows([*range(20), *range(20)])
    assert (opened.times, opened.most) == (5, 1)


def test_what_an_earlier_version_encoded_is_not_mixed_in(
    pairs: list[CaptionedPicture], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(pairs, tmp_path)
    (probe,) = tmp_path.rglob("probe.safetensors")
    shards.write(probe, load_file(probe))  # without saying what the encoder saw
    encoder = Counted()
    with caplog.at_level(logging.INFO):
        make(pairs, tmp_path, encoder)
    assert len(encoder.captions) == 20
    assert "an earlier version" in caplog.text
    assert len(list(tmp_path.rglob("probe.safetensors"))) == 2


def test_a_damaged_probe_is_not_read(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    make(pairs, tmp_path)
    (probe,) = tmp_path.rglob("probe.safetensors")
    probe.write_bytes(probe.read_bytes()[:20])
    assert len(make(pairs, tmp_path)) == 20


def test_changed_pictures_are_encoded_anew_and_are_other_examples(
    pairs: list[CaptionedPicture], tmp_path: Path
) -> None:
    before = make(pairs, tmp_path)
    Image.new("RGB", (SIZE * 2, SIZE), (1, 2, 3)).save(pairs[4].path)
    encoder = Counted()
    after = make(pairs, tmp_path, encoder)
    assert encoder.captions == ["caption 4"]
    assert after.rows([4])["width"].item() == SIZE * 2
    assert after.identity != before.identity


def test_examples_are_the_same_in_another_place(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    before = make(pairs, tmp_path)
    moved = (tmp_path / "pictures").rename(tmp_path / "moved")
    encoder = Counted()
    after = make([CaptionedPicture(pair.name, pair.caption, moved / pair.name) for pair in pairs], tmp_path, encoder)
    assert len(encoder.captions) == 20
    assert after.identity == before.identity


def test_whole_numbers_are_kept_exactly(pairs: list[CaptionedPicture], tmp_path: Path) -> None:
    Image.new("RGB", (2049, 2)).save(pairs[0].path)  # the first whole number that half precision lacks
    assert make(pairs, tmp_path).rows([0])["width"].tolist() == [2049]
