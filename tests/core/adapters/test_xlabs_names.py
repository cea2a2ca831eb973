"""A file with XLabs' names is the adapter of the published names, bit for bit, and a damaged one is refused as such."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, load
from comfyui_ip_adapter.ip_adapter_core.adapters.namings import NAMINGS, find_naming, find_sources
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.identify import describe
from fabricate import adapters
from published_shapes import entries

FILE = "ip_adapter (XLabs Flux)"


@pytest.mark.parametrize("backwards", [False, True])
def test_it_loads_as_the_same_adapter(tmp_path: Path, backwards: bool) -> None:
    flat = adapters.flat(adapters.adapter(widths=(32,) * 12, bias=True))
    named = adapters.as_xlabs(flat)
    save_file(dict(reversed(named.items())) if backwards else named, tmp_path / "xlabs.safetensors")
    save_file(flat, tmp_path / "published.safetensors")
    ours, published = (load(tmp_path / f"{name}.safetensors") for name in ("xlabs", "published"))
    assert ours.state_dict().keys() == published.state_dict().keys()
    assert all(torch.equal(value, published.state_dict()[name]) for name, value in ours.state_dict().items())
    assert ours.identity() == published.identity()


def test_keys_and_values_have_the_bias_of_the_file(tmp_path: Path) -> None:
    nested = adapters.adapter(widths=(32,), bias=True)
    adapter = load(adapters.save(tmp_path / "a.safetensors", nested))
    tokens, layer = torch.randn(1, 4, adapters.TINY_CONTEXT), nested["ip_adapter"]
    (found,) = adapter.keys_values(tokens)
    for part, name in zip(found, ("to_k_ip", "to_v_ip"), strict=True):
        assert torch.allclose(part, tokens @ layer[f"1.{name}.weight"].T + layer[f"1.{name}.bias"], atol=1e-5)


def test_the_command_says_what_it_is(tmp_path: Path) -> None:
    save_file(adapters.as_xlabs(adapters.flat(adapters.adapter(bias=True))), tmp_path / "a.safetensors")
    description = describe(tmp_path / "a.safetensors")
    assert description.line.startswith("IP-Adapter: XLabs, ")
    assert "as XLabs names them" in description.details[1]


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ("ip_adapter_proj_model.norm.bias", "lacks image_proj.norm.bias"),
        ("double_blocks.18.processor.ip_adapter_double_stream_v_proj.bias", "lacks ip_adapter.37.to_v_ip.bias"),
        ("double_blocks.3.processor", "has no layer 7"),
        ("ip_adapter_proj_model", "has no image projection"),
    ],
)
def test_a_damaged_file_is_refused(gone: str, says: str) -> None:
    named = {name: entry for name, entry in entries(FILE).items() if not name.startswith(gone)}
    with pytest.raises(UnsupportedCheckpoint, match=says):
        identify(named)


def test_each_naming_is_told_from_the_others_and_published_names_have_none() -> None:
    assert [row.words for row in NAMINGS if row.fits(entries(FILE))] == ["as XLabs names them"]
    published = entries("ip-adapter_sd15")
    assert find_naming(published) is None
    assert find_sources(published) == {name: (name,) for name in published}
