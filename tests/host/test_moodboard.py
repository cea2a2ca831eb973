"""Pictures of a moodboard are encoded once, whatever else of their cards changes, and not at all before all fits."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.attention.application import ApplyOptions
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import geometry, layers
from comfyui_ip_adapter.ip_adapter_core.settings.moodboard import ROLES, Card
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span

pytestmark = pytest.mark.usefixtures("comfy")

SD = layers(CONFIGS["SD1.5"])


class Loaded:
    """An adapter or an encoder."""

    identity = SimpleNamespace(geometry=geometry(CONFIGS["SD1.5"]))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`moodboard.apply` that only notes which pictures are encoded, and what is applied."""
    from comfyui_ip_adapter.nodes.host import encoding, models, moodboard
    from comfyui_ip_adapter.nodes.host.sampling import model_patch

    encoded: list[Any] = []
    applied: list[ApplyOptions] = []

    def encode_prompt(adapter: Any, encoder: Any, images: Any, look: Any) -> Any:
        encoded.append(images)
        return object(), images

    monkeypatch.setattr(encoding, "encode_prompt", encode_prompt)
    monkeypatch.setattr(model_patch, "apply", lambda model, prompt, use: applied.append(use) or model)
    monkeypatch.setattr(models, "layers", lambda model, _: model)
    adapter, encoder = Loaded(), Loaded()
    return SimpleNamespace(
        of=lambda cards, use=None, model=SD: moodboard.apply(model, adapter, encoder, cards, use or ApplyOptions()),
        encoded=encoded,
        applied=applied,
    )


def cards(*roles: str) -> list[Card]:
    return [Card(torch.rand(1, 8, 8, 3), role) for role in roles]


@pytest.mark.parametrize("change", [{"strength": 0.3}, {"role": "avoid"}, {"start": 0.5}, {"end": 0.5}], ids=str)
def test_another_strength_role_or_time_encodes_nothing_again(board: Any, change: dict[str, Any]) -> None:
    first, second = cards("style", "composition")
    board.of([first, second])
    assert list(map(id, board.encoded)) == [id(first.images), id(second.images)]
    board.of([first, replace(second, **change)])
    board.of([second, first], ApplyOptions(0.5, Span(0.2, 0.8)))
    assert len(board.encoded) == 2
    board.of([first, replace(second, fit="pad")])
    assert len(board.encoded) == 3


def test_each_is_applied_with_its_share_of_the_weight_and_its_layers(board: Any) -> None:
    all_roles = [replace(card, strength=0.5 * n) for n, card in enumerate(cards(*ROLES), 1)]
    board.of(all_roles, ApplyOptions(0.8, Span(2, 10, "steps")))
    assert [use.weight for use in board.applied] == pytest.approx([0.4, 0.8, 1.2, 1.6])
    assert [use.layer_weights for use in board.applied] == list(ROLES.values())
    assert {use.span for use in board.applied} == {Span(2, 10, "steps")}


def test_nothing_is_encoded_where_a_role_or_the_time_does_not_fit(board: Any) -> None:
    without_inputs = tuple(layer for layer in SD if layer.stage != "input")
    with pytest.raises(ValueError, match="Set the role of picture 2"):
        board.of(cards("all", "composition"), model=without_inputs)
    with pytest.raises(ValueError, match="Set start to at most end"):
        board.of(cards("all"), ApplyOptions(1.0, Span(0.9, 0.1)))
    with pytest.raises(ValueError, match="Connect a Moodboard Picture"):
        board.of([])
    assert not board.encoded


def test_what_is_wrong_with_a_picture_is_said_with_its_number(board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host import encoding

    first, second = cards("style", "all")

    def refuse(adapter: Any, encoder: Any, images: Any, look: Any) -> Any:
        if images is second.images:
            raise ValueError("Make it white; it is black.")
        return object(), images

    monkeypatch.setattr(encoding, "encode_prompt", refuse)
    with pytest.raises(ValueError, match=r"^Make it white; it is black\. This is so in picture 2 of the moodboard"):
        board.of([first, second])


def test_parts_of_one_picture_on_several_cards_are_read_once(board: Any) -> None:
    image = torch.rand(1, 8, 8, 3)
    parts = [Card(image, mask=torch.eye(8)[None] * n / 10) for n in range(1, 9)]
    board.of(parts)
    board.of(parts, ApplyOptions(0.5))
    assert len(board.encoded) == len(parts)
