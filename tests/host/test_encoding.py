"""From faces and pictures to prompts: what stands on the negative side, and who reads what."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.faces.features import Faces, Portrait
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.features import Features
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt, image_prompt
from fabricate import adapters

pytestmark = pytest.mark.usefixtures("comfy")

PATCHES, WIDTH = 5, 64


class Encoder:
    """A CLIP_VISION that says the mean of each picture in every number; of the blank one, a hundred."""

    image_size = 8

    def say(self, value: Tensor) -> Features:
        images = value.reshape(-1, 1, 1)
        hidden = images.expand(-1, PATCHES, WIDTH)
        return Features(images[:, 0].expand(-1, 32), hidden, normed_hidden=hidden + torch.arange(WIDTH))


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    from comfyui_ip_adapter.nodes.host import encoding, vision

    found = Encoder()
    monkeypatch.setattr(encoding, "fit_pictures", lambda one, images, *how: images[..., :3])
    monkeypatch.setattr(encoding, "encode", lambda one, images: one.say(images.mean((1, 2, 3))))
    monkeypatch.setattr(vision, "blank_features", lambda one: one.say(torch.tensor([100.0])))
    monkeypatch.setattr(vision, "black_features", lambda one: one.say(torch.tensor([0.0])))
    return found


def loaded(folder: Path, kind: str) -> Any:
    from comfyui_ip_adapter.nodes.host.adapters import read

    nested = adapters.adapter(**adapters.KINDS[kind])
    return read(f"{kind}.bin", adapters.save(folder / f"{kind}.bin", nested))


def faces(count: int = 1, level: int = 51, seed: int = 0) -> Faces:
    embeddings = torch.randn(count, 512, generator=torch.Generator().manual_seed(seed)) * 20
    return Faces(embeddings, (Portrait(torch.full((8, 8, 3), level, dtype=torch.uint8)),) * count)


def pictures(*levels: float) -> Tensor:
    return torch.stack([torch.full((8, 8, 3), level) for level in levels])


def side(prompt: ImagePrompt, side: int) -> Tensor:
    (part,) = prompt.parts
    return part.side(side)


def of_features(adapter: Any, cond: Features, uncond: Features) -> ImagePrompt:
    """What the adapter's network makes of features on both sides."""
    readings = (tuple(getattr(one, field) for field in adapter.identity.variant.reads) for one in (cond, uncond))
    return image_prompt(adapter.patcher.model, *readings)


