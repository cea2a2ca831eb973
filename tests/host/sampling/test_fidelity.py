"""The same adapter on the same weights in diffusers and in ComfyUI: equal noise predictions, layer by layer."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters import loading as core
from comfyui_ip_adapter.ip_adapter_core.attention.application import applications
from comfyui_ip_adapter.ip_adapter_core.layers import layout
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from constructions import EMBED, embeds
from fabricate import adapters
from sampled import apply
from twins import CONSTRUCTIONS, TOLERANCE, Call, Twins, call, error

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.fixture(scope="module", params=CONSTRUCTIONS)
def twins(request: pytest.FixtureRequest, comfy: None) -> Twins:
    return Twins(request.param)


@pytest.fixture(scope="module")
def nested(twins: Twins) -> dict[str, dict[str, Tensor]]:
    widths = tuple(layer.width for layer in layout.layers(twins.construction.comfy | {"model_channels": 32}))
    return adapters.adapter("base", widths, twins.context, EMBED)


@pytest.fixture(scope="module")
def prompted(twins: Twins, nested: dict[str, dict[str, Tensor]]) -> Twins:
    """The twins whose reference carries the adapter, attached by diffusers' own loader."""
    twins.reference._load_ip_adapter_weights([nested], low_cpu_mem_usage=False)
    return twins


def ours(nested: dict[str, dict[str, Tensor]], folder: Path, cond: Tensor, uncond: Tensor) -> ImagePrompt:
    network = core.load(adapters.save(folder / "adapter.safetensors", nested))
    return image_prompt(network, (cond,), (uncond,))


def test_layers_are_as_wide_and_have_as_many_heads_as_in_the_model(twins: Twins) -> None:
    from comfyui_ip_adapter.nodes.host import models

    network = twins.patcher.model.diffusion_model
    for layer in models.layers(twins.patcher):
        attention = network.get_submodule(layer.module).attn2
        assert (layer.heads, layer.width) == (attention.heads, attention.to_q.out_features)


def test_bare_models_agree(twins: Twins) -> None:
    given = call(twins.context)
    assert error(twins.call_comfy(given, twins.patcher), _without_adapter(twins, given)) < 1e-5


def _without_adapter(twins: Twins, given: Call) -> Tensor:
    if any(hasattr(processor, "scale") for processor in twins.reference.attn_processors.values()):
        twins.set_reference_weight(0.0)
        return twins.call_reference(given, torch.zeros(len(given.x), 1, EMBED))
    return twins.call_reference(given)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24)])
@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_prompted_models_agree(
    prompted: Twins, nested: Any, tmp_path: Path, height: int, width: int, weight: float
) -> None:
    given = call(prompted.context, 2, height, width)
    cond = embeds()
    prompted.set_reference_weight(weight)
    expected = prompted.call_reference(given, cond.expand(2, 1, EMBED))
    model = apply(prompted.patcher, ours(nested, tmp_path, cond, torch.zeros_like(cond)), weight)
    found = prompted.call_comfy(given, model, cond_or_uncond=[0])
    assert error(found, expected) < TOLERANCE
    assert error(found, prompted.call_comfy(given, prompted.patcher)) > 0.1


@pytest.mark.parametrize("order", [[0], [1], [0, 1], [1, 0], [0, 1, 0]])
def test_every_row_gets_its_own_side(prompted: Twins, nested: Any, tmp_path: Path, order: list[int]) -> None:
    given = call(prompted.context, 2 * len(order))
    cond, uncond = embeds(seed=5), embeds(seed=6)
    prompted.set_reference_weight(1.0)
    rows = torch.cat([(cond, uncond)[side].expand(2, 1, EMBED) for side in order])
    model = apply(prompted.patcher, ours(nested, tmp_path, cond, uncond))
    found = prompted.call_comfy(given, model, cond_or_uncond=order)
    assert error(found, prompted.call_reference(given, rows)) < TOLERANCE


def test_several_images_are_one_prompt(prompted: Twins, nested: Any, tmp_path: Path) -> None:
    given = call(prompted.context)
    cond = embeds(3)
    prompted.set_reference_weight(1.0)
    model = apply(prompted.patcher, ours(nested, tmp_path, cond, torch.zeros_like(cond)))
    expected = prompted.call_reference(given, cond.expand(2, 3, EMBED))
    assert error(prompted.call_comfy(given, model, cond_or_uncond=[0]), expected) < TOLERANCE


def test_every_layer_is_called_exactly_once(
    twins: Twins, nested: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import layer_patch

    calls: Counter[tuple[Any, ...]] = Counter()
    attend = layer_patch._attend

    def counting(text: Any, q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
        calls[(*options["block"], options["block_index"])] += 1
        return attend(text, q, k, v, options)

    monkeypatch.setattr(layer_patch, "_attend", counting)
    model = apply(twins.patcher, ours(nested, tmp_path, embeds(), embeds()))
    twins.call_comfy(call(twins.context), model, cond_or_uncond=[0])
    assert len(calls) == twins.construction.layers
    assert set(calls.values()) == {1}


def test_the_execution_order_is_a_wrong_map(prompted: Twins, nested: Any, tmp_path: Path) -> None:
    assert _error_of_map(prompted, nested, tmp_path, _execution_order) > 0.1


def test_the_middle_block_at_one_is_a_wrong_map(prompted: Twins, nested: Any, tmp_path: Path) -> None:
    assert _error_of_map(prompted, nested, tmp_path, _middle_at_one) > 0.01


def test_the_map_of_this_package_is_right(prompted: Twins, nested: Any, tmp_path: Path) -> None:
    assert _error_of_map(prompted, nested, tmp_path, list) < TOLERANCE


def _execution_order(layers: list[layout.Layer]) -> list[layout.Layer]:
    stages = ("input", "middle", "output")
    return sorted(layers, key=lambda layer: stages.index(layer.stage))


def _middle_at_one(layers: list[layout.Layer]) -> list[layout.Layer]:
    return [layer._replace(block=1) if layer.stage == "middle" else layer for layer in layers]


def _error_of_map(twins: Twins, nested: Any, folder: Path, change: Any) -> float:
    """The error when layers are assigned to keys and values by another map, wherever widths still allow it."""

    from comfyui_ip_adapter.nodes.host.sampling import model_patch

    given, cond = call(twins.context), embeds()
    twins.set_reference_weight(1.0)
    expected = twins.call_reference(given, cond.expand(2, 1, EMBED))
    layers = layout.layers(twins.patcher.model.model_config.unet_config)
    (right,) = applications(ours(nested, folder, cond, cond), layers, twins.context)
    assigned = dict(zip(change(list(layers)), right.layers.values(), strict=True))
    fitting = {layer: terms for layer, terms in assigned.items() if terms[0].kv.keys.shape[-1] == layer.width}
    wrong = model_patch.install(twins.patcher, (replace(right, layers=fitting),))
    found = twins.call_comfy(given, wrong, cond_or_uncond=[0])
    return error(found, expected)
