"""The small world's people: their words, the networks that find and recognise them, and the FaceID adapter."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters import loading
from comfyui_ip_adapter.ip_adapter_core.faces.detection import ANCHORS, STRIDES, decode
from comfyui_ip_adapter.ip_adapter_core.faces.insightface_packs import pack
from comfyui_ip_adapter.ip_adapter_core.faces.networks import DETECTION, RECOGNITION, FaceNetworks
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import entries
from comfyui_ip_adapter.ip_adapter_core.small_world import people, portraits
from package import ROOT

FOLDER = ROOT / "models" / "small_world"
PACK = FOLDER / "insightface" / "small_world"
COUNT = 32


@pytest.fixture(scope="module")
def recipe(comfy: None) -> Any:
    """The recipe's modules, which need a ComfyUI."""
    from comfyui_ip_adapter.benchmarks.small_world import words
    from comfyui_ip_adapter.benchmarks.small_world.faces import detection, sampling, table

    modules = (words, detection, sampling, table)
    return SimpleNamespace(**{module.__name__.rpartition(".")[2]: module for module in modules})


@pytest.fixture(scope="module")
def shown() -> list[people.Portrait]:
    """Portraits of people with traits that no model and no adapter was shown."""
    return [people.portrait(people.person(77, n, unseen=True), 78, n) for n in range(COUNT)]


@pytest.fixture(scope="module")
def networks() -> FaceNetworks:
    """The shipped ones, run by onnxruntime."""
    return FaceNetworks(PACK / "detection.onnx", PACK / "recognition.onnx")


def levels(shown: list[people.Portrait]) -> Tensor:
    """Pictures (n, h, w, 3) in eight-bit levels."""
    return (portraits.draw(shown).movedim(1, -1) * 255).round().contiguous()


def test_every_word_of_a_caption_is_one_token_and_older_words_keep_theirs(recipe: Any) -> None:
    from comfyui_ip_adapter.nodes.host.small_world import END, Tokenizer

    host, ours = Tokenizer(), recipe.words.tokenizer()
    texts = [people.caption(people.portrait(people.person(9, n), 8, n)) for n in range(60)]
    for text in texts:
        (tokens,) = host.tokenize_with_weights(text)["l"]
        numbers = [token for token, _ in tokens if token < END - 1 or token > END]
        assert len(numbers) == len(text.split())
        assert max(numbers) < recipe.words.numbers()
    for word in recipe.words.WORDS:
        (tokens,) = host.tokenize_with_weights(word)["l"]
        assert [token for token, _ in tokens] == recipe.words.padded(ours([word]))[0].tolist()


def test_a_detector_learns_what_scrfd_would_be_read_as(recipe: Any) -> None:
    """What it should say of one face, said for sure, is read as that face by the package's own reader."""
    points = torch.tensor([[[10.0, 9.0], [17.0, 9.5], [13.0, 13.0], [10.5, 16.0], [16.5, 16.2]]])
    boxes = torch.tensor([[[6.0, 4.0], [21.0, 22.0]]])
    near, right = recipe.detection.wanted(points, boxes, 20, 20)
    assert 3 <= near.sum() <= 60
    rows = torch.cat([near[0, :, None].float(), right[0]], dim=-1).repeat_interleave(ANCHORS, dim=0)
    empty = [torch.zeros((640 // stride) ** 2 * ANCHORS, 15) for stride in STRIDES[:-1]]
    outputs = [grid[:, first:last] for first, last in recipe.detection.PARTS.values() for grid in (*empty, rows)]
    found = decode(outputs, 640, 640)
    assert len(found.scores) == 1
    pixels = 16.0  # of the picture for each that it looks at
    torch.testing.assert_close(found.points, points * pixels)
    torch.testing.assert_close(found.boxes, boxes.flatten(1) * pixels)


def test_the_pack_is_one_that_everything_reads() -> None:
    found = pack(PACK)
    assert found.complaint() is None
    assert set(found.networks) == {DETECTION, RECOGNITION}
    assert not found.others
    assert not found.damaged


@pytest.mark.parametrize("scale", [1, 2])
def test_it_finds_the_faces_and_their_points(networks: FaceNetworks, shown: list[people.Portrait], scale: int) -> None:
    truth, misses = portraits.points(shown) * scale, []
    for picture, right in zip(levels(shown), truth, strict=True):
        large = picture.repeat_interleave(scale, dim=0).repeat_interleave(scale, dim=1)
        found = networks.detect(large)
        assert len(found.scores) == 1
        misses.append((found.points[0] - right).norm(dim=-1).mean() / scale)
    assert np.mean(misses) < 8  # of 256 pixels


def test_it_finds_no_face_where_none_is(networks: FaceNetworks) -> None:
    from comfyui_ip_adapter.ip_adapter_core.small_world import drawing, world

    things = drawing.draw([world.scene(9, n, objects=1) for n in range(16)]).movedim(1, -1) * 255
    found = [len(networks.detect(picture.contiguous()).scores) for picture in things]
    assert np.mean([count > 0 for count in found]) < 0.2


def test_it_tells_people_apart_whatever_they_wear_and_show(recipe: Any, shown: list[people.Portrait]) -> None:
    again = [people.portrait(one.person, 79, n) for n, one in enumerate(shown)]
    first, second = (recipe.sampling.recognised(portraits.draw(part)) for part in (shown, again))
    near = first.faces @ second.faces.T
    assert (near.argmax(dim=1) == torch.arange(COUNT)).float().mean() > 0.9
    assert near.diagonal().mean() > near.mean() + 0.3


def test_the_judge_reads_portraits_of_people_it_has_not_seen(recipe: Any, shown: list[people.Portrait]) -> None:
    read = recipe.table.agreement(portraits.draw(shown), shown)
    assert min(read.values()) > 0.9


@pytest.mark.parametrize(
    ("file", "variant"), [("faceid", "FaceID"), ("faceid_plusv2", "FaceID-Plus v2"), ("portrait", "portrait")]
)
def test_every_adapter_is_of_a_published_kind(file: str, variant: str) -> None:
    found = loading.identify(entries(FOLDER / "ipadapter" / f"small_world_{file}.safetensors"))
    assert found.variant.name == variant


def test_who_is_drawn_comes_from_the_face_and_the_rest_from_the_text(recipe: Any) -> None:
    from comfyui_ip_adapter.benchmarks.small_world.scores import subjects

    measured = {goal.what: goal.measured for goal in recipe.table.facing(subjects(COUNT // 2)).goals}
    missed = {what: share for what, share in measured.items() if share < least(what)}
    wanted = len(people.IDENTITY) + len(people.LOOK) + len(recipe.table.FROM_PICTURE) + len(recipe.table.WITH_FACE)
    assert len(measured) == wanted
    assert not missed


def least(what: str) -> float:
    """The least share of what TABLE measures; by chance a sixteenth of the persons, and 0.12 to 0.33 else."""
    return next((share for words, share in {"the right person": 0.2, "expression": 0.4}.items() if words in what), 0.75)
