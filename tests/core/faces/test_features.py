"""Faces as features: embeddings raw and normalised, pictures cut out or ready, and several joined."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from comfyui_ip_adapter.ip_adapter_core.faces.alignment import TEMPLATE, align
from comfyui_ip_adapter.ip_adapter_core.faces.features import Faces, Portrait, cat

POINTS = torch.from_numpy(TEMPLATE)


def embeddings(faces: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(faces, 512, generator=torch.Generator().manual_seed(seed))


def levels(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_raw_embeddings_are_as_they_came() -> None:
    found = embeddings()
    assert torch.equal(Faces(found).raw, found)


@pytest.mark.parametrize("length", [1.0, 1.0005, 0.9995])
def test_normalised_embeddings_are_not_given_as_raw(length: float) -> None:
    with pytest.raises(
        ValueError, match=r"^Connect Face Embedding.*already normalised \(of length 1\).*needs them raw"
    ):
        _ = Faces(normalize(embeddings(), dim=-1) * length).raw


def test_one_raw_embedding_shows_that_they_are_raw() -> None:
    mixed = torch.cat([normalize(embeddings(1), dim=-1), embeddings(1)])
    assert torch.equal(Faces(mixed).raw, mixed)


def test_without_pictures_there_are_no_crops() -> None:
    assert Faces(embeddings()).crops(224) is None


def test_crops_are_cut_out_of_each_faces_own_picture() -> None:
    pictures = levels(150, 130), levels(200, 170, seed=1)
    faces = Faces(embeddings(), tuple(Portrait(picture, POINTS + 5) for picture in pictures))
    crops = faces.crops(112)
    assert crops is not None
    assert crops.shape == (2, 112, 112, 3)
    for crop, picture in zip(crops, pictures, strict=True):
        assert torch.equal(crop, align(picture, POINTS[None] + 5, 112)[0])


def test_ready_crops_are_only_resized() -> None:
    ready = levels(224, 224)
    faces = Faces(embeddings(1), (Portrait(ready),))
    same, smaller = faces.crops(224), faces.crops(112)
    assert same is not None
    assert smaller is not None
    assert torch.equal((same[0] * 255).round(), ready.float())
    assert smaller.shape == (1, 112, 112, 3)


@pytest.mark.parametrize("points", [None, POINTS + 5], ids=["ready", "found"])
def test_opacity_is_cut_out_as_the_face_is(points: Tensor | None) -> None:
    picture = levels(150, 130)
    alike = torch.cat([picture, picture[..., :1]], -1)
    faces = Faces(embeddings(1), (Portrait(alike, points),))
    crops, opacity = faces.crops(112), faces.opacity(112)
    assert crops is not None
    assert opacity is not None
    torch.testing.assert_close(opacity, crops[..., 0], atol=1e-2, rtol=0)
    assert torch.equal(crops, Faces(embeddings(1), (Portrait(picture, points),)).crops(112))


def test_without_a_fourth_channel_faces_have_no_opacity_and_all_of_an_opaque_one_is_read() -> None:
    assert Faces(embeddings(1), (Portrait(levels(112, 112)),)).opacity(112) is None
    opaque = torch.cat([levels(90, 90), torch.full((90, 90, 1), 255, dtype=torch.uint8)], -1)
    found = Faces(embeddings(1), (Portrait(opaque, POINTS - 30),)).opacity(112)
    assert found is not None
    assert bool((found == 1).all())


def test_joined_faces_keep_their_order_and_pictures() -> None:
    one = Faces(embeddings(1), (Portrait(levels(112, 112)),))
    other = Faces(embeddings(2, seed=1), (Portrait(levels(150, 150), POINTS), Portrait(levels(90, 90), POINTS)))
    both = cat([one, other])
    assert len(both) == 3
    assert torch.equal(both.embeddings, torch.cat([one.embeddings, other.embeddings]))
    assert both.portraits == one.portraits + other.portraits


def test_joined_faces_have_pictures_only_when_all_have() -> None:
    assert cat([Faces(embeddings(1), (Portrait(levels(112, 112)),)), Faces(embeddings(1))]).crops(112) is None
