"""The node of layer weights in ComfyUI: every type on real models, its checks before the graph runs, its picture."""

from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer
from comfyui_ip_adapter.ip_adapter_core.plots.layer_bars import SIZE
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import (
    LINEAR,
    LayerWeights,
    from_weight_type,
    merge_weights,
)
from flux_twins import FluxTwins
from published_weights import BLOCKS, ROWS, expected
from twins import Twins

pytestmark = pytest.mark.usefixtures("comfy")

WEIGHT, SECOND = 0.8, 0.6
LIST = "custom list"


@pytest.fixture(scope="module", params=["SD1.5", "SDXL"])
def construction(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(comfy: None, construction: str) -> Any:
    return Twins(construction).patcher


@pytest.fixture(scope="module")
def odd(comfy: None) -> Any:
    """A model of its own kind."""
    return Twins("one level").patcher


def layers(model: Any) -> tuple[Layer, ...]:
    from comfyui_ip_adapter.nodes.host import models

    return models.layers(model)


def run(name: str, text: str = "", weight: float = WEIGHT, second: float = SECOND, **given: Any) -> Any:
    """The node's output."""
    from comfyui_ip_adapter.nodes.layer_weights import LayerWeights as Node

    return Node.execute(weight_type=name, weight=weight, second_weight=second, custom=text, **given)


def made(name: str, text: str = "", **given: Any) -> LayerWeights:
    return run(name, text, **given).args[0]


@pytest.mark.parametrize("name", ROWS["SD1.5"])
def test_the_node_gives_the_published_numbers_on_a_real_model(construction: str, model: Any, name: str) -> None:
    row = dict(zip(BLOCKS[construction], expected(ROWS[construction][name], WEIGHT, SECOND), strict=True))
    for layer, share in made(name, model=model).per_layer(layers(model)).items():
        assert share == pytest.approx(row[layer.address[:2]], abs=5e-5), layer


def test_every_choice_of_the_menu_runs_and_shows_a_picture(comfy: None) -> None:
    from comfyui_ip_adapter.nodes.layer_weights import LayerWeights as Node

    inputs = {given.id: given for given in Node.define_schema().inputs}
    for name in inputs["weight_type"].options:
        _, picture = run(name, inputs["custom"].default).args
        assert picture.shape == (1, 2 * SIZE[1], SIZE[0], 3)
    assert inputs["weight_type"].default in inputs["weight_type"].options


def test_the_picture_is_of_the_connected_model(model: Any, odd: Any) -> None:
    pictures = [run("linear", model=given).args[1] for given in (model, odd)]
    assert {tuple(picture.shape) for picture in pictures} == {(1, SIZE[1], SIZE[0], 3)}
    assert not torch.equal(*pictures)
    assert all(picture.dtype == torch.float32 and picture.min() >= 0 and picture.max() == 1 for picture in pictures)


def test_the_node_shows_its_picture_on_itself() -> None:
    shown = run("style transfer").ui.as_dict()["images"]
    assert len(shown) == 1
    assert shown[0]["type"] == "temp"


def test_a_list_is_multiplied_by_the_weight(model: Any) -> None:
    found = made(LIST, "all = 0.5", model=model).per_layer(layers(model))
    assert set(found.values()) == {(WEIGHT / 2, 0.0)}


def test_nodes_in_a_row_combine(model: Any) -> None:
    first = made("style transfer", weight=2.0)
    for way in ("multiply", "add", "maximum"):
        found = made("ease in", combine_with=first, combine=way).per_layer(layers(model))
        assert found == merge_weights(
            way, from_weight_type("style transfer", 2.0), from_weight_type("ease in", WEIGHT)
        ).per_layer(layers(model))
    assert made("ease in", combine_with=LINEAR).per_layer(layers(model)) == from_weight_type(
        "ease in", WEIGHT
    ).per_layer(layers(model))


def test_names_that_the_connected_model_lacks_are_told(odd: Any) -> None:
    says = r"^Name only layers of this model .* it has input: 1, 2; middle: 0; output: 0, 1, 2; style.* found output\.5"
    with pytest.raises(ValueError, match=says):
        run(LIST, "output.5 = 1", model=odd)


def test_names_of_a_model_that_is_not_connected_may_be_written() -> None:
    assert run(LIST, "output.25 = 1").args[1].shape[1] == 2 * SIZE[1]


@pytest.mark.parametrize(
    ("weight_type", "custom", "message"),
    [
        (LIST, "output.1", "Write the list of layer weights as names and numbers"),
        (LIST, "", "found nothing"),
        ("original", "", "Set weight_type to one of linear, .*; found 'original'"),
    ],
)
def test_mistakes_are_told_by_the_node(weight_type: str, custom: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(weight_type, custom)


def test_a_list_that_is_not_used_is_not_judged() -> None:
    assert made("linear", "output.1").name == "linear"


def test_a_list_may_name_the_layers_of_any_author_on_flux(comfy: None) -> None:
    flux = FluxTwins().patcher
    assert run(LIST, "double.2 = 1", model=flux).args[1].shape[1] == SIZE[1]
    assert run(LIST, "single.1 = 1", model=flux).args[1].shape[1] == SIZE[1]
    with pytest.raises(ValueError, match=r"found single\.2"):
        run(LIST, "single.2 = 1", model=flux)
