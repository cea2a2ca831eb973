"""The adapter of XLabs on Flux: equal to diffusers, block by block, and beside other packs' patches of the blocks."""

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
from fabricate import adapters
from flux_twins import FluxTwins, weakened
from parts import half
from published_shapes import entries
from sampled import EMBED, STEPS, apply, difference, embeds, make_prompt, sample, with_layers
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


# Other packs


def turned(model: Any) -> Any:
    """Another pack's patch of attention: the queries of all blocks have the other sign."""
    clone = model.clone()
    clone.set_model_patch(lambda q, k, v, **more: {"q": -q}, "attn1_patch")
    return clone


@pytest.mark.parametrize("other", [lambda model: weakened(model, 1), turned], ids=["a block", "its attention"])
def test_other_patches_of_the_same_blocks_keep_their_effect_in_any_order(
    model: Any, prompt: ImagePrompt, other: Any
) -> None:
    ours_last = sample(apply(other(model), prompt))
    assert torch.equal(ours_last, sample(other(apply(model, prompt))))
    assert difference(ours_last, sample(apply(model, prompt))) > 1e-3
    assert difference(ours_last, sample(other(model))) > 0.1


def test_a_patch_that_leaves_blocks_out_leaves_their_images_out(model: Any, prompt: ImagePrompt) -> None:
    skipping = model.clone()
    for number in range(3):
        skipping.set_model_patch_replace(lambda args, extra: args, "dit", "double_block", number)
    assert torch.equal(sample(apply(skipping, prompt)), sample(skipping))


def test_patches_that_a_wrapper_changes_in_each_call_count(model: Any, prompt: ImagePrompt) -> None:
    from comfy.patcher_extension import WrappersMP

    def wrapper(executor: Any, *args: Any, **more: Any) -> Tensor:
        *given, options = args
        replace_patches = {**options.get("patches_replace", {})}
        blocks = {("double_block", n): lambda args, extra: args for n in range(3)}
        return executor(*given, {**options, "patches_replace": {**replace_patches, "dit": blocks}}, **more)

    wrapped = apply(model, prompt)
    wrapped.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "another pack", wrapper)
    bare = model.clone()
    bare.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "another pack", wrapper)
    assert torch.equal(sample(wrapped), sample(bare))


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


def test_a_mask_acts_on_the_patches_of_the_picture(flux: FluxTwins, prompt: ImagePrompt, monkeypatch: Any) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import double_blocks

    added: list[Tensor] = []
    add = double_blocks.add_images
    monkeypatch.setattr(
        double_blocks,
        "add_images",
        lambda attended, q, options, in_place: (
            added.append(add(torch.zeros_like(q), q, options, True)) or add(attended, q, options, in_place)
        ),
    )
    given = call(flux.context, 2, 12, 24)
    flux.call_comfy(given, apply(flux.patcher, prompt, mask=half("left", 96, 192)), cond_or_uncond=[0])
    assert len(added) == 3
    for found in added:
        acts = found.abs().amax(-1).reshape(2, 6, 12) > 0
        assert acts[:, :, :6].all()
        assert not acts[:, :, 6:].any()


# What does not fit, before sampling


def test_weights_of_stages_and_roles_are_refused_and_those_of_blocks_are_not(model: Any, prompt: ImagePrompt) -> None:
    for name in ("style transfer", "strong style transfer", "weak input", "InstantStyle layout"):
        with pytest.raises(ValueError, match=rf"^Choose linear, ease in, .* or a custom list .*; {name} names stages"):
            apply(model, prompt, layer_weights=from_weight_type(name))
    with pytest.raises(ValueError, match=r"double: 0, 1, 2; all; numbers 0-2, and found style"):
        apply(model, prompt, layer_weights=custom("style = 1"))
    one = sample(apply(model, prompt, layer_weights=custom("double.1 = 1")))
    assert difference(one, sample(apply(model, prompt, layer_weights=custom("1 = 1")))) == 0
    assert difference(one, sample(apply(model, prompt))) > 1e-3
    assert difference(sample(apply(model, prompt, layer_weights=from_weight_type("ease in"))), one) > 1e-3


def test_balance_is_refused(model: Any, prompt: ImagePrompt) -> None:
    for mode in ("cap", "equalise"):
        with pytest.raises(ValueError, match=rf'^Set balance to "off", .* "{mode}"'):
            apply(model, prompt, 1.0, balance=mode)


def test_a_model_whose_blocks_another_pack_has_built_is_refused(model: Any, prompt: ImagePrompt) -> None:
    exchanged = model.clone()
    exchanged.model = type(model.model).__new__(type(model.model))
    torch.nn.Module.__init__(exchanged.model)
    exchanged.model.model_config, exchanged.model.diffusion_model = model.model.model_config, torch.nn.Identity()
    with pytest.raises(ValueError, match=r"^Load this Flux model with a loader of ComfyUI's own, .*another pack's"):
        apply(exchanged, prompt)


def test_attention_maps_and_training_are_refused(model: Any, prompt: ImagePrompt) -> None:
    from comfyui_ip_adapter.nodes.host.training.base_model import HostBase, attention_weights
    from watched import look

    asked: list[Any] = [lambda: look(apply(model, prompt)), lambda: HostBase(model), lambda: attention_weights(model)]
    for ask in asked:
        with pytest.raises(ValueError, match=r"^Connect a UNet such as .*, which is needed here; .* is flux\.$"):
            ask()


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


def test_steps_are_counted(model: Any, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import double_blocks

    steps = []
    add = double_blocks.add_patches
    monkeypatch.setattr(double_blocks, "add_patches", lambda options, **more: steps.append(1) or add(options, **more))
    sample(apply(model, prompt))
    assert len(steps) == STEPS
