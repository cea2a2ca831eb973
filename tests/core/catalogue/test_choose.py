"""The adapter and encoder for a model are chosen by tensors; names only break ties."""

from dataclasses import replace
from typing import Any

import pytest

import published_shapes
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify
from comfyui_ip_adapter.ip_adapter_core.adapters.resolution import Evidence
from comfyui_ip_adapter.ip_adapter_core.adapters.variants import ENCODER_NAMES, KOLORS
from comfyui_ip_adapter.ip_adapter_core.catalogue import downloads
from comfyui_ip_adapter.ip_adapter_core.catalogue.choose import (
    KINDS,
    OF_FACES,
    OF_PICTURES,
    choose,
    encoders_for,
    fitting,
    lacks_encoder,
)
from comfyui_ip_adapter.ip_adapter_core.layers.families import FAMILIES
from comfyui_ip_adapter.ip_adapter_core.vision.towers import Tower


def tower(name: str, embed_dim: int, width: int) -> Tower:
    return Tower(name, embed_dim, width, 24, 14, 224, 257, False, (0.5,) * 3, (0.5,) * 3, "bicubic", {})


H, G = tower("ViT-H-14", 1024, 1280), tower("ViT-bigG-14", 1280, 1664)
SMALL_G = tower("ViT-g-14", 1024, 1408)


WIDE_L = tower("ViT-L-14-336", 768, 1024)


def identities(*files: str) -> dict[str, Any]:
    return {file: identify(published_shapes.entries(file), Evidence(name=file)) for file in files}


IDENTITIES = identities(*published_shapes.FILES)


@pytest.mark.parametrize(
    ("family", "kind", "adapter"),
    [
        ("SD1.5", "any", "ip-adapter-plus_sd15"),
        ("SD1.5", "base", "ip-adapter_sd15"),
        ("SD1.5", "light", "ip-adapter_sd15_light"),
        ("SD1.5", "plus", "ip-adapter-plus_sd15"),
        ("SD1.5", "plus face", "ip-adapter-plus-face_sd15"),
        ("SD1.5", "full face", "ip-adapter-full-face_sd15"),
        ("SD1.5", "composition", "ip_plus_composition_sd15"),
        ("SD1.5", "Instruct", "ip-adapter-instruct-sd15"),
        ("SDXL", "Instruct", "ip-adapter-instruct-sdxl"),
        ("SDXL", "any", "ip-adapter-plus_sdxl_vit-h"),
        ("SDXL", "base", "ip-adapter_sdxl_vit-h"),
        ("SDXL", "composition", "ip_plus_composition_sdxl"),
        ("SD1.5", "FaceID-Plus", "ip-adapter-faceid-plusv2_sd15"),
        ("SDXL", "FaceID-Plus", "ip-adapter-faceid-plusv2_sdxl"),
    ],
)
def test_each_wish_finds_its_file(family: str, kind: str, adapter: str) -> None:
    assert choose(IDENTITIES, {"h": H}, FAMILIES[family], kind) == (adapter, "h")


def test_an_adapter_that_must_be_told_something_is_not_just_any() -> None:
    only = identities("ip-adapter-instruct-sd15")
    assert choose(only, {"h": H}, FAMILIES["SD1.5"], "any") is None
    assert choose(only, {"h": H}, FAMILIES["SD1.5"], "Instruct") == ("ip-adapter-instruct-sd15", "h")


@pytest.mark.parametrize(
    ("family", "kind", "adapter"),
    [
        ("SD1.5", "FaceID", "ip-adapter-faceid_sd15"),
        ("SD1.5", "portrait", "ip-adapter-faceid-portrait-v11_sd15"),
        ("SDXL", "FaceID", "ip-adapter-faceid_sdxl"),
        ("SDXL", "portrait", "ip-adapter-faceid-portrait_sdxl"),
    ],
)
def test_adapters_that_read_faces_alone_need_no_encoder(family: str, kind: str, adapter: str) -> None:
    pair = choose(IDENTITIES, {}, FAMILIES[family], kind)
    assert pair == (adapter, None)
    assert pair is not None and not lacks_encoder(pair, IDENTITIES)


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        ("any", "ip_adapter_plus_general (Kolors)"),
        ("plus", "ip_adapter_plus_general (Kolors)"),
        ("FaceID-Plus", "ipa-faceid-plus (Kolors)"),
    ],
)
def test_kolors_has_adapters_of_its_own_though_its_layers_are_those_of_sdxl(kind: str, adapter: str) -> None:
    encoders = {"h": H, "336": WIDE_L}
    assert choose(IDENTITIES, encoders, FAMILIES["SDXL"], kind, KOLORS) == (adapter, "336")
    assert adapter not in fitting(IDENTITIES, FAMILIES["SDXL"], kind)
    assert choose(IDENTITIES, encoders, FAMILIES["SDXL"], "base", KOLORS) is None


