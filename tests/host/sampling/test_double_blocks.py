"""The adapter of XLabs on Flux: equal to diffusers, block by block."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, load
from comfyui_ip_adapter.ip_adapter_core.layers import architectures
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom
from constructions import EMBED, embeds
from fabricate import adapters
from flux_twins import FluxTwins
from published_shapes import entries
from sampled import apply, difference, make_prompt, sample, with_layers
from twins import TOLERANCE, call, error

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.fixture(scope="module")
def nested(flux: FluxTwins) -> dict[str, dict[str, Tensor]]:
    """An adapter that diffusers' model carries too."""
    made = adapters.adapter("base", (64,) * 3, flux.context, EMBED, bias=True)
    flux.attach(made)
    return made


@pytest.fixture
def model(flux: FluxTwins) -> Any:
    return flux.patcher


@pytest.fixture(scope="module")
def prompt(flux: FluxTwins, tmp_path_factory: pytest.TempPathFactory) -> ImagePrompt:
    return make_prompt(flux, tmp_path_factory.mktemp("adapters"), 1)


def ours(nested: dict[str, dict[str, Tensor]], folder: Path, cond: Tensor, uncond: Tensor) -> ImagePrompt:
    """The prompt of a file with XLabs' names."""
    adapters.save_file(adapters.as_xlabs(adapters.flat(nested)), folder / "adapter.safetensors")
    return image_prompt(load(folder / "adapter.safetensors"), (cond,), (uncond,))


def test_bare_models_agree(flux: FluxTwins, nested: Any) -> None:
    given = call(flux.context)
    flux.set_reference_weight(0.0)
    expected = flux.call_reference(given, torch.zeros(len(given.x), 1, EMBED))
    assert error(flux.call_comfy(given, flux.patcher), expected) < 1e-5


def test_an_adapter_that_diffusers_saved_does_what_it_does_there(flux: FluxTwins, nested: Any, tmp_path: Path) -> None:
    torch.save(flux.reference.state_dict(), tmp_path / "transformer.bin")
    given, cond = call(flux.context), embeds()
    flux.set_reference_weight(0.7)
    expected = flux.call_reference(given, cond.expand(2, 1, EMBED))
    prompt = image_prompt(load(tmp_path / "transformer.bin"), (cond,), (torch.zeros_like(cond),))
    found = flux.call_comfy(given, apply(flux.patcher, prompt, 0.7), cond_or_uncond=[0])
    assert error(found, expected) < TOLERANCE
    assert error(found, flux.call_comfy(given, flux.patcher)) > 0.1


