"""Image prompts on Anima: equal to the formula of its adapters, block by block."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import rms_norm

from anima_twins import (
    ANIMA,
    EMBED,
    HEADS,
    AnimaTwins,
    anima_adapter,
    anima_call,
    hidden,
    plain_images,
    tokens_of,
)
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, load
from comfyui_ip_adapter.ip_adapter_core.layers import architectures
from comfyui_ip_adapter.ip_adapter_core.layers.cross_stream import layers as blocks_of
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom
from fabricate import adapters
from published_shapes import entries
from sampled import apply, difference, make_prompt, sample, with_layers
from twins import TOLERANCE, error

pytestmark = pytest.mark.usefixtures("comfy")

FILE = "anima_ip_adapter_quality_20260610"
Named = dict[str, Tensor]


@pytest.fixture(scope="module")
def file() -> Named:
    """An adapter under the names of anima_lora."""
    return adapters.as_anima(adapters.flat(anima_adapter()))


@pytest.fixture
def model(anima: AnimaTwins) -> Any:
    return anima.patcher


@pytest.fixture(scope="module")
def prompt(anima: AnimaTwins, tmp_path_factory: pytest.TempPathFactory) -> ImagePrompt:
    return make_prompt(anima, tmp_path_factory.mktemp("adapters"), 1)


def ours(file: Named, folder: Path, cond: Tensor, uncond: Tensor | None = None) -> ImagePrompt:
    """The prompt of a file with anima_lora's names; without an uncond both sides read the same."""
    save_file({name: value.contiguous() for name, value in file.items()}, folder / "adapter.safetensors")
    inputs = (cond,)
    return image_prompt(load(folder / "adapter.safetensors"), inputs, inputs if uncond is None else (uncond,))


def test_bare_models_agree(anima: AnimaTwins) -> None:
    given = anima_call()
    assert error(anima.call_comfy(given, anima.patcher), anima.call_with(given)) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24), (15, 16)])
@pytest.mark.parametrize(("weight", "sigma"), [(1.0, 0.7), (0.4, 0.7), (1.0, 0.05)])
def test_prompted_models_agree(
    anima: AnimaTwins, file: Named, tmp_path: Path, height: int, width: int, weight: float, sigma: float
) -> None:
    given, cond = anima_call(2, height, width, sigma), hidden()
    found = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, cond), weight), cond_or_uncond=[0])
    expected = anima.call_with(given, plain_images(file, cond.expand(2, -1, -1), weight))
    assert error(found, expected) < TOLERANCE
    assert error(found, anima.call_comfy(given, anima.patcher)) > 0.05


@pytest.mark.parametrize("order", [[0], [1], [1, 0], [0, 1, 0]])
def test_every_row_gets_its_own_side(anima: AnimaTwins, file: Named, tmp_path: Path, order: list[int]) -> None:
    given, sides = anima_call(2 * len(order)), (hidden(seed=5), hidden(seed=6))
    rows = torch.cat([sides[side].expand(2, -1, -1) for side in order])
    found = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, *sides)), cond_or_uncond=order)
    assert error(found, anima.call_with(given, plain_images(file, rows))) < TOLERANCE


@pytest.mark.parametrize("order", [[0], [1], [1, 0]])
def test_without_a_negative_image_both_sides_read_the_same(
    anima: AnimaTwins, file: Named, tmp_path: Path, order: list[int]
) -> None:
    given, cond = anima_call(2 * len(order)), hidden()
    found = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, cond)), cond_or_uncond=order)
    expected = anima.call_with(given, plain_images(file, cond.expand(2 * len(order), -1, -1)))
    assert error(found, expected) < TOLERANCE


def test_several_references_share_one_softmax(anima: AnimaTwins, file: Named, tmp_path: Path) -> None:
    given, both = anima_call(), hidden(2)
    found = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, both)), cond_or_uncond=[0])
    alone = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, both[:1])), cond_or_uncond=[0])
    tokens = tokens_of(file, both).flatten(0, 1)[None]

    def added(number: int, q: Tensor) -> Tensor:
        k, v = ((tokens @ file[f"to_{part}_ip.{number}.weight"].T).unflatten(-1, (HEADS, -1)) for part in "kv")
        scores = torch.einsum("bshd,nthd->bhst", q, k) / q.shape[-1] ** 0.5
        read = torch.einsum("bhst,nthd->bshd", scores.softmax(-1), v)
        return file[f"ip_gate.{number}"] * read.flatten(2)

    assert error(found, anima.call_with(given, added)) < TOLERANCE
    assert error(found, alone) > 1e-2


