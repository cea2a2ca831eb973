"""The joint blocks of SD3.5 in the order of adapter files, which is the one in which they run."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.joint_stream import is_joint_stream, layers, width
from comfyui_ip_adapter.ip_adapter_core.layers.roles import REST, has_roles, layer_positions

SD3 = CONFIGS["SD3.5 Large"]


def test_every_joint_block_is_a_layer() -> None:
    found = layers(SD3)
    assert [layer.address for layer in found] == [("joint", number, 0) for number in range(38)]
    assert {(layer.width, layer.heads) for layer in found} == {(2432, 38)}
    assert width(SD3) == 2432


def test_a_model_may_have_another_number_of_blocks_than_of_heads() -> None:
    assert len(layers({**SD3, "num_blocks": 12})) == 12


@pytest.mark.parametrize("family", CONFIGS)
def test_other_families_are_none(family: str) -> None:
    assert is_joint_stream(CONFIGS[family]) == (family == "SD3.5 Large")


def test_joint_blocks_have_numbers_and_no_roles() -> None:
    found = layers(SD3)
    assert not has_roles(found)
    assert [(position.t, position.role) for position in layer_positions(found)] == [(n, REST) for n in range(38)]
