"""Applications: which layers of a model a prompt patches, how strongly and where, and when there is nothing to do."""

import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention.application import Application, ApplyOptions, applications
from comfyui_ip_adapter.ip_adapter_core.attention.scaling import SCALINGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer, layers
from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import scale_prompt
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import (
    LayerWeight,
    LayerWeights,
    from_weight_type,
    merge_weights,
)
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom
from fabricate import adapters
from twins import CONSTRUCTIONS

MODEL = layers({"model_channels": 32, **CONSTRUCTIONS["SD1.5"].comfy})
STRAIGHT, SWAPPED = (0, 1), (None, COND)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Adapter:
    return load(adapters.save(folder / "a.safetensors", adapters.adapter()))


@pytest.fixture(scope="module")
def faceid(folder: Path) -> Adapter:
    """An adapter that brings a LoRA."""
    nested = adapters.adapter(**adapters.KINDS["FaceID"])
    return load(adapters.save(folder / "ip-adapter-faceid_sd15.safetensors", nested))


def encode(network: Adapter, images: int = 1, how: str = "concat", **gathered: Any) -> ImagePrompt:
    width = network.identity().widths[0]
    cond = torch.randn(images, width, generator=torch.Generator().manual_seed(0))
    return image_prompt(network, (cond,), (torch.zeros(1, width),), Gathering(how, **gathered))


def applied(prompt: ImagePrompt, use: ApplyOptions | None = None) -> tuple[Application, ...]:
    return applications(prompt, MODEL, adapters.TINY_CONTEXT, use)


def only(prompt: ImagePrompt, use: ApplyOptions | None = None) -> Application:
    (found,) = applied(prompt, use)
    return found


def spread(**shares: LayerWeight) -> LayerWeights:
    """By stage: input, middle, output."""
    return LayerWeights("spread", lambda model: [shares.get(layer.stage, LayerWeight(0.0)) for layer in model])


def half(side: str) -> Tensor:
    mask = torch.zeros(1, 4, 4)
    mask[..., slice(2) if side == "left" else slice(2, 4)] = 1
    return mask


# Layers


def test_every_layer_gets_its_keys_and_values_in_adapter_order(adapter: Adapter) -> None:
    prompt = encode(adapter)
    found = only(prompt, ApplyOptions(0.8))
    assert tuple(found.layers) == MODEL
    for (layer, (term,)), image in zip(found.layers.items(), prompt.parts[0].keys_values, strict=True):
        assert term.kv is image  # no copy
        assert image.keys.shape[-1] == layer.width
        assert (term.weight, term.source_cond) == (0.8, STRAIGHT)


def test_a_use_that_says_nothing_is_the_whole_prompt_at_weight_one(adapter: Adapter) -> None:
    found = only(encode(adapter))
    assert {term.weight for (term,) in found.layers.values()} == {1.0}
    assert tuple(found.layers) == MODEL
    assert (found.span.whole, found.masks, found.scaling) == (True, (), "V only")
    assert not found.timed
    assert not found.framed


def test_layers_of_weight_zero_are_left_out(adapter: Adapter) -> None:
    shares = {"input": LayerWeight(0.5), "output": LayerWeight(-0.25)}
    found = only(encode(adapter), ApplyOptions(0.8, layer_weights=spread(**shares)))
    assert {layer.stage for layer in found.layers} == shares.keys()
    assert list(found.layers) == [layer for layer in MODEL if layer.stage in shares]
    for layer, (term,) in found.layers.items():
        assert term.weight == pytest.approx(0.8 * shares[layer.stage].positive)


EVERYWHERE_ZERO = {
    "a type without its blocks here": spread(),
    "types that have no layer in common": merge_weights(
        "multiply", from_weight_type("style transfer"), from_weight_type("composition")
    ),
    "a list of zeros": custom("all = 0"),
    "a sum with a muted one": merge_weights("add", spread(), from_weight_type("linear", 0.0)),
}
MUTED = {
    "a type": from_weight_type("linear", 0.0),
    "a type without its blocks here": replace(spread(), muted=True),
    "a list": custom("style = 1", 0.0),
    "a product": merge_weights("multiply", from_weight_type("linear"), from_weight_type("composition", 0.0)),
    "a sum": merge_weights("add", from_weight_type("linear", 0.0), from_weight_type("composition", 0.0)),
}