# Wrong maps


def normed_keys(anima: AnimaTwins, file: Named, features: Tensor) -> Any:
    """The formula of April 2026: K' in the norm that the model has for the keys of texts."""
    tokens = tokens_of(file, features)

    def added(number: int, q: Tensor) -> Tensor:
        k, v = ((tokens @ file[f"to_{part}_ip.{number}.weight"].T).unflatten(-1, (HEADS, -1)) for part in "kv")
        k = rms_norm(k, k.shape[-1:], anima.reference.blocks[number].cross_attn.k_norm.weight, 1e-6)
        scores = torch.einsum("bshd,bthd->bhst", q, k) / q.shape[-1] ** 0.5
        return file[f"ip_gate.{number}"] * torch.einsum("bhst,bthd->bshd", scores.softmax(-1), v).flatten(2)

    return added


WRONG: dict[str, Callable[[Named], Named]] = {
    "without gates": lambda file: {n: torch.ones(()) if n.startswith("ip_gate") else v for n, v in file.items()},
    "without the centroid": lambda file: file | {"ip_centroid": torch.zeros(EMBED)},
    "keys and values exchanged": lambda file: (
        file | {n.replace("_k_", "_v_"): v for n, v in file.items() if n.startswith("to_k")}
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_formula_gives_another_picture(anima: AnimaTwins, file: Named, tmp_path: Path, name: str) -> None:
    given, cond = anima_call(), hidden()
    found = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, cond)), cond_or_uncond=[0])
    wrong = anima.call_with(given, plain_images(WRONG[name](file), cond.expand(2, -1, -1)))
    assert error(found, wrong) > 100 * TOLERANCE


def test_keys_in_the_norm_of_the_model_give_another_picture(anima: AnimaTwins, file: Named, tmp_path: Path) -> None:
    given, cond = anima_call(), hidden()
    found = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, cond)), cond_or_uncond=[0])
    wrong = anima.call_with(given, normed_keys(anima, file, cond.expand(2, -1, -1)))
    assert error(found, wrong) > 100 * TOLERANCE


MAPS: dict[str, Any] = {
    "backwards": lambda layers: layers[::-1],
    "one block later": lambda layers: [*layers[1:], layers[0]],
}


@pytest.mark.parametrize("name", MAPS)
def test_another_order_of_blocks_is_a_wrong_map(anima: AnimaTwins, file: Named, tmp_path: Path, name: str) -> None:
    assert _error_of_map(anima, file, tmp_path, MAPS[name]) > 100 * TOLERANCE


def test_the_map_of_this_package_is_right(anima: AnimaTwins, file: Named, tmp_path: Path) -> None:
    assert _error_of_map(anima, file, tmp_path, list) < TOLERANCE


def _error_of_map(anima: AnimaTwins, file: Named, folder: Path, change: Any) -> float:
    given, cond = anima_call(), hidden()
    wrong = with_layers(anima.patcher, ours(file, folder, cond), change(list(blocks_of(ANIMA.comfy))), anima.context)
    expected = anima.call_with(given, plain_images(file, cond.expand(2, -1, -1)))
    return error(anima.call_comfy(given, wrong, cond_or_uncond=[0]), expected)


