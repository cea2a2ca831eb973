"""Scores with ComfyUI's objects: any encoder, the text half of a file, or a CLIP of the host."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, pad

from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import CLIP_MEAN, CLIP_STD, normalise
from fabricate.clips import TEXT, tiny_clip
from fabricate.towers import TINY
from same_tower import cores, save_tower

pytestmark = pytest.mark.usefixtures("comfy", "inference_mode")
TEXTS = ("a red apple", "two (blue:1.5) birds")


@pytest.fixture
def whole(model_folders: Path) -> Any:
    """OpenCLIP's model, which lies among the encoders."""
    with torch.inference_mode(False):
        return tiny_clip(model_folders / "clip_vision" / "whole.safetensors")


def pictures(count: int, seed: int) -> Tensor:
    """Of the encoder's own size, in eight-bit levels, as it sees them."""
    levels = torch.randint(256, (count, TINY.image, TINY.image, 3), generator=torch.Generator().manual_seed(seed))
    return levels / 255


def embeds(model: Any, images: Tensor) -> Tensor:
    found: Tensor = model.encode_image(normalise(images, CLIP_MEAN, CLIP_STD))
    return found


def score(encoder: Any, images: Tensor, *given: Any) -> Any:
    from comfyui_ip_adapter.nodes.host import scores

    return scores.score(encoder, images, scores.Compared(*given))


def ours() -> Any:
    from comfyui_ip_adapter.nodes.host import vision

    return vision.load("whole.safetensors")


def near(found: Tensor, mine: Tensor, others: Tensor) -> bool:
    return torch.allclose(found.float(), cosine_similarity(mine[:, None], others[None], dim=-1), atol=1e-5)


def test_scores_are_those_of_openclips_own_model(whole: Any) -> None:
    images, references = pictures(3, 0), pictures(2, 1)
    found = score(ours(), images, references, TEXTS)
    mine = embeds(whole, images)
    assert near(found.clip_i, mine, embeds(whole, references))
    assert near(
        found.clip_t, mine, whole.encode_text(SimpleTokenizer(context_length=TEXT["context_length"])(list(TEXTS)))
    )


def test_texts_are_read_once_until_there_is_a_new_one(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host import scores

    read, load = [], scores.load_text_half
    monkeypatch.setattr(scores, "load_text_half", lambda *given: read.append(given) or load(*given))
    encoder = ours()
    first = score(encoder, pictures(1, 0), None, TEXTS)
    again = score(encoder, pictures(1, 0), None, TEXTS[::-1])
    assert len(read) == 1
    assert torch.allclose(first.clip_t, again.clip_t.flip(1), atol=1e-6)
    score(encoder, pictures(1, 0), None, ("another",))
    assert len(read) == 2


def host_clip(width: int = TINY.embed_dim, projected: bool = True) -> Any:
    """What the host's CLIP has of that, whose pooled text is made of its letters."""
    half = nn.Module()
    half.transformer = nn.Module()
    half.transformer.text_projection = nn.Linear(8, width)
    half.return_projected_pooled = projected
    stage = nn.Module()
    stage.clip_x = half

    def encode(tokens: Any, return_pooled: bool) -> tuple[None, Tensor]:
        return None, pad(torch.tensor([[float(ord(letter)) for letter in tokens[:width]]]), (0, width - len(tokens)))

    def tokenize(text: str, disable_weights: bool = False) -> str:
        assert disable_weights
        return text

    return SimpleNamespace(cond_stage_model=stage, tokenize=tokenize, encode_from_tokens=encode)


def test_a_connected_clip_reads_the_texts(whole: Any) -> None:
    images, clip = pictures(2, 0), host_clip()
    found = score(ours(), images, None, TEXTS, clip)
    read = torch.cat([clip.encode_from_tokens(text, True)[1] for text in TEXTS])
    assert found.clip_i is None
    assert near(found.clip_t, embeds(whole, images), read)


def test_a_clip_of_another_width_or_without_its_projection_is_told(whole: Any) -> None:
    with pytest.raises(ValueError, match=r"^Connect a CLIP and an encoder of one family.* width 40, .* width 32\.$"):
        score(ours(), pictures(1, 0), None, TEXTS, host_clip(40))
    with pytest.raises(ValueError, match=r"^Connect a CLIP that was published with its projection"):
        score(ours(), pictures(1, 0), None, TEXTS, host_clip(projected=False))


def test_cores_encoder_scores_references_and_reads_no_texts(model_folders: Path) -> None:
    save_tower(model_folders / "clip_vision" / "tower.safetensors")
    encoder, images = cores(model_folders), pictures(2, 0)
    found = score(encoder, images, images)
    assert torch.allclose(found.clip_i.diag(), torch.ones(2, dtype=torch.float64), atol=1e-6)
    with pytest.raises(ValueError, match=r"^Connect a CLIP of the encoder's family to clip, or load the encoder with"):
        score(encoder, images, None, TEXTS)


def test_the_parts_of_the_hosts_sdxl_and_sd15_are_told_apart() -> None:
    """As ComfyUI builds them, on a device without numbers: SDXL's pooled text is projected, SD1.5's is not."""
    from comfy import sd1_clip, sdxl_clip

    from comfyui_ip_adapter.nodes.host import scores

    sdxl = SimpleNamespace(cond_stage_model=sdxl_clip.SDXLClipModel(device="meta", dtype=torch.float16))
    sd15 = SimpleNamespace(cond_stage_model=sd1_clip.SD1ClipModel(device="meta", dtype=torch.float16))
    assert scores._is_projected(sdxl, 1280)
    assert not scores._is_projected(sdxl, 2048)
    assert not scores._is_projected(sd15, 768)