@pytest.mark.parametrize("weights", EVERYWHERE_ZERO.values(), ids=EVERYWHERE_ZERO)
def test_layer_weights_that_are_zero_everywhere_are_told(adapter: Adapter, weights: LayerWeights) -> None:
    wanted = (
        f"Choose another weight type.*{re.escape(weights.name)} gives all of its layers 0.*The model has input: 1, 2"
    )
    with pytest.raises(ValueError, match=wanted):
        applied(encode(adapter), ApplyOptions(0.5, layer_weights=weights))


def test_a_model_without_the_blocks_of_a_type_is_told(adapter: Adapter) -> None:
    """Its layers are those of the adapter, but none is in an input block."""
    output = tuple(layer._replace(stage="output", block=20 + number) for number, layer in enumerate(MODEL))
    use = ApplyOptions(layer_weights=from_weight_type("composition"))
    with pytest.raises(
        ValueError, match=r"composition gives all of its layers 0.*output: 20, 21.*; style, all; numbers"
    ):
        applications(encode(adapter), output, adapters.TINY_CONTEXT, use)


@pytest.mark.parametrize("weights", MUTED.values(), ids=MUTED)
def test_layer_weights_of_weight_zero_are_no_application(adapter: Adapter, weights: LayerWeights) -> None:
    assert not applied(encode(adapter), ApplyOptions(layer_weights=weights))


@pytest.mark.parametrize("weights", EVERYWHERE_ZERO.values(), ids=EVERYWHERE_ZERO)
def test_what_does_nothing_anyhow_is_no_application(adapter: Adapter, weights: LayerWeights) -> None:
    assert not applied(encode(adapter), ApplyOptions(0.0, layer_weights=weights))
    assert not applied(encode(adapter), ApplyOptions(mask=torch.zeros(1, 4, 4), layer_weights=weights))
    assert not applied(scale_prompt(encode(adapter), 0.0), ApplyOptions(layer_weights=weights))


def test_what_is_swapped_is_read_by_the_negative_side_alone(adapter: Adapter) -> None:
    shares = {"input": LayerWeight(0.0, 0.5), "output": LayerWeight(1.0, 0.25)}
    found = only(encode(adapter), ApplyOptions(-0.8, layer_weights=spread(**shares)))
    for layer, terms in found.layers.items():
        told = [(term.weight, term.source_cond) for term in terms]
        if layer.stage == "input":
            assert told == [(pytest.approx(-0.4), SWAPPED)]
        else:
            assert told == [(pytest.approx(-0.8), STRAIGHT), (pytest.approx(-0.2), SWAPPED)]
        assert len({id(term.kv) for term in terms}) == 1


def test_the_weights_are_those_of_the_type_on_this_model(adapter: Adapter) -> None:
    for name in ("ease in", "style transfer precise", "composition"):
        weights = from_weight_type(name, 0.9, 0.6)
        found = only(encode(adapter), ApplyOptions(0.8, layer_weights=weights)).layers
        for layer, share in weights.per_layer(MODEL).items():
            terms = {term.source_cond: term.weight for term in found.get(layer, ())}
            assert terms.get(STRAIGHT, 0.0) == pytest.approx(0.8 * share.positive)
            assert terms.get(SWAPPED, 0.0) == pytest.approx(0.8 * share.to_negative)


def test_the_middle_can_be_left_out_alone(adapter: Adapter) -> None:
    everything, without = (only(encode(adapter), ApplyOptions(skip_middle=skip)).layers for skip in (False, True))
    assert [layer for layer in everything if layer not in without] == [
        layer for layer in MODEL if layer.stage == "middle"
    ]
    for layer in without:
        assert without[layer][0].weight == everything[layer][0].weight
        assert without[layer][0].kv.keys.shape[-1] == layer.width