def test_every_block_is_called_exactly_once(
    anima: AnimaTwins, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import cross_blocks

    calls: Counter[Any] = Counter()
    add = cross_blocks.add_images

    def counting(attended: Tensor, q: Tensor, options: Any, in_place: bool) -> Tensor:
        calls[options["block"]] += 1
        return add(attended, q, options, in_place)

    monkeypatch.setattr(cross_blocks, "add_images", counting)
    anima.call_comfy(anima_call(), apply(anima.patcher, prompt), cond_or_uncond=[0])
    assert calls == {layer.address[:2]: 1 for layer in blocks_of(ANIMA.comfy)}


# Layers, parts, time


def test_lists_name_blocks(model: Any, prompt: ImagePrompt) -> None:
    with pytest.raises(ValueError, match=r"cross: 0, 1, 2; all; numbers 0-2, and found style"):
        apply(model, prompt, layer_weights=custom("style = 1"))
    named = sample(apply(model, prompt, layer_weights=custom("cross.1 = 1")))
    assert torch.equal(named, sample(apply(model, prompt, layer_weights=custom("1 = 1"))))
    assert difference(named, sample(apply(model, prompt))) > 1e-3


def test_parts_of_a_picture_are_found_although_it_has_an_axis_for_time() -> None:
    from comfyui_ip_adapter.nodes.host.sampling import crops

    whole = torch.randn(1, 4, 1, 12, 16)
    part = whole[..., 2:10, 5:13]
    assert crops.of_parts(part, [0], whole[0]) == crops.Crops((12, 16), (8, 8), ((2, 5),))
    assert crops.whole_picture(part, whole, (12, 16)) is whole


def test_pictures_over_time_are_left_as_they_are_with_a_warning(
    anima: AnimaTwins, prompt: ImagePrompt, caplog: pytest.LogCaptureFixture
) -> None:
    from comfyui_ip_adapter.nodes.host import warn

    warn.warn_once.cache_clear()
    given = anima_call()
    given = replace(given, x=given.x.repeat(1, 1, 3, 1, 1))
    found = anima.call_comfy(given, apply(anima.patcher, prompt), cond_or_uncond=[0])
    assert torch.equal(found, anima.call_comfy(given, anima.patcher))
    assert "cannot be followed" in caplog.text


def test_patches_of_ours_are_taken_away_and_those_of_others_stay() -> None:
    from comfyui_ip_adapter.nodes.host.sampling import cross_blocks

    def theirs(q: Tensor, k: Tensor, v: Tensor, **more: Any) -> Any:
        return {}

    for options in ({}, {"patches": {"attn2_patch": [theirs]}, "optimized_attention_override": theirs}):
        added = cross_blocks.add_patches(options, {}, type("Network", (), {"patch_spatial": 2}), (8, 8))
        assert cross_blocks.remove_patches(added) == {"patches": {}} | options
        twice = cross_blocks.add_patches(added, {}, type("Network", (), {"patch_spatial": 2}), (8, 8))
        assert cross_blocks.remove_patches(twice) == {"patches": {}} | options


# What is refused


def test_a_host_without_patches_of_cross_attentions_is_refused(
    model: Any, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy.ldm.cosmos.predict2 import Attention

    monkeypatch.setattr(Attention, "compute_qkv", lambda self, x, context=None, rope_emb=None: None)
    with pytest.raises(ValueError, match=r"^Update ComfyUI to 0\.30 or newer to use image prompts with Anima"):
        apply(model, prompt)


def test_an_adapter_for_anima_is_refused_on_another_model(sd3: Any, prompt: ImagePrompt) -> None:
    with pytest.raises(
        ValueError, match=r"^Load an adapter made for this model, .*\(3 layers, context 48\); the model"
    ):
        apply(sd3.patcher, prompt)


# The published size


def test_the_published_file_fits_the_published_model() -> None:
    from comfy import model_detection, ops
    from comfy.ldm.cosmos.predict2 import MiniTrainDIT

    sizes = {"in_channels": 16, "out_channels": 16, "model_channels": 2048, "num_blocks": 28, "num_heads": 16}
    sizes |= {"crossattn_emb_channels": 1024, "adaln_lora_dim": 256}
    with torch.device("meta"):
        network = MiniTrainDIT(
            device="meta", dtype=torch.bfloat16, operations=ops.disable_weight_init, **{**ANIMA.comfy, **sizes}
        )
    telling = {"llm_adapter.blocks.0.cross_attn.q_proj.weight": torch.empty(0)}
    config = model_detection.detect_unet_config(network.state_dict() | telling, "")
    identity = identify(entries(FILE))
    assert identity.geometry == architectures.geometry(config)
    assert (identity.family, identity.tokens) == ("Anima", 16)
    attentions = [block.cross_attn for block in network.blocks]
    assert [(layer.width, layer.heads) for layer in architectures.layers(config)] == [
        (each.head_dim * each.n_heads, each.n_heads) for each in attentions
    ]
