"""Adapters to train: new ones with the published sizes and beginning, and copies of those that exist."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.adapters import adapter as core
from comfyui_ip_adapter.ip_adapter_core.adapters import loading
from comfyui_ip_adapter.ip_adapter_core.adapters.checkpoint import Parts
from comfyui_ip_adapter.ip_adapter_core.adapters.projections import Resampler
from comfyui_ip_adapter.ip_adapter_core.layers.families import FAMILIES
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Geometry
from comfyui_ip_adapter.ip_adapter_core.training import fresh as fresh_module
from comfyui_ip_adapter.ip_adapter_core.training.fresh import TRAINABLE_KINDS, fresh, trainable
from fabricate import adapters
from published_shapes import FILES, entries
from training.parts import base_weights, same

TRAINED = ("ip-adapter_sd15", "ip-adapter-plus_sd15", "ip-adapter_sdxl", "ip-adapter-plus_sdxl_vit-h")


@pytest.mark.parametrize("file", TRAINED)
def test_fresh_adapters_have_the_published_names_and_shapes(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_module, "_begin", lambda adapter, base: None)
    row = FILES[file]
    geometry = FAMILIES[row.layers]
    base = [(torch.empty(width, geometry.context, device="meta"),) * 2 for width in geometry.widths]
    with torch.device("meta"):
        made = fresh(row.variant, geometry, row.sizes["embed"], base)
    found = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
    assert found == {name: entry.shape for name, entry in entries(file).items()}
    assert sum(tensor.numel() for tensor in made.parameters()) == row.parameters


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_a_fresh_adapter_begins_with_the_base_models_weights(kind: str) -> None:
    geometry = Geometry(48, (32, 64))
    base = base_weights(geometry)
    made = fresh(kind, geometry, 20, base)
    for layer, (to_k, to_v) in zip(made.layers(), base, strict=True):
        assert torch.equal(layer.to_k_ip.weight, to_k)
        assert torch.equal(layer.to_v_ip.weight, to_v)
    assert all(parameter.requires_grad for parameter in made.parameters())
    assert all(parameter.isfinite().all() for parameter in made.parameters())
    again, other = (fresh(kind, geometry, 20, base, seed) for seed in (0, 1))
    assert same(made, again)
    assert not same(made, other)


def test_a_fresh_adapter_can_have_another_number_of_tokens() -> None:
    geometry = Geometry(48, (32, 64))
    assert [
        fresh(kind, geometry, 20, base_weights(geometry), tokens=7).identity().tokens for kind in ("base", "plus")
    ] == [
        7,
        7,
    ]


def test_fresh_adapters_need_a_known_kind_and_a_fitting_base() -> None:
    geometry = Geometry(48, (32, 64))
    with pytest.raises(ValueError, match="Set kind to one of base, plus"):
        fresh("face", geometry, 20, base_weights(geometry))
    with pytest.raises(ValueError, match="its to_k do not have them"):
        fresh("base", geometry, 20, base_weights(Geometry(48, (64, 32))))


def test_training_can_go_on_from_a_published_adapter(tmp_path: Path) -> None:
    path = adapters.save(tmp_path / "a.safetensors", adapters.adapter("plus"), torch.float16)
    loaded = loading.load(path)
    copy = trainable(loaded)
    assert all(p.requires_grad and p.dtype is torch.float32 and not p.is_inference() for p in copy.parameters())
    with torch.no_grad():
        copy.layers()[0].to_k_ip.weight.zero_()
    assert loaded.layers()[0].to_k_ip.weight.any()


def test_a_plus_for_sd2_has_the_heads_that_the_published_code_fixes() -> None:
    """12 of 64 in every resampler but SDXL's."""
    made = with_shapes(TRAINABLE_KINDS["plus"].shapes(1024, 1280, 16))
    assert tuple(made["latents"].shape) == (1, 16, 1024)
    assert tuple(made["layers.0.0.to_q.weight"].shape) == (12 * 64, 1024)
    assert tuple(made["layers.0.0.to_kv.weight"].shape) == (2 * 12 * 64, 1024)
    assert tuple(made["layers.0.0.to_out.weight"].shape) == (1024, 12 * 64)
    assert tuple(made["proj_out.weight"].shape) == (1024, 1024)


def with_shapes(shapes: Any) -> dict[str, Tensor]:
    with torch.device("meta"):
        return Resampler(shapes, nn).state_dict()


def test_a_plus_for_sd2_that_was_trained_with_more_heads_is_trained_on(tmp_path: Path) -> None:
    geometry = Geometry(1024, (32,))
    shapes = TRAINABLE_KINDS["plus"].shapes(1024, 20, 2)
    wider = {name: (1024, *shape[1:]) if name.endswith("to_q.weight") else shape for name, shape in shapes.items()}
    earlier = core.Adapter(Parts(wider, {1: {"to_k_ip.weight": (32, geometry.context)}}, {}), nn)
    save_file(
        {name: torch.zeros_like(tensor) for name, tensor in earlier.state_dict().items()}, tmp_path / "a.safetensors"
    )
    copy = trainable(loading.load(tmp_path / "a.safetensors"))
    assert copy.state_dict()["image_proj.layers.0.0.to_q.weight"].shape == (1024, 1024)
    assert copy.identity().variant.name == "plus"