def test_a_mask_that_is_read_at_points_keeps_values_beyond_white(adapter: Adapter) -> None:
    mask = torch.tensor([[[1.5, 0.0]]])
    over_cells, at_points = (only(encode(adapter), ApplyOptions(mask=mask, point_masks=way)) for way in (False, True))
    assert [found.masks[0].max().item() for found in (over_cells, at_points)] == [1.0, 1.5]
    assert [found.point_masks for found in (over_cells, at_points)] == [False, True]


# Parts


def test_every_part_is_an_application_of_its_own(adapter: Adapter) -> None:
    prompt = encode(adapter, 3, "separate", weights=(1.0, 0.5, -0.5))
    found = applied(prompt, ApplyOptions(0.8))
    assert [made.part for made in found] == list(prompt.parts)
    assert [made.frame_weight(0, 1) for made in found] == [1.0, 0.5, -0.5]


def test_a_part_of_weight_zero_is_no_application(adapter: Adapter) -> None:
    prompt = encode(adapter, 2, "separate")
    assert not applied(scale_prompt(prompt, 0.0))
    one, other = prompt.parts
    some = replace(prompt, parts=(replace(one, weights=(0.0, 0.0)), replace(other, weights=(0.0, 0.5))))
    assert [made.part.weights for made in applied(some)] == [(0.0, 0.5)]


# Masks


def test_a_white_mask_is_dropped(adapter: Adapter) -> None:
    assert only(encode(adapter), ApplyOptions(mask=torch.ones(3, 4, 4))).masks == ()


def test_a_black_mask_leaves_no_application(adapter: Adapter) -> None:
    assert not applied(encode(adapter), ApplyOptions(mask=torch.zeros(2, 4, 4)))
    masks = torch.cat([half("left"), torch.zeros(1, 4, 4)])
    prompt = encode(adapter, 2, masks=masks)
    assert [made.part for made in applied(prompt)] == [prompt.parts[0]]


def test_masks_of_the_images_and_of_the_use_act_together(adapter: Adapter) -> None:
    masks = torch.cat([half("left"), torch.ones(1, 4, 4)])
    one, other = applied(encode(adapter, 2, masks=masks), ApplyOptions(mask=half("right")))
    assert [mask.tolist() for mask in one.masks] == [half("left").tolist(), half("right").tolist()]
    assert [mask.tolist() for mask in other.masks] == [half("right").tolist()]


def test_a_mask_that_cannot_be_used_is_refused(adapter: Adapter) -> None:
    with pytest.raises(ValueError, match=r"Connect a mask of shape .*; found 4x4x3x2"):
        applied(encode(adapter), ApplyOptions(mask=torch.zeros(4, 4, 3, 2)))


# The LoRA that an adapter brings


def test_the_lora_goes_with_the_first_application_alone(faceid: Adapter) -> None:
    one, other = applied(encode(faceid, 2, "separate"), ApplyOptions(lora_strength=0.6))
    assert one.lora is not None
    assert one.lora.strength == 0.6
    assert len(one.lora.patches) == 8 * len(MODEL)
    assert other.lora is None


def test_the_lora_goes_with_the_first_that_acts(faceid: Adapter) -> None:
    masks = torch.cat([torch.zeros(1, 4, 4), half("left")])
    prompt = encode(faceid, 2, masks=masks)
    found = only(prompt)
    assert found.part is prompt.parts[1]
    assert found.lora is not None


@pytest.mark.parametrize("use", [ApplyOptions(0.0), ApplyOptions(mask=torch.zeros(1, 4, 4))])
def test_a_prompt_that_does_nothing_brings_no_lora(faceid: Adapter, use: ApplyOptions) -> None:
    assert not applied(encode(faceid), use)


@pytest.mark.parametrize("strength", [None, 0.0, -0.5, 1.0])
def test_the_lora_is_used_as_the_user_says_or_says_nothing(faceid: Adapter, strength: float | None) -> None:
    """Strength 0 too: it may have to undo what an earlier use says."""
    for weight in (1.0, 0.001, -2.0):
        found = only(encode(faceid), ApplyOptions(weight, lora_strength=strength)).lora
        assert found is not None
        assert found.strength == strength


