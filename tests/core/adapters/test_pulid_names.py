"""A file with PuLID's names is the adapter of the published names, bit for bit, and so is one that is saved."""

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
from fabricate.adapters import KINDS, as_pulid, flat
from foreign_shapes import write
from published_shapes import entries

KINDS_OF_PULID = ["PuLID v1", "PuLID v1.1"]


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
@pytest.mark.parametrize("kind", KINDS_OF_PULID)
def test_it_loads_as_the_same_adapter(tmp_path: Path, kind: str, ending: str) -> None:
    nested = adapters.adapter(**KINDS[kind])
    path, named = tmp_path / f"pulid.{ending}", as_pulid(flat(nested))
    torch.save(named, path) if ending == "bin" else save_file(named, path)
    ours, published = load(path), load(adapters.save(tmp_path / "published.safetensors", nested))
    assert ours.state_dict().keys() == published.state_dict().keys()
    assert all(torch.equal(value, published.state_dict()[name]) for name, value in ours.state_dict().items())
    assert ours.identity() == published.identity()


@pytest.mark.parametrize("kind", KINDS_OF_PULID)
def test_a_file_that_this_package_saves_is_read_again(tmp_path: Path, kind: str) -> None:
    save_file(as_pulid(flat(adapters.adapter(**KINDS[kind]))), tmp_path / "a.safetensors")
    first = load(tmp_path / "a.safetensors")
    save(first, tmp_path / "b.safetensors", "fp32")
    again = load(tmp_path / "b.safetensors")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_names_are_written_as_the_authors_write_them() -> None:
    """The last attention of SDXL's UNet is its number 139, in the middle block; cross-attentions are the odd ones."""
    names = entries("pulid_v1.1")
    layers = [name for name in names if name.startswith("id_adapter_attn_layers.")]
    assert len(layers) == 2 * 70
    assert {"id_adapter_attn_layers.1.id_to_k.weight", "id_adapter_attn_layers.139.id_to_v.weight"} <= {*layers}
    assert {"id_adapter.latents", "id_adapter.proj_out", "id_adapter.layers.9.1.3.weight"} <= {*names}


def test_other_adapters_are_none() -> None:
    others = ("ip-adapter_sd15", "ip-adapter-faceid_sd15", "ip-adapter_pulid_sdxl_fp16")
    rows = [find_naming(entries(file)) for file in ("pulid_v1", *others)]
    assert [row and row.words for row in rows] == ["as PuLID names them", None, None, None]


def test_the_published_file_says_what_it_is(tmp_path: Path) -> None:
    found = describe(write(tmp_path, "pulid_v1.1", entries("pulid_v1.1")))
    assert found.usable
    said = " ".join((found.line, *found.details))
    assert "PuLID v1.1, SDXL (70 layers, context 2048), 32 tokens, reads face embeddings and EVA02-L-14-336" in said
    assert "as PuLID names them" in said


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("id_adapter_attn_layers.37.id_to_v.weight", r"lacks ip_adapter\.37\.to_v_ip\.weight"),
        ("id_adapter.mapping_2.3.bias", r"lacks image_proj\.mapping_2\.3\.bias"),
    ],
)
def test_a_file_without_a_tensor_names_it(lost: str, message: str) -> None:
    named = entries("pulid_v1.1")
    del named[lost]
    with pytest.raises(UnsupportedCheckpoint, match=message):
        identify(named)


def test_a_file_with_a_tensor_too_many_is_refused() -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"holds image_proj\.noise\.weight"):
        identify(entries("pulid_v1") | {"id_adapter.noise.weight": Entry((4,), "F16")})
