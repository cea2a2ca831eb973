"""InstantX's adapter on Flux: equal to its formula in diffusers' model, block by block, and beside that of XLabs."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, load
from comfyui_ip_adapter.ip_adapter_core.attention.application import applications
from comfyui_ip_adapter.ip_adapter_core.layers import architectures
from comfyui_ip_adapter.ip_adapter_core.layers.double_stream import inner_layers
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom
from fabricate import adapters
from flux_twins import WIDE, FluxTwins
from parts import half
from published_shapes import entries
from sampled import apply, difference, make_prompt, sample
from twins import TOLERANCE, call, error

pytestmark = pytest.mark.usefixtures("comfy")

EMBED, TOKENS, HEAD = 1152, 6, 128
FILE = "ip-adapter (InstantX Flux)"
Nested = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module")
def nested(wide: FluxTwins) -> Nested:
    return adapters.adapter("InstantX Flux", (256,) * 5, wide.context, EMBED, tokens=TOKENS)


@pytest.fixture
def model(wide: FluxTwins) -> Any:
    return wide.patcher


@pytest.fixture(scope="module")
def prompt(nested: Nested, tmp_path_factory: pytest.TempPathFactory) -> ImagePrompt:
    return ours(nested, tmp_path_factory.mktemp("adapters"), embeds(1), torch.zeros(1, EMBED))


def embeds(seed: int = 5, images: int = 1) -> Tensor:
    return torch.randn(images, EMBED, generator=torch.Generator().manual_seed(seed))


def ours(nested: Nested, folder: Path, cond: Tensor, uncond: Tensor) -> ImagePrompt:
    """The prompt of a file with InstantX's numbers."""
    network = load(adapters.save(folder / "adapter.bin", adapters.counted(nested)))
    return image_prompt(network, (cond,), (uncond,))


# The formula, written from the layout of the file


def tokens_of(projection: dict[str, Tensor], pooled: Tensor) -> Tensor:
    """(images, embed) -> (images, tokens, context)."""
    wide = gelu(linear(pooled, projection["proj.0.weight"], projection["proj.0.bias"]))
    rows = linear(wide, projection["proj.2.weight"], projection["proj.2.bias"]).reshape(len(pooled), TOKENS, -1)
    return layer_norm(rows, rows.shape[-1:], projection["norm.weight"], projection["norm.bias"])


class Plain:
    """What a block of diffusers' Flux does for its attention, with images added as InstantX's file means it."""

    def __init__(self, layers: dict[str, Tensor], number: int, tokens: Tensor, weight: float) -> None:
        from diffusers.models.transformers.transformer_flux import FluxAttnProcessor

        self.text = FluxAttnProcessor()
        keys, values = (tokens @ layers[f"{number}.to_{part}_ip.weight"].T for part in "kv")
        heads = self.heads(keys)
        self.keys = heads / (heads.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        self.values, self.weight = self.heads(values), weight

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, HEAD)).transpose(1, 2)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        found = self.text(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)
        q = attn.norm_q(self.heads(attn.to_q(hidden_states)))
        read = (q @ self.keys.mT / HEAD**0.5).softmax(-1) @ self.values
        added = self.weight * read.transpose(1, 2).flatten(2)
        if encoder_hidden_states is None:
            return found + added
        picture, texts = found
        return picture + added @ attn.to_out[0].weight.T, texts


def expected(wide: FluxTwins, nested: Nested, given: Any, pooled: Tensor, weight: float = 1.0) -> Tensor:
    """What diffusers' model says with these images, a row for each of the batch; diffusers orders its blocks itself."""
    before, layers = wide.reference.attn_processors, adapters.counted(nested)["ip_adapter"]
    tokens = tokens_of(nested["image_proj"], pooled)
    plain = {name: Plain(layers, number, tokens, weight) for number, name in enumerate(before)}
    wide.reference.set_attn_processor(dict(plain))
    try:
        return wide.call_reference(given)
    finally:
        wide.reference.set_attn_processor(before)


def test_bare_models_agree(wide: FluxTwins) -> None:
    given = call(wide.context)
    assert error(wide.call_comfy(given, wide.patcher), wide.call_reference(given)) < 1e-5