@pytest.mark.parametrize("hands_out_queries", [True, False], ids=["by a patch", "by the block's layers"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24)])
@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_prompted_models_agree(
    flux: FluxTwins,
    nested: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    height: int,
    width: int,
    weight: float,
    hands_out_queries: bool,
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import flux_queries

    if not hands_out_queries:
        monkeypatch.setattr(flux_queries, "_hands_out_queries", lambda block: False)
    given, cond = call(flux.context, 2, height, width), embeds()
    flux.set_reference_weight(weight)
    expected = flux.call_reference(given, cond.expand(2, 1, EMBED))
    model = apply(flux.patcher, ours(nested, tmp_path, cond, torch.zeros_like(cond)), weight)
    found = flux.call_comfy(given, model, cond_or_uncond=[0])
    assert error(found, expected) < TOLERANCE
    assert error(found, flux.call_comfy(given, flux.patcher)) > 0.1


@pytest.mark.parametrize("order", [[0], [1], [1, 0], [0, 1, 0]])
def test_every_row_gets_its_own_side(flux: FluxTwins, nested: Any, tmp_path: Path, order: list[int]) -> None:
    given = call(flux.context, 2 * len(order))
    cond, uncond = embeds(seed=5), embeds(seed=6)
    flux.set_reference_weight(1.0)
    rows = torch.cat([(cond, uncond)[side].expand(2, 1, EMBED) for side in order])
    model = apply(flux.patcher, ours(nested, tmp_path, cond, uncond))
    found = flux.call_comfy(given, model, cond_or_uncond=order)
    assert error(found, flux.call_reference(given, rows)) < TOLERANCE


MAPS: dict[str, Any] = {
    "backwards": lambda layers: layers[::-1],
    "one block later": lambda layers: [*layers[1:], layers[0]],
}


@pytest.mark.parametrize("name", MAPS)
def test_another_order_of_blocks_is_a_wrong_map(flux: FluxTwins, nested: Any, tmp_path: Path, name: str) -> None:
    assert _error_of_map(flux, nested, tmp_path, MAPS[name]) > 0.1


def test_the_map_of_this_package_is_right(flux: FluxTwins, nested: Any, tmp_path: Path) -> None:
    assert _error_of_map(flux, nested, tmp_path, list) < TOLERANCE


def _error_of_map(flux: FluxTwins, nested: Any, folder: Path, change: Any) -> float:
    given, cond = call(flux.context), embeds()
    flux.set_reference_weight(1.0)
    expected = flux.call_reference(given, cond.expand(2, 1, EMBED))
    layers = architectures.layers(flux.construction.comfy)
    wrong = with_layers(flux.patcher, ours(nested, folder, cond, cond), change(list(layers)), flux.context)
    return error(flux.call_comfy(given, wrong, cond_or_uncond=[0]), expected)


def test_every_block_is_called_exactly_once(
    flux: FluxTwins, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import double_blocks

    calls: Counter[Any] = Counter()
    add = double_blocks._ADD[double_blocks.BEHIND]

    def counting(block: Any, place: Any, args: Any) -> Any:
        calls[place.options["block"]] += 1
        return add(block, place, args)

    monkeypatch.setitem(double_blocks._ADD, double_blocks.BEHIND, counting)
    flux.call_comfy(call(flux.context), apply(flux.patcher, prompt), cond_or_uncond=[0])
    assert calls == {("double", number): 1 for number in range(3)}


def test_reference_latents_take_no_image_attention(flux: FluxTwins, prompt: ImagePrompt, monkeypatch: Any) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import double_blocks

    seen: list[tuple[Tensor, Tensor]] = []
    add = double_blocks.add_images

    def recording(attended: Tensor, q: Tensor, options: Any, in_place: bool) -> Tensor:
        seen.append((attended.clone(), add(attended, q, options, in_place)))
        return seen[-1][1]

    monkeypatch.setattr(double_blocks, "add_images", recording)
    given = call(flux.context)
    conds = flux._conds(given) | {"ref_latents": [given.x[:, :, :8]]}
    monkeypatch.setattr(flux, "_conds", lambda call: conds)
    bare = flux.call_comfy(given, flux.patcher)
    found = flux.call_comfy(given, apply(flux.patcher, prompt), cond_or_uncond=[0])
    assert found.shape == given.x.shape
    assert error(found, bare) > 0.1
    assert [before.shape for before, _ in seen] == [(2, 64, 64)] * 3


def test_lists_name_double_blocks(model: Any, prompt: ImagePrompt) -> None:
    with pytest.raises(ValueError, match=r"double: 0, 1, 2; all; numbers 0-2, and found style"):
        apply(model, prompt, layer_weights=custom("style = 1"))
    one = sample(apply(model, prompt, layer_weights=custom("double.1 = 1")))
    assert difference(one, sample(apply(model, prompt, layer_weights=custom("1 = 1")))) == 0
    assert difference(one, sample(apply(model, prompt))) > 1e-3
    assert difference(sample(apply(model, prompt, layer_weights=from_weight_type("ease in"))), one) > 1e-3


# The published size


@pytest.mark.parametrize("file", ["ip_adapter (XLabs Flux)", "ip_adapter (XLabs Flux v2)"])
def test_a_published_file_fits_the_published_model(file: str) -> None:
    from comfy import model_detection, ops
    from comfy.ldm.flux.model import Flux

    published = {
        **{"in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 768, "context_in_dim": 4096},
        **{"hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19, "depth_single_blocks": 38},
        **{"axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": True, "txt_ids_dims": []},
    }
    network = Flux(device="meta", dtype=torch.bfloat16, operations=ops.disable_weight_init, **published)
    config = model_detection.detect_unet_config(network.state_dict(), "")
    identity = identify(entries(file))
    assert identity.geometry == architectures.geometry(config)
    assert identity.family == "Flux"
    for layer in architectures.layers(config):
        assert network.double_blocks[layer.block].num_heads == layer.heads
        assert network.double_blocks[layer.block].hidden_size == layer.width
