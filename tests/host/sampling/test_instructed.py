"""IP-Adapter-Instruct in whole UNets: its tokens by the plain formula, its layers by diffusers' processors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.layers import layout
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.instruction import Instruction
from fabricate import adapters
from instructed import plain_tokens
from sampled import apply, with_layers
from twins import TOLERANCE, Twins, call, error

pytestmark = pytest.mark.usefixtures("comfy")

HIDDEN, TEXT, TOKENS = 24, 40, 5


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


PICTURE, NO_PICTURE = draw(1, 1, 9, HIDDEN), draw(2, 1, 9, HIDDEN)
SAID = Instruction(*(draw(seed, 1, 7, TEXT) for seed in (3, 4, 5, 6)))


@pytest.fixture(scope="module", params=["SD1.5", "SDXL"])
def twins(request: pytest.FixtureRequest, comfy: None) -> Twins:
    return Twins(request.param)


@pytest.fixture(scope="module")
def nested(twins: Twins) -> adapters.Nested:
    widths = tuple(layer.width for layer in layout.layers(twins.construction.comfy | {"model_channels": 32}))
    sizes = {"tokens": TOKENS, "text": TEXT, "depth": 2, "width": 64}
    return adapters.adapter("Instruct", widths, twins.context, HIDDEN, **sizes)


@pytest.fixture(scope="module")
def prompted(twins: Twins, nested: adapters.Nested) -> Twins:
    """The twins whose reference carries the layers of the adapter, and is given tokens instead of features."""
    base = adapters.adapter("base", context=twins.context, embed=twins.context)["image_proj"]
    given = [{"image_proj": base, "ip_adapter": nested["ip_adapter"]}]
    twins.reference._load_ip_adapter_weights(given, low_cpu_mem_usage=False)
    twins.reference.encoder_hid_proj.image_projection_layers[0] = nn.Identity()
    twins.set_reference_weight(1.0)
    return twins


def ours(nested: adapters.Nested, folder: Path) -> ImagePrompt:
    network = load(adapters.save(folder / "adapter.safetensors", nested))
    return image_prompt(network, (PICTURE,), (NO_PICTURE,), instruction=SAID)


def tokens_of(nested: adapters.Nested, side: int) -> Tensor:
    """By the plain formula, (1, tokens, context)."""
    read = [(PICTURE, SAID.instruction, SAID.prompt), (NO_PICTURE, SAID.nothing, SAID.negative)][side]
    return plain_tokens(nested["image_proj"], *(part[0] for part in read))[None]


def expected(twins: Twins, given: Any, nested: adapters.Nested, order: list[int]) -> Tensor:
    rows = torch.cat([tokens_of(nested, side).expand(2, -1, -1) for side in order])
    return twins.call_reference(given, rows[:, None])


@pytest.mark.parametrize("order", [[0], [1], [1, 0]])
def test_whole_models_agree(prompted: Twins, nested: adapters.Nested, tmp_path: Path, order: list[int]) -> None:
    given = call(prompted.context, 2 * len(order))
    model = apply(prompted.patcher, ours(nested, tmp_path))
    found = prompted.call_comfy(given, model, cond_or_uncond=order)
    assert error(found, expected(prompted, given, nested, order)) < TOLERANCE
    assert error(found, prompted.call_comfy(given, prompted.patcher)) > 0.1


def test_one_side_is_not_the_other(prompted: Twins, nested: adapters.Nested, tmp_path: Path) -> None:
    given = call(prompted.context)
    found = prompted.call_comfy(given, apply(prompted.patcher, ours(nested, tmp_path)), cond_or_uncond=[0])
    assert error(found, expected(prompted, given, nested, [1])) > 0.01


def backwards(layers: list[layout.Layer]) -> list[layout.Layer]:
    """Within each width, so that keys and values still fit."""
    turned = {width: [layer for layer in layers if layer.width == width] for width in {one.width for one in layers}}
    return [turned[layer.width].pop() for layer in layers]


@pytest.mark.parametrize(("change", "right"), [(list, True), (backwards, False)], ids=["ours", "backwards"])
def test_no_other_map_of_layers_agrees(
    prompted: Twins, nested: adapters.Nested, tmp_path: Path, change: Callable[[list[Any]], list[Any]], right: bool
) -> None:
    given, prompt = call(prompted.context), ours(nested, tmp_path)
    layers = change(list(layout.layers(prompted.patcher.model.model_config.unet_config)))
    model = with_layers(prompted.patcher, prompt, layers, prompted.context)
    found = error(prompted.call_comfy(given, model, cond_or_uncond=[0]), expected(prompted, given, nested, [0]))
    assert found < TOLERANCE if right else found > 0.01
