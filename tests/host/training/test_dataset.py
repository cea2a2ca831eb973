"""Tests of nodes/host/training/dataset.py: what training is given of pictures and captions."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.usefixtures("comfy")


class Clip:
    """A text encoder that remembers what it was given; a text has two parts, and each letter of the first counts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def tokenize(self, text: str) -> dict[str, list[list[str]]]:
        self.texts.append(text)
        return {"l": [[text], ["rest"]], "g": [[text], ["rest"]]}

    def encode_from_tokens(self, tokens: dict[str, list[list[str]]], return_pooled: bool) -> tuple[Tensor, Tensor]:
        length = sum(len(chunk[0]) for chunks in tokens.values() for chunk in chunks)
        return torch.full((1, 77, 4), float(length)), torch.full((1, 6), float(length))


class Vision:
    """A vision encoder of 8 pixels that says the mean colour, and of the blank image something else."""

    image_size, image_mean = 8, (0.5, 0.5, 0.5)
    hidden = True

    def encode_image(self, image: Tensor) -> dict[str, Tensor | None]:
        return self.saying(image.mean(dim=(1, 2)))

    def saying(self, embeds: Tensor) -> dict[str, Tensor | None]:
        hidden = embeds[:, None].repeat(1, 5, 1) if self.hidden else None
        return {"image_embeds": embeds, "penultimate_hidden_states": hidden}


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Models that are told apart by what they say; reads the embeds."""
    from comfyui_ip_adapter.nodes.host import vision
    from comfyui_ip_adapter.nodes.host.training.dataset import HostEncoder

    monkeypatch.setattr(vision, "_encode_blank", lambda encoder: encoder.saying(torch.full((1, 3), 9.0)))
    latent_format = SimpleNamespace(latent_channels=4)
    inner = SimpleNamespace(process_latent_in=lambda latents: latents * 2, latent_format=latent_format)
    vae = SimpleNamespace(encode=lambda images: images.mean(dim=(1, 2, 3)).reshape(-1, 1, 1, 1), latent_channels=4)
    return HostEncoder(SimpleNamespace(model=inner), Clip(), vae, Vision(), "embeds")


def test_pictures_are_resized_as_the_encoder_wants_them(encoder: Any) -> None:
    assert encoder.interpolation == "bicubic"
    encoder.clip_vision.interpolation = "bilinear"
    assert encoder.interpolation == "bilinear"


def reading(encoder: Any, reads: str) -> Any:
    from dataclasses import replace

    return replace(encoder, reads=reads)


def shown(square: Tensor, seen: Tensor | None = None) -> Any:
    """Pictures whose squares are these."""
    from comfyui_ip_adapter.ip_adapter_core.training.pictures import Picture

    numbers = torch.arange(6, dtype=torch.int32) + 10 * torch.arange(len(square), dtype=torch.int32)[:, None]
    return Picture(square, square if seen is None else seen, numbers)


def test_each_picture_has_its_latents_as_the_model_sees_them_its_features_and_its_text(encoder: Any) -> None:
    images = torch.stack([torch.zeros(16, 16, 3), torch.ones(16, 16, 3)])
    rows = encoder.encode(shown(images, 1 - images), ["a", "two"])
    assert rows["latents"].flatten().tolist() == [0, 2]
    assert torch.equal(rows["features"], torch.tensor([[1.0] * 3, [0.0] * 3]))
    assert rows["context"].shape == (2, 77, 4)
    assert [rows[name].tolist() for name in ("height", "width", "crop_h")] == [[0, 10], [1, 11], [2, 12]]
    assert rows["pooled"].shape == (2, 6)
    assert rows["context"][1, 0, 0] == 3 * rows["context"][0, 0, 0]


def test_only_the_first_part_of_a_long_caption_is_read(encoder: Any) -> None:
    rows = encoder.encode(shown(torch.zeros(1, 16, 16, 3)), ["abc"])
    assert rows["context"][0, 0, 0] == 2 * len("abc")  # both encoders, no rest


def test_brackets_in_captions_are_read_as_they_are(encoder: Any) -> None:
    from comfy.sd1_clip import escape_important, token_weights, unescape_important

    encoder.encode(shown(torch.zeros(1, 16, 16, 3)), ["a (red:1.5) apple"])
    parsed = token_weights(escape_important(encoder.clip.texts[0]), 1.0)
    assert [(unescape_important(text), weight) for text, weight in parsed] == [("a (red:1.5) apple", 1.0)]


def test_a_dropped_image_is_zeros_for_embeddings_and_the_blank_image_for_hidden_states(encoder: Any) -> None:
    assert torch.equal(encoder.nulls()["features"], torch.zeros(1, 3))
    assert torch.equal(reading(encoder, "hidden").nulls()["features"], torch.full((1, 5, 3), 9.0))


def test_a_dropped_text_is_the_empty_one(encoder: Any) -> None:
    encoder.nulls()
    assert encoder.clip.texts == [""]


def test_an_encoder_without_hidden_states_is_refused_for_kinds_that_read_them(encoder: Any) -> None:
    encoder.clip_vision.hidden = False
    for ask in (
        reading(encoder, "hidden").nulls,
        lambda: reading(encoder, "hidden").encode(shown(torch.zeros(1, 8, 8, 3)), [""]),
    ):
        with pytest.raises(
            ValueError, match=r"Load a CLIP ViT, or train another kind; this CLIP_VISION gives no hidden of an image"
        ):
            ask()


def test_a_vae_of_another_family_is_refused(encoder: Any) -> None:
    from comfyui_ip_adapter.nodes.host.training import dataset

    dataset.check(encoder)
    encoder.vae.latent_channels = 16
    with pytest.raises(ValueError, match="gives latents of 16 channels, and the model needs 4"):
        dataset.check(encoder)


def test_a_data_set_is_looked_for_in_the_input_folder_unless_its_path_is_absolute() -> None:
    import folder_paths

    from comfyui_ip_adapter.nodes.host.training import dataset

    assert dataset.locate(" pictures ") == Path(folder_paths.get_input_directory()) / "pictures"
    assert dataset.locate("/elsewhere/pictures") == Path("/elsewhere/pictures")
