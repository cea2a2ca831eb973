"""What depends on the noise level in InstantX's adapter for SD3.5: equal to diffusers, and to the formulas."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.key_value_layers import HeadNorm, TimedKeyValueLayers
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.adapters.time_resampler import TimeEmbedding, TimeResampler
from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import combine_prompts
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from fabricate import adapters

SIZES: dict[str, Any] = {"embed": 40, "tokens": 4, "width": 128, "depth": 4, "waves": 32, "head": 16}
STEPS = [0.0, 217.0, 803.0, 1000.0]


def nested(seed: int = 0) -> adapters.Nested:
    return adapters.adapter("InstantX SD3.5", (64, 64), 64, seed=seed, **SIZES)


@pytest.fixture
def network(tmp_path: Path) -> Adapter:
    return load(adapters.save(tmp_path / "a.safetensors", nested()))


def hidden(images: int = 1, seed: int = 1) -> Tensor:
    return torch.randn(images, 6, 40, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("timestep", STEPS)
def test_tokens_and_keys_and_values_are_those_of_diffusers(network: Adapter, timestep: float) -> None:
    from diffusers.loaders.transformer_sd3 import SD3Transformer2DLoadersMixin
    from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0

    given = adapters.counted(nested())
    theirs = SD3Transformer2DLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers(given["image_proj"], False)
    expected, time = theirs(hidden(), torch.tensor([timestep]))
    resampler = network.image_proj
    assert isinstance(resampler, TimeResampler)
    ours = resampler.at(network.tokens(hidden()), resampler.time_embedding(torch.tensor([timestep])))
    assert torch.allclose(ours, expected, atol=1e-5)
    for number, (kv, norms) in enumerate(network.keys_values_at(network.tokens(hidden()), 1, timestep)):
        layer = SD3IPAdapterJointAttnProcessor2_0(64, 64, 16, 128)
        own = {
            key.split(".", 1)[1]: value for key, value in given["ip_adapter"].items() if key.startswith(f"{number}.")
        }
        layer.load_state_dict(own)
        normed = layer.norm_ip(expected, temb=time)
        heads = layer.norm_ip_k(layer.to_k_ip(normed).unflatten(-1, (4, 16))).flatten(-2)
        assert torch.allclose(kv.keys, heads, atol=1e-5)
        assert torch.allclose(kv.values, layer.to_v_ip(normed), atol=1e-5)
        assert torch.equal(norms.queries, layer.norm_q.weight)
        assert torch.equal(norms.keys, layer.norm_k.weight)


def test_a_timestep_is_cosines_then_sines() -> None:
    made = TimeEmbedding({"time_embedding.linear_1.weight": (8, 10)}, 8, nn)
    angles = [217 * 10000 ** (-number / 5) for number in range(5)]
    waves = torch.tensor([[*map(math.cos, angles), *map(math.sin, angles)]])
    first, second = made.linear_1, made.linear_2
    expected = linear(silu(linear(waves, first.weight, first.bias)), second.weight, second.bias)
    assert torch.allclose(made(torch.tensor([217.0])), expected, atol=1e-4)


def test_heads_are_normalised_each_by_itself() -> None:
    norm = HeadNorm(4)
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    found = norm(torch.tensor([[2.0, 2.0, 2.0, 2.0, 7.0, -7.0, 7.0, -7.0]]))
    assert torch.allclose(found, torch.tensor([[1.0, 2.0, 3.0, 4.0, 1.0, -2.0, 3.0, -4.0]]), atol=1e-4)


def test_layers_of_the_network_are_timed_and_what_prompts_keep_is_not(network: Adapter) -> None:
    assert all(isinstance(layer, TimedKeyValueLayers) for layer in network.layers())
    assert network.tokens(hidden()).shape == (1, 6, 128)
    assert network.token_width == 128
    one, other = (network.keys_values_at(network.tokens(hidden()), 1, timestep)[0].kv for timestep in (100, 900))
    assert (one.values - other.values).abs().max() > 0.1


def test_images_side_by_side_are_read_each_by_itself(network: Adapter) -> None:
    both = network.tokens(hidden(2)).flatten(0, 1)[None]
    together = network.keys_values_at(both, 2, 500.0)[1].kv
    apart = [network.keys_values_at(network.tokens(hidden(2))[n : n + 1], 1, 500.0)[1].kv for n in range(2)]
    assert torch.allclose(together.values, torch.cat([one.values for one in apart], dim=1), atol=1e-5)


def prompt(network: Adapter, seed: int) -> ImagePrompt:
    return image_prompt(network, (hidden(seed=seed),), (torch.zeros_like(hidden()),))


def test_a_prompt_makes_its_keys_and_values_later(network: Adapter) -> None:
    made = prompt(network, 1)
    assert made.timed is network
    assert made.parts[0].keys_values == ()


def test_prompts_side_by_side_emphasise_the_tokens_that_are_made(network: Adapter) -> None:
    (part,) = combine_prompts(prompt(network, 1), prompt(network, 2), "side by side", (1.0, 0.5)).parts
    assert part.attn_bias is not None
    assert part.attn_bias.tolist() == pytest.approx([0.0] * 4 + [math.log(0.5)] * 4)
    assert part.tokens.shape == (2, 12, 128)


def test_prompts_are_mixed_before_the_noise_level_is_known(network: Adapter) -> None:
    """As averages of features are: what prompts keep is linear in them."""
    (mixed,) = combine_prompts(prompt(network, 1), prompt(network, 2), "interpolate", (1.0, 1.0)).parts
    average = network.tokens((hidden(seed=1) + hidden(seed=2)) / 2)
    assert torch.allclose(mixed.side(0), average, atol=1e-5)
