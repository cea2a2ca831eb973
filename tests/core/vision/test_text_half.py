"""Tests of ip_adapter_core/vision/text_half.py: a file's text half says what its own program says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file

from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.vision.encoder import identify_file
from comfyui_ip_adapter.ip_adapter_core.vision.text_half import TextHalf, load_text_half
from fabricate.clips import TEXT, tiny_clip, tiny_transformers_clip
from fabricate.towers import tiny_tower
from package import ROOT

TEXTS = ["a red apple", "two (blue) birds on a wire, at dusk", "", "very long " * 40]
SMALL_WORLD = ROOT / "models" / "small_world"


def half(path: Path) -> TextHalf:
    return load_text_half(path, identify_file(path))


def tokens(context: int = TEXT["context_length"]) -> Any:
    return SimpleTokenizer(context_length=context)(TEXTS)


@pytest.mark.parametrize("custom", [False, True], ids=["clip", "custom"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_half_in_openclips_naming_gives_what_openclip_gives(tmp_path: Path, custom: bool, prefix: str) -> None:
    model = tiny_clip(tmp_path / "whole.safetensors", custom, prefix)
    wanted = model.encode_text(tokens())
    assert torch.allclose(half(tmp_path / "whole.safetensors")(TEXTS), wanted, atol=1e-6)
    assert wanted.std(0).min() > 1e-3  # the texts differ


def test_a_half_in_the_naming_of_transformers_gives_what_transformers_gives(tmp_path: Path) -> None:
    model = tiny_transformers_clip(tmp_path / "whole.safetensors")
    found = model.get_text_features(input_ids=tokens())
    wanted = found if isinstance(found, torch.Tensor) else found.pooler_output
    assert torch.allclose(half(tmp_path / "whole.safetensors")(TEXTS), wanted, atol=1e-5)


def test_half_precision_is_asked_for_and_computed_in(tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    tiny_clip(path)
    found = load_text_half(path, identify_file(path), torch.bfloat16)(TEXTS)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), half(path)(TEXTS), atol=0.1)


def test_a_vocabulary_of_its_own_is_read_beside_the_file() -> None:
    path = SMALL_WORLD / "clip_vision" / "small_world_clip.safetensors"
    texts = ["a red circle on a blue background", "a green star"]
    found = half(path)
    own = SimpleTokenizer(bpe_path=str(SMALL_WORLD / "tokenizer" / "merges.txt.gz"), context_length=32)
    assert torch.equal(found._tokenizer(texts), own(texts))
    assert found(texts).shape == (2, 64)


def test_a_file_without_a_text_half_is_told(tmp_path: Path) -> None:
    for layout in ("hf", "openclip", "bare"):
        tiny_tower(tmp_path / f"{layout}.safetensors", layout)
        with pytest.raises(
            UnsupportedCheckpoint, match=rf"^Connect a CLIP .*{layout}\.safetensors holds only the half"
        ):
            half(tmp_path / f"{layout}.safetensors")


def changed(path: Path, **text: Any) -> Path:
    """A whole CLIP whose config says something else of its text half."""
    tiny_clip(path)
    config = json.loads(path.with_suffix(".json").read_text())
    config["model_cfg"]["text_cfg"] |= text
    path.with_suffix(".json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ({"hf_tokenizer_name": "bert-base-uncased"}, "would have to be downloaded"),
        ({"layers": 3}, "its tensors are not those of"),
        ({"width": 64}, "its tensors are not those of"),
        ({"wings": 2}, "OpenCLIP cannot build it"),
        ({"tokenizer_kwargs": {"bpe_path": "/etc/merges.gz"}}, "not beside it"),
        ({"tokenizer_kwargs": {"bpe_path": "\\\\host\\merges.gz"}}, "not beside it"),
    ],
)
def test_a_half_that_cannot_be_used_is_told_with_the_reason(tmp_path: Path, text: dict[str, Any], why: str) -> None:
    path = changed(tmp_path / "whole.safetensors", **text)
    with pytest.raises(UnsupportedCheckpoint, match=rf"^Connect a CLIP .* whole\.safetensors cannot be used: .*{why}"):
        half(path)


def test_a_vocabulary_of_another_size_is_told(tmp_path: Path) -> None:
    tiny_clip(tmp_path / "whole.safetensors", vocab_size=300)
    with pytest.raises(UnsupportedCheckpoint, match="its vocabulary has 300 words, and CLIP's 49408"):
        half(tmp_path / "whole.safetensors")


def test_a_config_without_a_text_half_is_told(tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    tiny_clip(path)
    config = json.loads(path.with_suffix(".json").read_text())
    del config["model_cfg"]["text_cfg"]
    path.with_suffix(".json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedCheckpoint, match="has no text_cfg"):
        half(path)


def test_a_tensor_that_is_missing_or_too_much_is_told(tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    tiny_transformers_clip(path)
    whole = load_file(path)
    key = "text_model.final_layer_norm.weight"
    for weights in (
        {name: value for name, value in whole.items() if name != key},
        {**whole, f"{key}2": whole[key].clone()},
    ):
        save_file(weights, path)
        with pytest.raises(UnsupportedCheckpoint, match="its tensors are not those of"):
            half(path)
