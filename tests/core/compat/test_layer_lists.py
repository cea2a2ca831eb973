"""Lists of layer weights of the old pack."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.layer_lists import layer_list
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import layers
from comfyui_ip_adapter.ip_adapter_core.layers.roles import layer_positions

SDXL = layers(CONFIGS["SDXL"])


def by_number(text: str, weight: float = 1.0, weight_type: str = "linear") -> dict[int, tuple[float, float]]:
    """The factors of each number that is not 0."""
    spread = layer_list(text, weight, weight_type).per_layer(SDXL)
    numbers = {position.t: tuple(spread[position.layer]) for position in layer_positions(SDXL)}
    return {number: pair for number, pair in numbers.items() if any(pair)}


def test_named_layers_get_their_number_times_the_weight_and_others_nothing() -> None:
    assert by_number("0:1, 3:-2.5,\n10 : 0.5", 2.0) == {0: (2.0, 0.0), 3: (-5.0, 0.0), 10: (1.0, 0.0)}


def test_numbers_that_a_model_lacks_are_passed_over() -> None:
    assert by_number("15:1, 6:1") == {6: (1.0, 0.0)}


def test_in_a_precise_type_the_list_pushes_away_where_the_type_does() -> None:
    assert by_number("3:2, 6:1", 1.0, "style transfer precise") == {3: (0.0, 2.0), 6: (1.0, 0.0)}
    assert by_number("3:2, 6:1", 1.0, "composition precise") == {3: (2.0, 0.0), 6: (0.0, 1.0)}


@pytest.mark.parametrize("text", ["style:1", "1", "1:x", "-1:2", ""])
def test_what_is_no_list_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^Write layer_weights as numbers of layers and their weights such as 3:2\.5"):
        layer_list(text, 1.0, "linear")
