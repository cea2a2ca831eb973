"""A name in a saved graph means a file that is called otherwise here."""

import re

import pytest

import published_shapes
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify
from comfyui_ip_adapter.ip_adapter_core.adapters.resolution import Evidence
from comfyui_ip_adapter.ip_adapter_core.catalogue.by_name import find_by_name, find_by_tensors

PUBLISHED = {file: identify(published_shapes.entries(file), Evidence(name=file)) for file in published_shapes.FILES}
HERE = ("faceid/ip-adapter-faceid_sd15.bin", "ip-adapter-plus_sd15.safetensors", "sd15/ip-adapter_sd15.safetensors")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ip-adapter-plus_sd15.safetensors", "ip-adapter-plus_sd15.safetensors"),
        ("faceid\\ip-adapter-faceid_sd15.bin", "faceid/ip-adapter-faceid_sd15.bin"),
        ("ip-adapter_sd15.safetensors", "sd15/ip-adapter_sd15.safetensors"),
        ("vit-H\\ip-adapter_sd15.bin", "sd15/ip-adapter_sd15.safetensors"),
        ("ip-adapter_sd15 .bin", "sd15/ip-adapter_sd15.safetensors"),
        ("IP-Adapter Plus SD15.pth", "ip-adapter-plus_sd15.safetensors"),
        ("ip-adapter-plus-face_sd15.bin", None),
        ("", None),
    ],
)
def test_a_name_finds_the_file_that_is_called_almost_so(name: str, meant: str | None) -> None:
    assert find_by_name(name, HERE) == meant


def test_the_file_of_the_very_name_comes_before_others_alike() -> None:
    assert find_by_name("a.bin", ["b/a.bin", "a.bin", "a.safetensors"]) == "a.bin"


@pytest.mark.parametrize("name", sorted(name for name in PUBLISHED if re.search("sd15|sdxl", name)))
def test_a_published_name_finds_by_tensors_an_adapter_of_its_base_and_kind(name: str) -> None:
    """Even where every file is called something else."""
    called = {f"{number}.bin": identity for number, identity in enumerate(PUBLISHED.values())}
    found = find_by_tensors(name, called)
    assert found is not None
    wanted = PUBLISHED[name]
    assert (called[found].family, called[found].variant.reads) == (wanted.family, wanted.variant.reads)


def test_the_encoder_in_a_name_counts_before_its_base() -> None:
    others = {
        f"{number}.bin": PUBLISHED[name] for number, name in enumerate(("ip-adapter_sd15", "ip-adapter_sd15_vit-G"))
    }
    assert find_by_tensors("ip-adapter_sd15_vit-G.safetensors", others) == "1.bin"


def test_a_renamed_file_is_found_by_the_words_in_its_name() -> None:
    found = find_by_tensors("XL ip adapter plus vit-H.safetensors", PUBLISHED)
    assert found == "ip-adapter-plus_sdxl_vit-h"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("pulid_v1.bin", "PuLID v1"),
        ("ip-adapter_pulid_sdxl_fp16.safetensors", "PuLID v1"),
        ("pulid_v1.1.safetensors", "PuLID v1.1"),
        ("PuLID 1.1 fp16.bin", "PuLID v1.1"),
        ("ip-adapter-faceid-plus_sd15.bin", "FaceID-Plus v1"),
        ("ip-adapter-faceid-plusv2_sd15.bin", "FaceID-Plus v2"),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_name_means_the_version_that_it_says(name: str, meant: str, backwards: bool) -> None:
    """A name without a number is the older version."""
    others = dict(enumerate(reversed(PUBLISHED.values()) if backwards else PUBLISHED.values()))
    called = {f"{number}.bin": identity for number, identity in others.items()}
    assert called[str(find_by_tensors(name, called))].variant.name == meant


def test_another_version_is_better_than_none() -> None:
    assert find_by_tensors("pulid_v1.bin", {"a.bin": PUBLISHED["pulid_v1.1"]}) == "a.bin"


OF_OTHER_MODELS = [
    "ip-adapter-flux.bin", "flux-ip-adapter.safetensors", "ip_adapter_sd3.bin", "hunyuan-ip-adapter.bin",
    "ip-adapter-anima.safetensors", "ip-adapter_instant_id_sdxl.bin", "ip-adapter.bin", "ip-adapter_sd21.bin",
]  # fmt: skip


@pytest.mark.parametrize("name", ["gone.bin", "model.safetensors", "", *OF_OTHER_MODELS])
def test_a_name_that_says_nothing_of_an_adapter_finds_none(name: str) -> None:
    assert find_by_tensors(name, PUBLISHED) is None


def test_nothing_is_found_among_nothing() -> None:
    assert find_by_tensors("ip-adapter_sd15.bin", {}) is None
