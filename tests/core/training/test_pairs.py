"""Tests of ip_adapter_core/training/pairs.py and listings.py: what is found where, and what a picture becomes."""

import io
import json
import logging
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from comfyui_ip_adapter.ip_adapter_core.training import pictures
from comfyui_ip_adapter.ip_adapter_core.training.pairs import CaptionedPicture, find, fingerprint
from comfyui_ip_adapter.ip_adapter_core.training.pictures import Unreadable
from comfyui_ip_adapter.ip_adapter_core.vision import preprocess


def draw(path: Path, width: int = 8, height: int = 8, colour: tuple[int, ...] = (255, 0, 0), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), colour).save(path)
    return path


def read(pair: CaptionedPicture, size: int) -> torch.Tensor:
    """The square that the frozen model learns from."""
    return pictures.read(pair, size, sees=4).square


def captions(source: Path) -> dict[str, str]:
    return {pair.name: pair.caption for pair in find(source)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("  a red apple\n", encoding="utf-8")
    draw(tmp_path / "inner" / "b.JPG")
    (tmp_path / "inner" / "b.caption").write_text("ein Würfel", encoding="utf-8")
    (tmp_path / "notes.md").write_text("no picture")
    return tmp_path


def test_a_folder_gives_its_pictures_with_the_captions_beside_them(folder: Path) -> None:
    assert captions(folder) == {"a.png": "a red apple", "inner/b.JPG": "ein Würfel"}


LISTINGS = {
    "metadata.jsonl": '{"file_name": "a.png", "text": "listed, \\"a\\""}\n\n{"file": "inner/b.JPG", "text": "b"}\n',
    "metadata.csv": 'file_name,text\na.png,"listed, ""a"""\ninner/b.JPG,b\n',
    "captions.json": json.dumps({"a.png": 'listed, "a"', "inner/b.JPG": {"caption": "b"}}),
}


@pytest.mark.parametrize(("name", "text"), LISTINGS.items(), ids=LISTINGS)
def test_captions_listed_in_a_folder_come_before_those_beside_the_pictures(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    assert captions(folder) == {"a.png": 'listed, "a"', "inner/b.JPG": "b"}


LISTS = {
    "list.jsonl": '{"image": "a.png", "caption": "one"}\n{"image": "inner/b.JPG", "caption": "two"}',
    "list.json": '[{"image": "a.png", "caption": "one"}, {"image": "inner/b.JPG", "caption": "two"}]',
    "list.csv": "image,caption\na.png,one\ninner/b.JPG,two\n",
    "list.tsv": "image\tcaption\na.png\tone\ninner/b.JPG\ttwo\n",
    "list.txt": "a.png\tone\ninner/b.JPG\ttwo\n",
}


@pytest.mark.parametrize(("name", "text"), LISTS.items(), ids=LISTS)
def test_a_list_names_pictures_relative_to_itself(folder: Path, name: str, text: str) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / name).write_text(text.replace("a.png", "../a.png").replace("inner", "../inner"))
    found = find(folder / "lists" / name)
    assert [pair.caption for pair in found] == ["one", "two"]
    assert [read(pair, 4).shape for pair in found] == [(4, 4, 3)] * 2


def pack(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def png(colour: tuple[int, int, int]) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(written, "png")
    return written.getvalue()


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    pack(tmp_path / "s-00.tar", {"x/1.png": png((255, 0, 0)), "x/1.txt": b"red", "x/1.json": b'{"other": 1}'})
    pack(tmp_path / "s-01.tar", {"2.json": b'{"caption": "green"}', "2.png": png((0, 255, 0)), "2.seg.cls": b"3"})
    return tmp_path


@pytest.mark.parametrize("source", ["s-{00..01}.tar", ""])
def test_shards_are_read_by_pattern_and_by_folder(shards: Path, source: str) -> None:
    found = find(shards / source)
    assert [(pair.name.rsplit("/", 1)[1], pair.caption) for pair in found] == [("1.png", "red"), ("2.png", "green")]
    assert [tuple(read(pair, 2)[0, 0].tolist()) for pair in found] == [(1, 0, 0), (0, 1, 0)]


def test_a_single_shard_is_read(shards: Path) -> None:
    assert captions(shards / "s-01.tar") == {"s-01.tar/2.png": "green"}


def test_pictures_without_caption_are_reported_once_with_their_number(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw(folder / "c.png")
    draw(folder / "d.png")
    with caplog.at_level(logging.WARNING):
        assert captions(folder)["c.png"] == ""
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("2 of 4 pictures")


BAD = {
    "missing": "missing does not exist. Needed is a folder",
    "empty": "none were found in .*empty. Needed is a folder",
    "notes.md": "notes.md cannot be read as a list of pictures",
    "s-{0..x}.tar": r"Write the shards as shards-\{0000..0009\}.tar; s-\{0..x\}.tar is no range",
    "s-{0..1}.tar": "s-0.tar does not exist",
    "s-{0..²}.tar": r"s-\{0..²\}.tar is no range of them",
    "s-{0000..1000000}.tar": r"Name 1 to 1000000 shards.*; s-\{0000..1000000\}.tar names 1000001",
    "s-{5..4}.tar": "Name 1 to 1000000 shards.* names 0",
    f"s-{{0..{'9' * 5000}}}.tar": "is no range of them",
    "a" * 12_000: "a+… does not exist. Needed is",
    "nul\0": r"nul\\0 does not exist",
    "\ud83d": r"\\ud83d does not exist",
    "\ud83d.csv": r"\\ud83d.csv does not exist",
    "~nobody at all": "nobody at all does not exist",
    "packed.tar": r"Unpack packed.tar or make it again; it is no plain .tar archive",
    "broken.jsonl": "Correct entry 2 of broken.jsonl: it is no JSON",
    "columns.csv": r"Correct entry 1 of columns.csv: there is no column file_name .*\(found picture, words\)",
    "plain.txt": "Correct entry 1 of plain.txt: there is no tab",
    "numbers.jsonl": "Correct entry 1 of numbers.jsonl: an object with file_name and text is needed, this is int",
}


@pytest.mark.parametrize(("source", "says"), BAD.items(), ids=[ascii(source[:24]) for source in BAD])
def test_a_source_that_cannot_be_understood_is_refused_with_what_is_needed(
    folder: Path, source: str, says: str
) -> None:
    (folder / "empty").mkdir()
    pack(folder / "packed.tar", {"1.png": png((1, 2, 3))}, "w:gz")
    (folder / "broken.jsonl").write_text('{"file_name": "a.png"}\n{"file_name"')
    (folder / "columns.csv").write_text("picture,words\na.png,red\n")
    (folder / "plain.txt").write_text("a red apple\n")
    (folder / "numbers.jsonl").write_text("1\n")
    with pytest.raises(ValueError, match=says) as refused:
        find(folder / source)
    assert str(refused.value).encode()
    assert fingerprint(folder / source) == fingerprint(folder / source)


def test_the_shortest_side_is_resized_and_the_centre_cut_out(tmp_path: Path) -> None:
    picture = np.zeros((10, 40, 3), dtype=np.uint8)
    picture[:, 15:20, 0] = 255
    picture[:, 20:25, 1] = 255
    Image.fromarray(picture).save(tmp_path / "wide.png")
    seen = read(CaptionedPicture("wide", "", tmp_path / "wide.png"), 4)
    assert seen.shape == (4, 4, 3)
    assert seen.dtype == torch.float32
    assert seen[0].argmax(dim=-1).tolist() == [0, 0, 1, 1]


def test_the_resize_averages_rather_than_skips(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    seen = read(CaptionedPicture("stripes", "", tmp_path / "stripes.png"), 8)
    assert (seen - 0.5).abs().max() < 0.05


def test_grey_transparent_and_turned_pictures_become_upright_rgb(tmp_path: Path) -> None:
    assert read(CaptionedPicture("grey", "", draw(tmp_path / "grey.png", colour=(255,), mode="L")), 4).shape == (
        4,
        4,
        3,
    )
    assert (
        read(CaptionedPicture("alpha", "", draw(tmp_path / "a.png", colour=(255, 0, 0, 9), mode="RGBA")), 4)[0, 0, 0]
        == 1
    )
    turned = Image.new("RGB", (8, 8))
    turned.paste((255, 255, 255), (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "turned.png", exif=exif)
    seen = read(CaptionedPicture("turned", "", tmp_path / "turned.png"), 8)
    assert seen[0, 0, 0] == 0
    assert seen[7, 0, 0] == 1


def test_a_picture_that_cannot_be_read_says_its_name_and_why(tmp_path: Path) -> None:
    whole = draw(tmp_path / "whole.png", 64, 64).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("half.png", "text.png"):
        with pytest.raises(Unreadable, match=f"{name}: ."):
            read(CaptionedPicture(name, "", tmp_path / name), 8)
    with pytest.raises(Unreadable, match=r"gone\.png: the file does not exist"):
        read(CaptionedPicture("gone.png", "", tmp_path / "gone.png"), 8)


def test_the_stamp_changes_with_the_picture_and_with_the_caption(tmp_path: Path) -> None:
    pair = CaptionedPicture("a", "one", draw(tmp_path / "a.png"))
    before = pair.stamp()
    assert CaptionedPicture("a", "one", tmp_path / "a.png").stamp() == before
    assert CaptionedPicture("a", "two", tmp_path / "a.png").stamp() != before
    draw(tmp_path / "a.png", 16, 16)
    assert pair.stamp() != before


LATIN_1 = os.fsdecode(b"caf\xe9.png")


def test_names_and_captions_that_are_no_text_are_said_in_text(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / LATIN_1).write_text("no picture")
    (folder / "list.jsonl").write_text('{"file_name": "\\ud83d.png", "text": "half \\ud83d"}')
    (found,) = [pair for pair in find(folder) if pair.name == LATIN_1]
    (listed,) = find(folder / "list.jsonl")
    assert listed.caption == "half ?"
    for pair, says in ((found, r"caf\\udce9.png: the file is no picture"), (listed, r"\\ud83d.png: ")):
        with pytest.raises(Unreadable, match=says) as unreadable:
            read(pair, 8)
        assert str(unreadable.value).encode()
    with caplog.at_level(logging.WARNING):
        find(folder)
    assert caplog.text.encode()


def test_endings_in_capitals_are_read_as_others_are(folder: Path, shards: Path) -> None:
    (folder / "LIST.CSV").write_text(LISTS["list.csv"])
    (shards / "s-00.tar").rename(shards / "S.TAR")
    assert captions(folder / "LIST.CSV") == {"a.png": "one", "inner/b.JPG": "two"}
    assert captions(shards / "S.TAR") == {"S.TAR/x/1.png": "red"}


def test_a_fingerprint_changes_with_every_file_of_a_data_set_and_only_then(folder: Path, shards: Path) -> None:
    (folder / "list.jsonl").write_text(LISTS["list.jsonl"])
    sources = (folder, folder / "list.jsonl", shards / "s-{00..01}.tar")

    def fingerprints() -> list[str]:
        return [fingerprint(source) for source in sources]

    def touched(path: Path) -> list[bool]:
        before = fingerprints()
        os.utime(path, ns=(1, os.stat(path).st_mtime_ns + 1000))
        return [one != other for one, other in zip(before, fingerprints(), strict=True)]

    assert fingerprints() == fingerprints()
    assert touched(folder / "inner" / "b.JPG") == [True, True, False]
    assert touched(folder / "a.txt") == [True, False, False]
    assert touched(folder / "list.jsonl") == [True, True, False]
    assert touched(shards / "s-01.tar") == [True, False, True]
    before = fingerprint(folder)
    draw(folder / "new.png")
    assert fingerprint(folder) != before


@pytest.mark.parametrize(("width", "height"), [(97, 64), (64, 97), (64, 64), (333, 200), (31, 50), (2000, 20)])
def test_the_encoder_sees_the_whole_picture_and_the_model_its_square(width: int, height: int, tmp_path: Path) -> None:
    """As the published training: the encoder's own preprocessing of the original beside a bilinear square of it."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    found = pictures.read(CaptionedPicture("noise", "", tmp_path / "noise.png"), 48, sees=28)
    side = 48 * max(width, height) // min(width, height)
    corner = (side - 48) // 2
    top, left = (corner, 0) if height > width else (0, corner)
    if max(width, height) <= 16 * min(width, height):
        original = torch.from_numpy(noise)[None].float() / 255
        assert torch.equal(found.seen, preprocess.fit(original, 28)[0])
        softer = pictures.read(CaptionedPicture("noise", "", tmp_path / "noise.png"), 48, 28, preprocess.BILINEAR)
        assert torch.equal(softer.seen, preprocess.fit(original, 28, interpolation=preprocess.BILINEAR)[0])
        assert torch.equal(softer.square, found.square)
        whole = transforms.Resize(48, transforms.InterpolationMode.BILINEAR)(Image.fromarray(noise))
        cut = transforms.functional.crop(whole, top, left, 48, 48)
        assert torch.equal(found.square, transforms.functional.to_tensor(cut).movedim(0, -1))
    named = dict(zip(pictures.NUMBERS, found.numbers.tolist(), strict=True))
    published = {"height": height, "width": width, "crop_h": top, "crop_w": left}
    assert named == published | {"target_height": 48, "target_width": 48}


def test_a_search_can_be_ended_after_any_picture(folder: Path) -> None:
    found: list[None] = []

    def interrupt() -> None:
        found.append(None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(folder, interrupt)
    assert len(found) == 1


def test_a_very_long_picture_is_its_middle(tmp_path: Path) -> None:
    long = np.zeros((10, 9000, 3), dtype=np.uint8)
    long[:, 4490:4510] = 255
    Image.fromarray(long).save(tmp_path / "long.png")
    found = pictures.read(CaptionedPicture("long", "", tmp_path / "long.png"), 8, sees=6)
    assert found.square.min() == found.seen.min() == 1
    assert found.numbers.tolist() == [10, 9000, 0, (7200 - 8) // 2, 8, 8]