def test_an_adapter_whose_encoder_is_there_is_preferred() -> None:
    adapters = identities("ip-adapter_sdxl", "ip-adapter_sdxl_vit-h")
    assert choose(adapters, {"h": H}, FAMILIES["SDXL"], "base") == ("ip-adapter_sdxl_vit-h", "h")
    assert choose(adapters, {"g": G}, FAMILIES["SDXL"], "base") == ("ip-adapter_sdxl", "g")


def test_renamed_files_are_found_all_the_same() -> None:
    renamed = {"my file": identify(published_shapes.entries("ip-adapter-plus-face_sd15"))}
    assert choose(renamed, {"model": H}, FAMILIES["SD1.5"], "plus face") == ("my file", "model")


def test_a_missing_encoder_or_adapter_is_told() -> None:
    adapters = identities("ip-adapter-plus_sd15")
    assert choose(adapters, {"g": G}, FAMILIES["SD1.5"], "any") == ("ip-adapter-plus_sd15", None)
    assert choose(adapters, {"h": H}, FAMILIES["SDXL"], "any") is None
    assert choose(adapters, {"h": H}, FAMILIES["SD1.5"], "base") is None


def test_the_encoder_of_the_training_comes_first_among_equal_widths() -> None:
    identity = identify(published_shapes.entries("ip-adapter_sd15"))
    assert encoders_for(identity, {"a small g": SMALL_G, "z huge": H, "big": G}) == ["z huge", "a small g"]


@pytest.mark.parametrize(
    ("adapter", "width", "others"),
    [
        ("ip-adapter_sd15", 1024, ("PE-Core-L-14-336",)),
        ("ip_adapter (XLabs Flux v2)", 768, ("EVA02-L-14-336", "ViT-B-16-SigLIP2-512")),
        ("ip_adapter_plus_general (Kolors)", 1024, ("EVA02-L-14-336", "PE-Core-L-14-336", "ViT-L-16-SigLIP-384")),
        ("ip-adapter (InstantX Flux)", 1152, ("ViT-SO400M-14-SigLIP", "ViT-SO400M-16-SigLIP2-512")),
    ],
)
def test_an_encoder_that_says_other_things_is_none_whatever_its_width(
    adapter: str, width: int, others: tuple[str, ...]
) -> None:
    identity = IDENTITIES[adapter]
    usual = {"clip": replace(tower("ViT-L-14", width, width), name=(identity.encoder or "").removeprefix("CLIP-"))}
    assert encoders_for(identity, usual | {name: tower(name, width, width) for name in others}) == ["clip"]


def test_all_that_fit_are_listed() -> None:
    found = fitting(IDENTITIES, FAMILIES["SD1.5"], "plus")
    assert found == ["ip-adapter-plus_sd15", "ip-adapter-plus-face_sd15", "ip_plus_composition_sd15"]


def test_the_menu_begins_with_the_words_that_saved_graphs_have() -> None:
    """A new choice comes after these."""
    saved = (
        "any",
        "base",
        "light",
        "plus",
        "plus face",
        "full face",
        "composition",
        "FaceID",
        "FaceID-Plus",
        "portrait",
    )
    assert tuple(KINDS)[: len(saved)] == saved


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("any", ["ip-adapter-plus_sd15", "ip-adapter-full-face_sd15", "ip-adapter_sd15"]),
        ("FaceID-Plus", ["ip-adapter-faceid-plusv2_sd15", "ip-adapter-faceid-plus_sd15"]),
    ],
)
def test_kinds_have_their_preference_whatever_the_files_are_called(kind: str, files: list[str]) -> None:
    best_first = [identities(file)[file] for file in files]
    named = dict(zip("cba", best_first, strict=False))
    assert [named[name] for name in fitting(named, FAMILIES["SD1.5"], kind)] == best_first