@pytest.mark.parametrize("hands_out_queries", [True, False], ids=["by a patch", "by the block's layers"])
@pytest.mark.parametrize(("size", "weight"), [((16, 16), 1.0), ((16, 24), 0.4)])
def test_prompted_models_agree(
    wide: FluxTwins,
    nested: Nested,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    weight: float,
    hands_out_queries: bool,
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import flux_queries

    if not hands_out_queries:
        monkeypatch.setattr(flux_queries, "_hands_out_queries", lambda block: False)
    given, cond = call(wide.context, 2, *size), embeds()
    model = apply(wide.patcher, ours(nested, tmp_path, cond, torch.zeros_like(cond)), weight)
    found = wide.call_comfy(given, model, cond_or_uncond=[0])
    assert error(found, expected(wide, nested, given, cond.expand(2, EMBED), weight)) < TOLERANCE
    assert error(found, wide.call_comfy(given, wide.patcher)) > 0.1


@pytest.mark.parametrize("order", [[1], [1, 0], [0, 1, 0]])
def test_every_row_gets_its_own_side(wide: FluxTwins, nested: Nested, tmp_path: Path, order: list[int]) -> None:
    given = call(wide.context, 2 * len(order))
    sides = embeds(5), embeds(6)
    rows = torch.cat([sides[side].expand(2, EMBED) for side in order])
    found = wide.call_comfy(given, apply(wide.patcher, ours(nested, tmp_path, *sides)), cond_or_uncond=order)
    assert error(found, expected(wide, nested, given, rows)) < TOLERANCE


MAPS: dict[str, Any] = {
    "backwards": lambda layers: layers[::-1],
    "single blocks first": lambda layers: [*layers[2:], *layers[:2]],
    "behind double blocks": lambda layers: [layer._replace(depth=0) for layer in layers[:2]] + layers[2:],
}


@pytest.mark.parametrize("name", MAPS)
def test_another_order_of_blocks_is_a_wrong_map(wide: FluxTwins, nested: Nested, tmp_path: Path, name: str) -> None:
    assert _error_of_map(wide, nested, tmp_path, MAPS[name]) > 0.05


def test_the_map_of_this_package_is_right(wide: FluxTwins, nested: Nested, tmp_path: Path) -> None:
    assert _error_of_map(wide, nested, tmp_path, list) < TOLERANCE


def _error_of_map(wide: FluxTwins, nested: Nested, folder: Path, change: Any) -> float:
    from comfyui_ip_adapter.nodes.host.sampling import model_patch

    given, cond = call(wide.context), embeds()
    layers = inner_layers(WIDE.comfy)
    (right,) = applications(ours(nested, folder, cond, cond), layers, wide.context)
    assigned: dict[Layer, Any] = dict(zip(change(list(layers)), right.layers.values(), strict=True))
    wrong = model_patch.install(wide.patcher, (replace(right, layers=assigned),))
    return error(
        wide.call_comfy(given, wrong, cond_or_uncond=[0]), expected(wide, nested, given, cond.expand(2, EMBED))
    )


def test_every_block_is_called_exactly_once(
    wide: FluxTwins, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import double_blocks, inner_attention

    calls: Counter[Any] = Counter()

    def counting(block: Any, place: Any, args: Any) -> Any:
        calls[place.options["block"]] += 1
        return inner_attention.add_inside(block, place, args)

    monkeypatch.setitem(double_blocks._ADD, double_blocks.INSIDE, counting)
    wide.call_comfy(call(wide.context), apply(wide.patcher, prompt), cond_or_uncond=[0])
    assert calls == {layer.address[:2]: 1 for layer in inner_layers(WIDE.comfy)}


# Layers, prompts of both authors


def test_lists_name_double_and_single_blocks(model: Any, prompt: ImagePrompt) -> None:
    with pytest.raises(ValueError, match=r"double: 0, 1; single: 0, 1, 2; all; numbers 0-4, and found style"):
        apply(model, prompt, layer_weights=custom("style = 1"))
    double = sample(apply(model, prompt, layer_weights=custom("double.1 = 1")))
    single = sample(apply(model, prompt, layer_weights=custom("single.2 = 1")))
    assert torch.equal(double, sample(apply(model, prompt, layer_weights=custom("1 = 1"))))
    assert torch.equal(single, sample(apply(model, prompt, layer_weights=custom("4 = 1"))))
    assert difference(double, single) > 1e-3


def test_adapters_of_both_authors_act_on_one_model_in_any_order(
    wide: FluxTwins, model: Any, prompt: ImagePrompt, tmp_path: Path
) -> None:
    xlabs = make_prompt(wide, tmp_path, 1)
    both = sample(apply(apply(model, prompt), xlabs))
    assert difference(both, sample(apply(apply(model, xlabs), prompt))) < 1e-5
    assert difference(both, sample(apply(model, prompt))) > 1e-3
    assert difference(both, sample(apply(model, xlabs))) > 1e-3


# Masks and reference latents


def test_a_mask_acts_on_the_patches_of_the_picture_and_counts_by_its_mean_for_texts(
    wide: FluxTwins, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import inner_attention

    seen: dict[bool, list[Tensor]] = {True: [], False: []}
    add = inner_attention.add_images
    masked = False

    def recording(attended: Tensor, q: Tensor, options: Any, in_place: bool) -> Tensor:
        seen[masked].append(add(torch.zeros_like(q), q, options, True))
        return attended

    monkeypatch.setattr(inner_attention, "add_images", recording)
    given = call(wide.context, 2, 12, 24)
    wide.call_comfy(given, apply(wide.patcher, prompt), cond_or_uncond=[0])
    masked = True
    wide.call_comfy(given, apply(wide.patcher, prompt, mask=half("left", 96, 192)), cond_or_uncond=[0])
    texts = given.text.shape[1]
    assert [each.shape[1] for each in seen[True]] == [72] * 2 + [72, texts] * 3
    for whole, part in zip(seen[False], seen[True], strict=True):
        if part.shape[1] == texts:
            assert difference(part, whole / 2) < 1e-5
        else:
            acts = part.abs().amax(-1).reshape(2, 6, 12) > 0
            assert acts[:, :, :6].all()
            assert not acts[:, :, 6:].any()


def test_reference_latents_take_no_image_attention(
    wide: FluxTwins, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import inner_attention

    seen: list[int] = []
    add = inner_attention.add_images

    def recording(attended: Tensor, q: Tensor, options: Any, in_place: bool) -> Tensor:
        seen.append(q.shape[1])
        return add(attended, q, options, in_place)

    monkeypatch.setattr(inner_attention, "add_images", recording)
    given = call(wide.context)
    conds = wide._conds(given) | {"ref_latents": [given.x[:, :, :8]]}
    monkeypatch.setattr(wide, "_conds", lambda call: conds)
    found = wide.call_comfy(given, apply(wide.patcher, prompt), cond_or_uncond=[0])
    assert found.shape == given.x.shape
    assert seen == [64] * 2 + [64, given.text.shape[1]] * 3


def test_patches_of_two_prompts_are_taken_away_together(model: Any, prompt: ImagePrompt) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import dit_blocks
    from comfyui_ip_adapter.nodes.host.sampling.dit_blocks import Place

    theirs = object()
    options = {"patches_replace": {"dit": {("double_block", 0): theirs}}}
    places = {("double", 0, depth): Place(None, lambda *given: {}, {}) for depth in (0, 1)}
    added = dit_blocks.add_patches(options, places)
    assert dit_blocks.foreign_patches(added, dict.fromkeys(places, ())) == [theirs, theirs]
    assert dit_blocks.remove_patches(added) == options


# The published size


def test_the_published_file_fits_the_published_model() -> None:
    from comfy import model_detection, ops
    from comfy.ldm.flux.model import Flux

    published = {
        **{"in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 768, "context_in_dim": 4096},
        **{"hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19, "depth_single_blocks": 38},
        **{"axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": True, "txt_ids_dims": []},
    }
    network = Flux(device="meta", dtype=torch.bfloat16, operations=ops.disable_weight_init, **published)
    config = model_detection.detect_unet_config(network.state_dict(), "")
    identity = identify(entries(FILE))
    assert identity.geometry in architectures.geometries(config)
    assert identity.family == "Flux"
    layers = architectures.layers(config, identity.geometry)
    assert [layer.stage for layer in layers] == ["double"] * 19 + ["single"] * 38
    blocks = [*network.double_blocks, *network.single_blocks]
    assert [(layer.width, layer.heads) for layer in layers] == [(b.hidden_size, b.num_heads) for b in blocks]
    assert layers[0].width // layers[0].heads == HEAD


def test_keys_and_values_of_a_prompt_of_the_published_size_take_180_mb() -> None:
    from comfyui_ip_adapter.ip_adapter_core.adapters.key_value_layers import NormedKeyValueLayers

    shapes = {f"to_{part}_ip.weight": (3072, 4096) for part in "kv"}
    with torch.device("meta"):
        layer, tokens = NormedKeyValueLayers(shapes, torch.nn).to(torch.bfloat16), torch.empty(2, 128, 4096)
        made = layer(tokens.to(torch.bfloat16))
    assert 57 * sum(each.nbytes for each in made) == 179_306_496
