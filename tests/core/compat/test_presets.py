"""Each preset is a wish of its own: of all published files it means those that the old pack took for it."""

import pytest

import published_shapes
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify
from comfyui_ip_adapter.ip_adapter_core.adapters.resolution import Evidence
from comfyui_ip_adapter.ip_adapter_core.catalogue.choose import fitting
from comfyui_ip_adapter.ip_adapter_core.compat.presets import PRESETS, read_preset
from comfyui_ip_adapter.ip_adapter_core.layers.families import FAMILIES

PUBLISHED = {
    file: identify(published_shapes.entries(file), Evidence(name=file))
    for file in published_shapes.FILES
    if "InstantID" not in file  # which lies in a folder of that pack's own
}

MEANT = {
    ("STANDARD (medium strength)", "SD1.5"): "ip-adapter_sd15",
    ("STANDARD (medium strength)", "SDXL"): "ip-adapter_sdxl_vit-h",
    ("VIT-G (medium strength)", "SDXL"): "ip-adapter_sdxl",
    ("VIT-G (medium strength)", "SD1.5"): "ip-adapter_sd15_vit-G",
    ("PLUS (high strength)", "SD1.5"): "ip-adapter-plus_sd15",
    ("PLUS (high strength)", "SDXL"): "ip-adapter-plus_sdxl_vit-h",
    ("PLUS FACE (portraits)", "SD1.5"): "ip-adapter-plus-face_sd15",
    ("FULL FACE - SD1.5 only (portraits stronger)", "SD1.5"): "ip-adapter-full-face_sd15",
    ("FACEID", "SD1.5"): "ip-adapter-faceid_sd15",
    ("FACEID PLUS - SD1.5 only", "SD1.5"): "ip-adapter-faceid-plus_sd15",
    ("FACEID PLUS V2", "SD1.5"): "ip-adapter-faceid-plusv2_sd15",
    ("FACEID PLUS V2", "SDXL"): "ip-adapter-faceid-plusv2_sdxl",
    ("FACEID PORTRAIT (style transfer)", "SDXL"): "ip-adapter-faceid-portrait_sdxl",
    ("FACEID PORTRAIT UNNORM - SDXL only (strong)", "SDXL"): "ip-adapter-faceid-portrait_sdxl_unnorm",
    ("Composition", "SD1.5"): "ip_plus_composition_sd15",
    ("Composition", "SDXL"): "ip_plus_composition_sdxl",
}


@pytest.mark.parametrize(("preset", "family"), MEANT)
def test_a_preset_takes_the_file_that_it_took(preset: str, family: str) -> None:
    wish = read_preset(preset)
    found = fitting(wish.among(PUBLISHED), FAMILIES[family], wish.kind)
    assert found and found[0] == MEANT[preset, family]


def test_every_preset_means_something() -> None:
    assert all(wish.among(PUBLISHED) for wish in PRESETS.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_the_case_of_letters_does_not_matter(preset: str) -> None:
    assert read_preset(preset.lower()) == read_preset(preset.upper()) == PRESETS[preset]


def test_another_word_is_refused_with_the_menu() -> None:
    with pytest.raises(ValueError, match=r"^Set preset to one of LIGHT .*found 'None'\.$"):
        read_preset("None")
