"""The projection of adapters for Anima equals its formula, written with torch's own attention."""

from pathlib import Path

import pytest
import torch

from anima_twins import EMBED, PATCHES, anima_adapter, hidden, tokens_of
from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.centred_resampler import CentredResampler
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from fabricate import adapters


@pytest.fixture
def network(tmp_path: Path) -> Adapter:
    return load(adapters.save(tmp_path / "a.safetensors", anima_adapter()))


def test_tokens_are_those_of_the_formula(network: Adapter) -> None:
    assert isinstance(network.image_proj, CentredResampler)
    expected = tokens_of(adapters.as_anima(adapters.flat(anima_adapter())), hidden(3))
    torch.testing.assert_close(network.tokens(hidden(3)), expected, atol=1e-5, rtol=0)
    assert (network.image_proj.tokens, network.image_proj.widths, network.image_proj.context) == (4, (EMBED,), 48)


def test_features_are_read_as_they_differ_from_the_centroid(network: Adapter) -> None:
    centroid, shift = network.image_proj.ip_centroid, torch.randn(EMBED)
    before = network.tokens(hidden())
    network.image_proj.ip_centroid = torch.nn.Parameter(centroid + shift, requires_grad=False)
    torch.testing.assert_close(network.tokens(hidden() + shift), before, atol=1e-5, rtol=0)
    assert not torch.allclose(network.tokens(hidden()), before, atol=1e-3)


def test_what_is_left_out_is_not_read(network: Adapter) -> None:
    kept = torch.arange(PATCHES)[None] < 6
    given, other = hidden(), hidden(seed=8)
    mixed = torch.where(kept[..., None], given, other)
    torch.testing.assert_close(network.tokens(given, kept), network.tokens(mixed, kept), atol=1e-6, rtol=0)
    torch.testing.assert_close(network.tokens(given, kept), network.tokens(given[:, :6]), atol=1e-5, rtol=0)
    assert not torch.allclose(network.tokens(given, kept), network.tokens(given), atol=1e-3)


def test_gates_multiply_values_alone(network: Adapter) -> None:
    tokens, nested = network.tokens(hidden()), anima_adapter()["ip_adapter"]
    for number, (keys, values) in enumerate(network.keys_values(tokens)):
        name = f"{2 * number + 1}"
        torch.testing.assert_close(keys, tokens @ nested[f"{name}.to_k_ip.weight"].T)
        expected = tokens @ nested[f"{name}.to_v_ip.weight"].T * nested[f"{name}.ip_gate"]
        torch.testing.assert_close(values, expected)
