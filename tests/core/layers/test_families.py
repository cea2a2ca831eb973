"""Published families: their geometry is that of the published adapters, and tells them."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.layers.architectures import geometry
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS, FAMILIES, GEOMETRIES, alike, describe, family
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Geometry

# Runs of equal inner widths in the order of adapter files: input, output, middle.
SD = (320,) * 2 + (640,) * 2 + (1280,) * 5 + (640,) * 3 + (320,) * 3 + (1280,)
SDXL = (640,) * 4 + (1280,) * 50 + (640,) * 6 + (1280,) * 10
FLUX = (3072,) * 19
SD3 = (2432,) * 38


@pytest.mark.parametrize(
    ("name", "context", "widths"),
    [("SD1.5", 768, SD), ("SD2", 1024, SD), ("SDXL", 2048, SDXL), ("Flux", 4096, FLUX), ("SD3.5 Large", 2432, SD3)],
)
def test_a_family_has_the_geometry_of_its_published_adapters(name: str, context: int, widths: tuple[int, ...]) -> None:
    assert FAMILIES[name] == Geometry(context, widths)
    assert family(geometry(CONFIGS[name])) == name


def test_an_unknown_geometry_keeps_its_numbers() -> None:
    assert describe(Geometry(64, (32, 32))) == "a model of its own kind (2 layers, context 64)"


def test_adapters_of_both_authors_are_for_flux() -> None:
    usual, inner = GEOMETRIES["Flux"]
    assert family(usual) == family(inner) == "Flux"
    assert alike(usual) == alike(inner) == (usual, inner)
    assert alike(FAMILIES["SDXL"]) == (FAMILIES["SDXL"],)
    assert alike(Geometry(1, (2,))) == (Geometry(1, (2,)),)
