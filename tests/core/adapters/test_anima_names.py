"""A file with anima_lora's names is the adapter of the published names, bit for bit, and so is one that is saved."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, load
from comfyui_ip_adapter.ip_adapter_core.adapters.namings import find_naming
from comfyui_ip_adapter.ip_adapter_core.adapters.saving import save
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.identify import describe
from fabricate import adapters
from foreign_shapes import write
from published_shapes import FILES, entries

FILE = "anima_ip_adapter_quality_20260610"
METADATA = {"ss_network_spec": "ip_adapter", "ss_encoder": "pe", "ss_num_ip_tokens": "16"}


@pytest.fixture
def nested() -> adapters.Nested:
    return adapters.adapter(**adapters.KINDS["Anima PE-Core"])


def write_as_anima(path: Path, nested: adapters.Nested, dtype: torch.dtype = torch.float32) -> Path:
    named = adapters.as_anima(adapters.flat(nested))
    save_file({name: value.to(dtype) for name, value in named.items()}, path, METADATA)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_loads_as_the_same_adapter(tmp_path: Path, nested: adapters.Nested, dtype: torch.dtype) -> None:
    ours = load(write_as_anima(tmp_path / "anima.safetensors", nested, dtype))
    published = load(adapters.save(tmp_path / "published.safetensors", nested, dtype))
    assert ours.state_dict().keys() == published.state_dict().keys()
    assert all(torch.equal(value, published.state_dict()[name]) for name, value in ours.state_dict().items())
    assert ours.identity() == published.identity()


def test_a_file_that_this_package_saves_is_read_again(tmp_path: Path, nested: adapters.Nested) -> None:
    first = load(write_as_anima(tmp_path / "a.safetensors", nested))
    save(first, tmp_path / "b.safetensors", "fp32")
    again = load(tmp_path / "b.safetensors")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_other_adapters_are_none() -> None:
    rows = {name: find_naming(entries(name)) for name in FILES}
    assert [name for name, row in rows.items() if row and row.words == "as anima_lora names them"] == [FILE]


def test_the_published_file_says_what_it_is(tmp_path: Path) -> None:
    found = describe(write(tmp_path, FILE, entries(FILE)))
    assert found.usable
    said = " ".join((found.line, *found.details))
    assert "Anima PE-Core, Anima (28 layers, context 1024), 16 tokens, reads PE-Core-L-14-336" in said
    assert "as anima_lora names them" in said
    assert "153,156,636 parameters in BF16" in said


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("ip_gate.27", r"lacks ip_adapter\.55\.ip_gate"),
        ("to_v_ip.3.weight", r"lacks ip_adapter\.7\.to_v_ip\.weight"),
        ("ip_centroid", r"lacks image_proj\.ip_centroid"),
        ("resampler.blocks.1.sattn.in_proj_bias", r"lacks image_proj\.blocks\.1\.sattn\.in_proj_bias"),
    ],
)
def test_a_damaged_file_is_refused_by_name(lost: str, message: str) -> None:
    named = entries(FILE)
    del named[lost]
    with pytest.raises(UnsupportedCheckpoint, match=message):
        identify(named)


def test_a_file_without_gates_is_refused_as_its_tensors_do_not_tell_its_formula() -> None:
    named = {name: entry for name, entry in entries(FILE).items() if not name.startswith("ip_gate")}
    with pytest.raises(UnsupportedCheckpoint, match=r"^Choose an Anima adapter that has gates"):
        identify(named)