def test_an_adapter_that_reads_normed_states_takes_no_encoder_of_that_width_without_them() -> None:
    pe_core = replace(tower("PE-Core-L-14-336", 1024, 1024), pools=True)
    assert choose(IDENTITIES, {"l": WIDE_L}, FAMILIES["Anima"], "any") == ("anima_ip_adapter_quality_20260610", None)
    found = choose(IDENTITIES, {"a clip": WIDE_L, "pe": pe_core}, FAMILIES["Anima"], "any")
    assert found == ("anima_ip_adapter_quality_20260610", "pe")


def test_instantid_is_told_by_the_name_or_the_folder_of_its_file() -> None:
    known = identities(
        "ip-adapter-faceid-portrait_sdxl_unnorm", "ip-adapter (InstantID)", "ip-adapter-faceid-portrait_sdxl"
    )
    unnorm, instantid, portrait = known.values()
    files = {"a unnorm.bin": unnorm, "instantid/ip-adapter.bin": instantid, "b portrait.bin": portrait}
    sdxl = FAMILIES["SDXL"]
    assert fitting(files, sdxl, "InstantID") == ["instantid/ip-adapter.bin", "a unnorm.bin"]
    assert fitting(files, sdxl, "portrait") == ["b portrait.bin", "a unnorm.bin", "instantid/ip-adapter.bin"]
    assert "InstantID" in OF_FACES
    assert "InstantID" not in OF_PICTURES
    assert fitting({downloads.ADAPTER_FILES["SDXL", "InstantID"].file: instantid, **files}, sdxl, "InstantID")[0] == (
        "instantid/ip-adapter.bin"
    )


def test_anima_has_the_adapters_of_two_authors_and_the_closer_one_first() -> None:
    anima = FAMILIES["Anima"]
    assert fitting(IDENTITIES, anima, "any") == ["anima_ip_adapter_quality_20260610", "ip_adapter (LuciferTC Anima)"]
    assert fitting(IDENTITIES, anima, "base") == ["ip_adapter (LuciferTC Anima)"]
    siglip = replace(tower("ViT-B-16-SigLIP2-512", 768, 768), pools=True)
    assert choose(IDENTITIES, {"l": WIDE_L, "s": siglip}, anima, "base") == ("ip_adapter (LuciferTC Anima)", "s")


def test_every_download_belongs_to_a_known_kind_family_and_encoder() -> None:
    assert {family for family, _ in downloads.ADAPTER_FILES} <= {*FAMILIES, KOLORS}
    assert {kind for _, kind in downloads.ADAPTER_FILES} <= set(KINDS)
    assert set(downloads.ENCODER_FILES) <= set(ENCODER_NAMES.values())


def test_an_adapter_of_any_kind_can_be_downloaded_for_every_family_that_has_some() -> None:
    usual = {family for family, kind in downloads.ADAPTER_FILES if kind in ("any", "plus", "base")}
    assert {*FAMILIES, KOLORS} - usual == {"SD2"}


def test_flux_has_the_adapters_of_two_authors_and_the_lighter_one_first() -> None:
    flux = FAMILIES["Flux"]
    assert fitting(IDENTITIES, flux, "plus") == ["ip-adapter (InstantX Flux)"]
    assert fitting(IDENTITIES, flux, "base") == ["ip_adapter (XLabs Flux v2)", "ip_adapter (XLabs Flux)"]
    assert fitting(IDENTITIES, flux, "any")[-1] == "ip-adapter (InstantX Flux)"
    siglip = {"siglip": tower("ViT-SO400M-14-SigLIP-384", 1152, 1152)}
    assert choose(IDENTITIES, siglip, flux, "plus") == ("ip-adapter (InstantX Flux)", "siglip")
    assert choose(IDENTITIES, siglip, flux, "any") == ("ip-adapter (InstantX Flux)", "siglip")
    assert downloads.ADAPTER_FILES["Flux", "any"] == downloads.ADAPTER_FILES["Flux", "base"]
