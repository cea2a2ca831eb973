"""Every construction is told by its configuration, once, and others are refused by name."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.layers import layout
from comfyui_ip_adapter.ip_adapter_core.layers.architectures import ARCHITECTURES, geometries, geometry, layers
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS


@pytest.mark.parametrize(
    ("family", "name"), [("SD1.5", "UNet"), ("SD2", "UNet"), ("SDXL", "UNet"), ("Flux", "Flux"), ("SD3.5 Large", "SD3")]
)
def test_a_configuration_fits_one_construction(family: str, name: str) -> None:
    assert [row for row, architecture in ARCHITECTURES.items() if architecture.fits(CONFIGS[family])] == [name]
    assert layers(CONFIGS[family]) == ARCHITECTURES[name].layers(CONFIGS[family])


def test_a_unet_has_the_layers_and_the_geometry_of_its_layout() -> None:
    assert layers(CONFIGS["SDXL"]) == layout.layers(CONFIGS["SDXL"])
    assert geometry(CONFIGS["SDXL"]) == layout.geometry(CONFIGS["SDXL"])


@pytest.mark.parametrize("config", [{"image_model": "chroma", "depth": 19, "hidden_size": 3072}, {}])
def test_other_constructions_are_refused_by_name(config: dict[str, object]) -> None:
    kind = config.get("image_model", "of another construction")
    for asked in (layers, geometry):
        with pytest.raises(
            ValueError, match=rf"^Connect a model such as SD1\.5, .* or Flux, .*this model is {kind}\.$"
        ):
            asked(config)


def test_flux_has_other_layers_for_adapters_of_other_authors() -> None:
    usual, inner = geometries(CONFIGS["Flux"])
    assert [len(usual.widths), len(inner.widths)] == [19, 57]
    assert layers(CONFIGS["Flux"], usual) == layers(CONFIGS["Flux"])
    found = layers(CONFIGS["Flux"], inner)
    assert [layer.address for layer in found[18:20]] == [("double", 18, 1), ("single", 0, 1)]
    assert len({layer.address for layer in (*found, *layers(CONFIGS["Flux"]))}) == 76


def test_an_adapter_of_no_such_layers_gets_the_usual_ones() -> None:
    other = geometry(CONFIGS["SDXL"])
    assert layers(CONFIGS["Flux"], other) == layers(CONFIGS["Flux"])
