"""A file with LuciferTC's names is the adapter of the published names, bit for bit, and so is one that is saved."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify_file, load
from comfyui_ip_adapter.ip_adapter_core.adapters.namings import find_naming
from comfyui_ip_adapter.ip_adapter_core.adapters.saving import save
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.identify import describe
from fabricate import adapters
from foreign_shapes import write
from published_shapes import FILES, entries

FILE = "ip_adapter (LuciferTC Anima)"
METADATA = {"ip_norm_keys": "False", "ip_inject_before_mlp": "False", "lora_rank": "4", "lora_alpha": "4"}


@pytest.fixture
def nested() -> adapters.Nested:
    return adapters.adapter(**adapters.KINDS["Anima SigLIP2"])


def write_as_lucifer(path: Path, nested: adapters.Nested, said: dict[str, str] | None = None) -> Path:
    named: dict[str, Tensor] = adapters.as_lucifer(adapters.flat(nested))
    save_file(named, path, METADATA | (said or {}))
    return path


def test_it_loads_as_the_same_adapter(tmp_path: Path, nested: adapters.Nested) -> None:
    ours = load(write_as_lucifer(tmp_path / "lucifer.safetensors", nested))
    published = load(adapters.save(tmp_path / "published.safetensors", nested))
    assert ours.named_tensors().keys() == published.named_tensors().keys() == adapters.flat(nested).keys()
    assert all(torch.equal(value, published.named_tensors()[name]) for name, value in ours.named_tensors().items())
    assert ours.identity() == published.identity()


def test_a_file_that_this_package_saves_is_read_again(tmp_path: Path, nested: adapters.Nested) -> None:
    first = load(write_as_lucifer(tmp_path / "a.safetensors", nested))
    save(first, tmp_path / "b.safetensors", "fp32")
    again = load(tmp_path / "b.safetensors").named_tensors()
    assert all(torch.equal(value, again[name]) for name, value in first.named_tensors().items())


def test_names_of_a_lora_may_have_those_of_peft(tmp_path: Path, nested: adapters.Nested) -> None:
    named = adapters.as_lucifer(adapters.flat(nested))
    default = {name.replace("_A.weight", "_A.default.weight"): value for name, value in named.items()}
    assert default.keys() != named.keys()
    save_file(default, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").lora is not None


def test_other_adapters_are_none() -> None:
    rows = {name: find_naming(entries(name)) for name in FILES}
    assert [name for name, row in rows.items() if row and row.words == "as LuciferTC names them"] == [FILE]


def test_the_published_file_says_what_it_is(tmp_path: Path) -> None:
    found = describe(write(tmp_path, FILE, entries(FILE)))
    assert found.usable
    said = " ".join((found.line, *found.details))
    assert "Anima SigLIP2, Anima (28 layers, context 768), a token per hidden state, reads ViT-B-16-SigLIP2-512" in said
    assert "brings its LoRA" in said
    assert "as LuciferTC names them" in said
    assert "251,568,128 parameters in BF16" in said


@pytest.mark.parametrize("word", ["ip_norm_keys", "ip_inject_before_mlp"])
def test_a_file_of_another_formula_is_refused(tmp_path: Path, nested: adapters.Nested, word: str) -> None:
    path = write_as_lucifer(tmp_path / "a.safetensors", nested, {word: "True"})
    for read in (identify_file, load):
        with pytest.raises(UnsupportedCheckpoint, match=rf"^Choose another Anima SigLIP2 adapter, .* with {word},"):
            read(path)
