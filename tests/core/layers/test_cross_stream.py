"""The blocks of Anima in the order of adapter files, which is the one in which they run."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.layers.cross_stream import is_cross_stream, layers
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.roles import REST, has_roles, layer_positions

ANIMA = CONFIGS["Anima"]


def test_every_block_is_a_layer() -> None:
    found = layers(ANIMA)
    assert [layer.address for layer in found] == [("cross", number, 0) for number in range(28)]
    assert {(layer.width, layer.heads) for layer in found} == {(2048, 16)}


@pytest.mark.parametrize("family", CONFIGS)
def test_other_families_are_none(family: str) -> None:
    assert is_cross_stream(CONFIGS[family]) == (family == "Anima")


def test_cosmos_of_the_same_blocks_is_none() -> None:
    assert not is_cross_stream({**ANIMA, "image_model": "cosmos_predict2"})


def test_blocks_have_numbers_and_no_roles() -> None:
    found = layers(ANIMA)
    assert not has_roles(found)
    assert [(position.t, position.role) for position in layer_positions(found)] == [(n, REST) for n in range(28)]
