"""A file with InstantX's numbers is the adapter of the published numbers, bit for bit, and so is one that is saved."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, load
from comfyui_ip_adapter.ip_adapter_core.adapters.namings import find_naming
from comfyui_ip_adapter.ip_adapter_core.adapters.saving import save
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.identify import describe
from fabricate import adapters
from foreign_shapes import write
from published_shapes import entries

FILE = "ip-adapter (InstantX SD3.5)"


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_it_loads_as_the_same_adapter(tmp_path: Path, ending: str) -> None:
    nested = adapters.adapter(**adapters.KINDS["InstantX SD3.5"])
    ours = load(adapters.save(tmp_path / f"instantx.{ending}", adapters.counted(nested)))
    published = load(adapters.save(tmp_path / "published.safetensors", nested))
    assert ours.state_dict().keys() == published.state_dict().keys()
    assert all(torch.equal(value, published.state_dict()[name]) for name, value in ours.state_dict().items())
    assert ours.identity() == published.identity()


def test_a_file_that_this_package_saves_is_read_again(tmp_path: Path) -> None:
    nested = adapters.adapter(**adapters.KINDS["InstantX SD3.5"])
    first = load(adapters.save(tmp_path / "a.safetensors", adapters.counted(nested)))
    save(first, tmp_path / "b.safetensors", "fp32")
    again = load(tmp_path / "b.safetensors")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_other_adapters_are_none() -> None:
    others = ("ip-adapter_sd15", "ip-adapter-faceid_sd15", "ip_adapter (XLabs Flux)")
    rows = [find_naming(entries(file)) for file in (FILE, *others)]
    assert [row and row.words for row in rows] == ["as InstantX numbers blocks", None, None, "as XLabs names them"]


def test_the_published_file_says_what_it_is(tmp_path: Path) -> None:
    found = describe(write(tmp_path, FILE, entries(FILE)))
    assert found.usable
    said = " ".join((found.line, *found.details))
    assert "InstantX SD3.5, SD3.5 Large (38 layers, context 2432), 64 tokens, reads ViT-SO400M-14-SigLIP-384" in said
    assert "as InstantX numbers blocks" in said


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("ip_adapter.37.norm_ip_k.weight", r"lacks ip_adapter\.75\.norm_ip_k\.weight"),
        ("image_proj.layers.3.2.1.bias", r"lacks image_proj\.layers\.3\.2\.1\.bias"),
    ],
)
def test_a_damaged_file_is_refused_by_name(lost: str, message: str) -> None:
    named = entries(FILE)
    del named[lost]
    with pytest.raises(UnsupportedCheckpoint, match=message):
        identify(named)


def test_a_layer_whose_time_is_another_is_named() -> None:
    named = entries(FILE)
    named["ip_adapter.3.norm_ip.linear.weight"] = Entry((4864, 1281), "F16")
    with pytest.raises(
        UnsupportedCheckpoint, match=r"ip_adapter\.7\.norm_ip\.linear\.weight reads a time of width 1281"
    ):
        identify(named)


def test_layers_of_two_files_in_one_keep_their_numbers(tmp_path: Path) -> None:
    """As trainers do, under two prefixes."""
    flat = adapters.flat(adapters.counted(adapters.adapter(**adapters.KINDS["InstantX SD3.5"])))
    save_file({name: value.clone() for name, value in adapters.doubled(flat).items()}, tmp_path / "twice.safetensors")
    assert len(load(tmp_path / "twice.safetensors").layers()) == len(adapters.TINY_WIDTHS)


# Flux

FLUX = "ip-adapter (InstantX Flux)"


def test_the_published_file_for_flux_says_what_it_is(tmp_path: Path) -> None:
    found = describe(write(tmp_path, FLUX, entries(FLUX)))
    assert found.usable
    said = " ".join((found.line, *found.details))
    assert "InstantX Flux, Flux (57 layers, context 4096), 128 tokens, reads ViT-SO400M-14-SigLIP-384" in said
    assert "as InstantX numbers blocks" in said


def test_blocks_of_flux_keep_their_order(tmp_path: Path) -> None:
    nested = adapters.adapter(**adapters.KINDS["InstantX Flux"])
    ours = load(adapters.save(tmp_path / "a.bin", adapters.counted(nested)))
    for number, layer in enumerate(ours.layers()):
        assert torch.equal(layer.to_k_ip.weight, nested["ip_adapter"][f"{2 * number + 1}.to_k_ip.weight"])
    save(ours, tmp_path / "b.safetensors", "fp32")
    assert load(tmp_path / "b.safetensors").digest() == ours.digest()


def test_keys_for_flux_have_heads_of_an_rms_of_1_and_values_are_as_they_come(tmp_path: Path) -> None:
    nested = adapters.adapter(**adapters.KINDS["InstantX Flux"] | {"widths": (256,)})
    network = load(adapters.save(tmp_path / "a.bin", adapters.counted(nested)))
    tokens = torch.randn(2, 3, adapters.TINY_CONTEXT)
    ((keys, values),) = network.keys_values(tokens)
    plain = tokens @ nested["ip_adapter"]["1.to_k_ip.weight"].T
    heads = plain.unflatten(-1, (2, 128))
    torch.testing.assert_close(keys, (heads / (heads.square().mean(-1, keepdim=True) + 1e-5).sqrt()).flatten(-2))
    torch.testing.assert_close(values, tokens @ nested["ip_adapter"]["1.to_v_ip.weight"].T)


def test_a_damaged_file_for_flux_is_refused_by_name() -> None:
    named = entries(FLUX)
    del named["ip_adapter.56.to_v_ip.weight"]
    with pytest.raises(UnsupportedCheckpoint, match=r"lacks ip_adapter\.113\.to_v_ip\.weight"):
        identify(named)