def test_an_adapter_without_a_lora_brings_none(adapter: Adapter) -> None:
    assert only(encode(adapter), ApplyOptions(lora_strength=1.0)).lora is None


# Time and frames


@pytest.mark.parametrize(
    ("use", "timed", "framed"),
    [
        (ApplyOptions(), False, False),
        (ApplyOptions(span=Span(0.0, 0.5)), True, False),
        (ApplyOptions(span=Span(0, 5, "steps")), True, False),
        (ApplyOptions(schedule=Schedule((Curve("linear"),))), True, False),
        (ApplyOptions(schedule=Schedule((Curve("linear", "frames"),))), False, True),
        (ApplyOptions(schedule=Schedule((Curve("constant"),))), False, False),
    ],
)
def test_an_application_tells_whether_steps_or_frames_differ(
    adapter: Adapter, use: ApplyOptions, timed: bool, framed: bool
) -> None:
    found = only(encode(adapter), use)
    assert (found.timed, found.framed) == (timed, framed)


def test_frames_of_a_prompt_make_it_framed(adapter: Adapter) -> None:
    assert only(encode(adapter, 2, "one per frame")).framed
    prompt = encode(adapter)
    assert only(replace(prompt, parts=(replace(prompt.parts[0], weights=(1.0, 0.5)),))).framed


def test_the_weight_of_a_frame_is_that_of_the_prompt_times_that_of_the_schedule(adapter: Adapter) -> None:
    schedule = Schedule((Curve("linear", "frames", 1.0, 0.0),))
    found = only(encode(adapter, 3, "one per frame", weights=(1.0, 0.5, 0.25)), ApplyOptions(schedule=schedule))
    weights = [found.frame_weight(frame, 5) for frame in range(5)]
    assert weights == pytest.approx([1.0, 0.5 * 0.75, 0.25 * 0.5, 0.25 * 0.25, 0.0])


def test_an_application_carries_the_span_schedule_and_scaling_of_its_use(adapter: Adapter) -> None:
    use = ApplyOptions(span=Span(0.1, 0.9), schedule=Schedule((Curve("linear"),)), scaling="K+V")
    for found in applied(encode(adapter, 2, "separate"), use):
        assert (found.span, found.schedule, found.scaling) == (use.span, use.schedule, use.scaling)


# What is refused


@pytest.mark.parametrize(
    ("use", "complaint"),
    [
        (ApplyOptions(math.nan), "Set weight to a finite number such as 0.8; found nan"),
        (ApplyOptions(math.inf), "Set weight .*; found inf"),
        (ApplyOptions(lora_strength=math.nan), "Set lora_strength to a finite number such as 0.8; found nan"),
        (ApplyOptions(lora_strength=-math.inf), "Set lora_strength .*; found -inf"),
        (ApplyOptions(scaling="Q only"), r"Set scaling to one of V only, K\+V.*; found 'Q only'"),
        (ApplyOptions(span=Span(0.8, 0.2)), r"start 0\.8 is after end 0\.2"),
    ],
)
def test_what_cannot_be_meant_is_refused(adapter: Adapter, use: ApplyOptions, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        applied(encode(adapter), use)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_can_be_used(scaling: str) -> None:
    assert ApplyOptions(-1.5, scaling=scaling).check().scaling == scaling


@pytest.mark.parametrize(
    ("model", "context"),
    [
        (MODEL[:-1], adapters.TINY_CONTEXT),
        (MODEL[::-1], adapters.TINY_CONTEXT),
        (MODEL, 48),
        ((*MODEL, Layer("output", 9, 0, 32, 1)), adapters.TINY_CONTEXT),
    ],
)
def test_a_model_with_other_layers_is_refused(adapter: Adapter, model: tuple[Layer, ...], context: int) -> None:
    refused = partial(applications, encode(adapter), model, context)
    with pytest.raises(
        ValueError, match=rf"adapter is for .*16 layers, context 64\); the model is .*context {context}"
    ):
        refused()
