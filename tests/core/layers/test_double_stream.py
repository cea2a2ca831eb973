"""The double blocks of Flux in the order of adapter files, which is the one in which they run."""

from comfyui_ip_adapter.ip_adapter_core.layers.double_stream import is_double_stream, layers
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.roles import REST, has_roles, layer_positions


def test_every_double_block_is_a_layer() -> None:
    found = layers(CONFIGS["Flux"])
    assert [layer.address for layer in found] == [("double", number, 0) for number in range(19)]
    assert {(layer.width, layer.heads) for layer in found} == {(3072, 24)}


def test_relatives_of_flux_are_none() -> None:
    assert is_double_stream(CONFIGS["Flux"])
    assert not any(is_double_stream({**CONFIGS["Flux"], "image_model": name}) for name in ("flux2", "chroma"))


def test_blocks_of_flux_have_numbers_and_no_roles() -> None:
    found = layers(CONFIGS["Flux"])
    assert not has_roles(found)
    assert [(position.t, position.role) for position in layer_positions(found)] == [(n, REST) for n in range(19)]
