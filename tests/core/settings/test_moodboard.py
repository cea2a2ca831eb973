"""Roles of a moodboard: which layers and which side each acts on, when a picture acts, and how mistakes are told."""

from dataclasses import replace

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer, layers
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.moodboard import ROLES, Card, check_roles
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span

SD, SDXL = layers(CONFIGS["SD1.5"]), layers(CONFIGS["SDXL"])
CARD = Card(torch.zeros(1, 8, 8, 3))
AS_TYPES = {"all": "linear", "style": "style transfer", "composition": "composition"}


@pytest.mark.parametrize("model", [SD, SDXL], ids=["SD1.5", "SDXL"])
def test_roles_are_weight_types_or_act_on_the_negative_side_alone(model: tuple[Layer, ...]) -> None:
    assert set(ROLES) == {*AS_TYPES, "avoid"}
    for role, weight_type in AS_TYPES.items():
        assert ROLES[role].per_layer(model) == from_weight_type(weight_type).per_layer(model)
    assert set(ROLES["avoid"].per_layer(model).values()) == {(0.0, 1.0)}


@pytest.mark.parametrize("whole", [Span(), Span(0.1, 0.9), Span(3, 20, "steps")])
def test_a_picture_acts_in_a_part_of_the_boards_time(whole: Span) -> None:
    assert CARD.within(whole) == whole
    half = replace(CARD, start=0.5).within(whole)
    assert half == (pytest.approx((whole.start + whole.end) / 2), whole.end, whole.unit)
    assert replace(CARD, end=0.0).within(whole) == (whole.start, whole.start, whole.unit)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"role": "colour"}, "Set role to one of all, style, composition, avoid; found 'colour'"),
        ({"strength": float("nan")}, "strength"),
        ({"start": 0.8, "end": 0.2}, "Set start to at most end"),
        ({"end": 1.5}, "Set start and end to 0..1"),
    ],
)
def test_a_card_that_cannot_be_meant_is_refused(wrong: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(CARD, **wrong).check()
    assert CARD.check() is CARD


def test_an_empty_board_is_told() -> None:
    with pytest.raises(ValueError, match=r"^Connect a Moodboard Picture to pictures"):
        check_roles([], SD)


def test_a_role_without_layers_in_a_model_is_told_with_the_number_of_its_picture() -> None:
    without_inputs = tuple(layer for layer in SDXL if layer.stage != "input")
    cards = [replace(CARD, role=role) for role in ("all", "style", "avoid", "composition")]
    check_roles(cards, SDXL)
    check_roles(cards[:3], without_inputs)
    with pytest.raises(ValueError, match=r"^Set the role of picture 4 to all or avoid.*composition.*middle: 0 \(0-9\)"):
        check_roles(cards, without_inputs)