def test_a_negative_picture_of_faces_stands_beside_the_embedding_of_nobody(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import face_prompt

    adapter = loaded(tmp_path, "FaceID-Plus v2")
    found, _ = face_prompt(adapter, encoder, faces(), pictures(0.75))
    cond = encoder.say(torch.tensor([0.2]))._replace(face=faces().embeddings)
    uncond = encoder.say(torch.tensor([0.75]))._replace(face=torch.zeros(1, 512))
    expected = of_features(adapter, cond, uncond)
    for one in (COND, UNCOND):
        torch.testing.assert_close(side(found, one), side(expected, one))
    usual, _ = face_prompt(adapter, encoder, faces())
    assert not torch.allclose(side(usual, UNCOND), side(found, UNCOND))
    assert torch.equal(side(usual, COND), side(found, COND))


@pytest.mark.parametrize(("kind", "level"), [("XLabs", 0.0), ("plus", 100.0)])
def test_what_stands_for_no_picture_is_what_the_kind_was_trained_with(
    tmp_path: Path, encoder: Encoder, kind: str, level: float
) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import encode_prompt

    adapter = loaded(tmp_path, kind)
    found, _ = encode_prompt(adapter, encoder, pictures(0.5))
    expected = of_features(adapter, *(encoder.say(torch.tensor([value])) for value in (0.5, level)))
    for one in (COND, UNCOND):
        torch.testing.assert_close(side(found, one), side(expected, one))


GATHERED: dict[str, dict[str, Any]] = {
    "whole": {},
    "weighted": {"gathering": Gathering(weights=(1.0, 0.0, 2.0))},
    "merged": {"gathering": Gathering("average", weights=(1.0, 0.3, 2.0))},
    "apart": {"gathering": Gathering("separate")},
    "one per frame": {"gathering": Gathering("one per frame")},
    "tiles": {"detail": "whole and tiles"},
}


@pytest.mark.parametrize("how", GATHERED)
def test_an_image_outside_guidance_stands_on_both_sides(
    tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from comfyui_ip_adapter.nodes.host import encoding
    from comfyui_ip_adapter.nodes.host.encoding import Look, encode_prompt
    from comfyui_ip_adapter.nodes.host.pictures import resize_like

    monkeypatch.setattr(
        encoding, "fit_pictures", lambda one, images, *how: resize_like(images, torch.zeros(1, 8, 8, 3))
    )
    adapter = loaded(tmp_path, "Anima PE-Core")
    graded = pictures(0.2, 0.5, 0.8) * torch.linspace(0.5, 1.0, 8)[:, None]  # tiles differ
    found, _ = encode_prompt(adapter, encoder, graded, Look(**GATHERED[how]))
    for part in found.parts:
        assert torch.equal(part.side(COND), part.side(UNCOND))
    away, _ = encode_prompt(adapter, encoder, graded, Look(**GATHERED[how]), pictures(0.1))
    for part, usual in zip(away.parts, found.parts, strict=True):
        assert torch.equal(part.side(COND), usual.side(COND))
        assert not torch.allclose(part.side(UNCOND), usual.side(UNCOND))


def test_a_negative_image_is_refused_where_the_negative_side_reads_none(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import WHOLE, encode_prompt

    adapter = loaded(tmp_path, "Anima SigLIP2")
    with pytest.raises(ValueError, match=r"^Disconnect negative_image; Anima SigLIP2\.bin is .* reads no image at all"):
        encode_prompt(adapter, encoder, pictures(0.5), WHOLE, pictures(0.1))


@pytest.mark.parametrize(("kind", "border"), [("Anima SigLIP2", 0.0), ("Anima PE-Core", 0.5)])
def test_pictures_are_padded_as_the_kind_was_trained(
    tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, kind: str, border: float
) -> None:
    from comfyui_ip_adapter.nodes.host import encoding, vision

    monkeypatch.setattr(encoding, "fit_pictures", vision.fit_pictures)
    monkeypatch.setattr(encoder, "image_mean", (0.5, 0.5, 0.5), raising=False)
    width = 768 if kind == "Anima SigLIP2" else WIDTH
    monkeypatch.setattr(
        encoding, "encode", lambda one, images: Features(normed_hidden=torch.zeros(len(images), PATCHES, width))
    )
    wide = torch.ones(1, 4, 8, 3)
    _, seen = encoding.encode_prompt(loaded(tmp_path, kind), encoder, wide, encoding.Look("pad"))
    assert seen[0, 0, 0].tolist() == pytest.approx([border] * 3, abs=0.01)
    assert seen[0, 4, 4].tolist() == pytest.approx([1.0] * 3)


def test_an_encoder_without_normed_states_is_refused_for_anima(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import select_inputs

    adapter, said = loaded(tmp_path, "Anima PE-Core"), encoder.say(torch.tensor([0.5]))
    with pytest.raises(ValueError, match=r"^Load an encoder of width 64 in place of .* and that gives none\.$"):
        select_inputs(adapter, encoder, said._replace(normed_hidden=None))
    with pytest.raises(ValueError, match=r"reads normed_hidden of width 64, and that gives 63\.$"):
        select_inputs(adapter, encoder, said._replace(normed_hidden=torch.zeros(1, PATCHES, 63)))


@pytest.mark.parametrize("kind", ["FaceID", "FaceID-Plus v2", "portrait"])
def test_negative_faces_are_read_as_faces_are(tmp_path: Path, encoder: Encoder, kind: str) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import face_prompt

    adapter = loaded(tmp_path, kind)
    away, _ = face_prompt(adapter, encoder, faces(), faces(seed=1, level=204))
    alone, _ = face_prompt(adapter, encoder, faces(seed=1, level=204))
    torch.testing.assert_close(side(away, UNCOND), side(alone, COND))


def test_each_face_has_a_negative_picture_in_turn(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import face_prompt

    adapter = loaded(tmp_path, "FaceID-Plus v2")
    found, _ = face_prompt(adapter, encoder, faces(3), pictures(0.75, 0.25))
    tokens = side(found, UNCOND).unflatten(1, (3, -1))[0]
    assert torch.equal(tokens[0], tokens[2])
    assert not torch.equal(tokens[0], tokens[1])
    with pytest.raises(ValueError, match="2 negative images for 1 images"):
        face_prompt(adapter, encoder, faces(1), pictures(0.75, 0.25))


def test_a_negative_picture_is_refused_by_adapters_that_read_none(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import face_prompt

    for kind in ("FaceID", "portrait"):
        with pytest.raises(ValueError, match=rf"^Disconnect negative_image, .*: {kind}\.bin is a {kind} adapter"):
            face_prompt(loaded(tmp_path, kind), encoder, faces(), pictures(0.75))


def test_faces_and_a_picture_cannot_both_be_moved_away_from(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.encode import EncodeFace

    given = {"clip_vision": encoder, "negative_faces": faces(), "negative_image": pictures(0.5)}
    with pytest.raises(ValueError, match=r"^Disconnect negative_faces or negative_image"):
        EncodeFace.execute(loaded(tmp_path, "FaceID-Plus v2"), faces(), 1.0, **given)


def test_without_a_negative_the_neutral_input_of_the_training_stands_there(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import encode_prompt as of_images
    from comfyui_ip_adapter.nodes.host.encoding import face_prompt

    face = loaded(tmp_path, "FaceID-Plus v2")
    blank = encoder.say(torch.tensor([100.0]))
    expected = of_features(face, blank._replace(face=torch.ones(1, 512)), blank._replace(face=torch.zeros(1, 512)))
    torch.testing.assert_close(side(face_prompt(face, encoder, faces())[0], UNCOND), side(expected, UNCOND))
    base = loaded(tmp_path, "base")
    zeros = Features(torch.zeros(1, 32))
    torch.testing.assert_close(
        side(of_images(base, encoder, pictures(0.5))[0], UNCOND), side(of_features(base, zeros, zeros), UNCOND)
    )


# References that are read in part

HALF = torch.zeros(1, 8, 8)
HALF[:, :, :4] = 1


def halves(inside: float, outside: float) -> Tensor:
    """A picture of one level where HALF is white, and of another elsewhere."""
    return torch.where(HALF[..., None] == 1, inside, outside).expand(1, 8, 8, 3)


@pytest.mark.parametrize("kind", ["base", "plus", "full face"])
@pytest.mark.parametrize("detail", ["whole", "tiles"])
def test_pixels_outside_of_the_reference_mask_change_nothing(
    tmp_path: Path, encoder: Encoder, kind: str, detail: str
) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import Look, encode_prompt

    adapter = loaded(tmp_path, kind)
    one, two, unmasked = (
        encode_prompt(adapter, encoder, halves(0.25, outside), Look(detail=detail, mask=mask))
        for outside, mask in ((0.5, HALF), (0.75, HALF), (0.75, None))
    )
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[1], unmasked[1])
    for mine, other in zip(one[0].parts, two[0].parts, strict=True):
        assert torch.equal(mine.tokens, other.tokens)


def test_tiles_in_which_nothing_is_read_act_nowhere(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import Look, encode_prompt

    adapter = loaded(tmp_path, "plus")
    images, masks = halves(0.25, 0.5).repeat(2, 1, 1, 1), torch.cat([HALF, HALF.flip(-1)])
    (whole,) = {len(encode_prompt(adapter, encoder, images[:1], Look(detail="tiles"))[0].parts)}
    prompt, _ = encode_prompt(adapter, encoder, images[:1], Look(detail="tiles", mask=HALF))
    assert (whole, len(prompt.parts)) == (4, 2)
    assert all(part.masks[0][0, :, 4:].max() == 0 for part in prompt.parts)
    both, _ = encode_prompt(adapter, encoder, images, Look(detail="tiles", mask=masks))
    assert [part.images for part in both.parts] == [1, 1, 1, 1]


def test_a_resampler_reads_the_patches_inside_alone(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import Look, encode_prompt

    adapter = loaded(tmp_path, "plus")
    prompt, seen = encode_prompt(adapter, encoder, halves(0.25, 0.5), Look(mask=HALF))
    inside = encoder.say(seen.mean((1, 2, 3))).hidden[:, [1, 3]]
    torch.testing.assert_close(side(prompt, COND), adapter.patcher.model.tokens(inside), atol=1e-5, rtol=0)
    blank = encoder.say(torch.tensor([100.0])).hidden
    torch.testing.assert_close(side(prompt, UNCOND), adapter.patcher.model.tokens(blank), atol=1e-5, rtol=0)


def test_a_negative_image_is_read_whole(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import Look, encode_prompt

    adapter = loaded(tmp_path, "plus")
    masked, plain = (
        encode_prompt(adapter, encoder, halves(0.25, 0.5), Look(mask=mask), pictures(0.75))[0] for mask in (HALF, None)
    )
    assert torch.equal(side(masked, UNCOND), side(plain, UNCOND))
    assert not torch.allclose(side(masked, COND), side(plain, COND))


def test_nothing_is_encoded_where_nothing_is_to_be_read(
    tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host import encoding

    monkeypatch.setattr(encoding, "encode", lambda *given: pytest.fail("encoded"))
    adapter, black = loaded(tmp_path, "base"), torch.zeros(1, 8, 8)
    for detail in encoding.DETAILS:
        with pytest.raises(ValueError, match=r"^Make white in reference_mask"):
            encoding.encode_prompt(adapter, encoder, pictures(0.5), encoding.Look(detail=detail, mask=black))
    wide, at_the_side = halves(0.25, 0.5).repeat(1, 1, 3, 1), torch.cat([HALF, black, black], dim=-1)
    with pytest.raises(ValueError, match=r"^Crop the picture"):
        encoding.encode_prompt(adapter, encoder, wide, encoding.Look(mask=at_the_side))


def test_a_face_is_read_in_part_by_adapters_that_read_its_picture(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import face_prompt

    adapter = loaded(tmp_path, "FaceID-Plus v2")
    whole, full, part = (
        face_prompt(adapter, encoder, faces(2), mask=mask) for mask in (None, torch.ones(1, 4, 4), HALF)
    )
    assert torch.equal(side(whole[0], COND), side(full[0], COND))
    assert torch.equal(side(whole[0], UNCOND), side(part[0], UNCOND))
    assert not torch.allclose(side(whole[0], COND), side(part[0], COND))
    assert not torch.equal(whole[1], part[1])
    with pytest.raises(ValueError, match=r"pictures: 2, masks: 3"):
        face_prompt(adapter, encoder, faces(2), mask=HALF.expand(3, -1, -1))
    with pytest.raises(ValueError, match=r"^Disconnect reference_mask: FaceID\.bin is a FaceID adapter"):
        face_prompt(loaded(tmp_path, "FaceID"), None, faces(), mask=HALF)


def test_transparency_of_a_faces_picture_says_what_is_read_as_a_mask_would(tmp_path: Path, encoder: Encoder) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import face_prompt

    adapter, plain = loaded(tmp_path, "FaceID-Plus v2"), faces()
    clear, opaque = (
        Faces(plain.embeddings, (Portrait(torch.cat([plain.portraits[0].picture, fourth[0, ..., None]], -1)),))
        for fourth in ((HALF * 255).byte(), torch.full_like(HALF, 255).byte())
    )

    def read(given: Faces, mask: Tensor | None = None, alpha: bool = False) -> Tensor:
        return side(face_prompt(adapter, encoder, given, mask=mask, alpha=alpha)[0], COND)

    part = read(plain, clear.opacity(encoder.image_size))
    assert torch.equal(read(clear, alpha=True), part)
    assert not torch.equal(read(plain), part)
    for given, alpha in ((clear, False), (opaque, True), (plain, True)):
        assert torch.equal(read(given, alpha=alpha), read(plain))


@pytest.mark.parametrize(("kind", "said"), [("base", "take the whole square"), ("plus", "look at no patch")])
def test_the_node_says_what_became_of_the_surroundings(
    tmp_path: Path, encoder: Encoder, kind: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes import encode

    monkeypatch.setattr(encode, "preview", lambda *given: None)
    adapter, image = loaded(tmp_path, kind), halves(0.25, 0.5)
    (line,) = encode.Encode.execute(adapter, encoder, image, "center crop", reference_mask=HALF).ui["text"]
    assert said in line
    assert not encode.Encode.execute(adapter, encoder, image, "center crop", reference_mask=torch.ones(1, 2, 2)).ui
    (line,) = encode.Encode.execute(adapter, encoder, image, "center crop", alpha=True).ui["text"]
    assert line.startswith("alpha is on, but")


# Encoders that are surely others


def of_published_width(folder: Path, kind: str, **sizes: int) -> Any:
    from comfyui_ip_adapter.nodes.host.adapters import read

    nested = adapters.adapter(**adapters.KINDS[kind] | sizes)
    return read(f"{kind}.bin", adapters.save(folder / f"{kind}.bin", nested))


def core_siglip(**config: Any) -> SimpleNamespace:
    """As ComfyUI's own loader makes one; it reads nothing."""
    published = {"model_type": "siglip_vision_model", "num_hidden_layers": 27, "patch_size": 14, "image_size": 384}
    return SimpleNamespace(config=published | config, image_size=384)


OTHERS: list[dict[str, Any]] = [
    {"patch_size": 16, "image_size": 512},
    {"image_size": 224},
    {"model_type": "siglip2_vision_model", "patch_size": 16, "image_size": -1, "num_patches": 256},
    {"model_type": "clip_vision_model", "num_hidden_layers": 32, "image_size": 224},
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_connected_encoder_that_is_surely_another_is_told_before_a_picture_is_read(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import encode_prompt

    adapter = of_published_width(tmp_path, "InstantX SD3.5", embed=1152)
    with pytest.raises(
        ValueError, match=r"^Load ViT-SO400M-14-SigLIP-384 in place of the connected CLIP vision encoder: this InstantX"
    ):
        encode_prompt(adapter, core_siglip(**other), pictures(0.5))


def test_how_an_encoder_is_built_is_read_where_it_says_so() -> None:
    from comfyui_ip_adapter.ip_adapter_core.catalogue.own_encoder import BUILDS
    from comfyui_ip_adapter.nodes.host.vision import build

    assert build(core_siglip()) == BUILDS["ViT-SO400M-14-SigLIP-384"]
    assert build(core_siglip(model_type="dinov2")) is None
    assert build(SimpleNamespace()) is None
    assert build(SimpleNamespace(config={"model_type": "siglip_vision_model"})) is None


def test_faces_are_read_with_the_own_encoder_too(tmp_path: Path) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import face_prompt

    adapter = of_published_width(tmp_path, "Kolors FaceID-Plus", embed=1024)
    with pytest.raises(ValueError, match=r"^Load CLIP-ViT-L-14-336 in place of the connected CLIP vision encoder: "):
        face_prompt(adapter, core_siglip(), faces())
