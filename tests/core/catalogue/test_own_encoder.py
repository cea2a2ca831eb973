"""Encoders that are as wide as an adapter's own and surely others are refused; those that may be it pass."""

from functools import lru_cache

import open_clip
import pytest

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify
from comfyui_ip_adapter.ip_adapter_core.adapters.variants import ENCODER_NAMES, VARIANTS
from comfyui_ip_adapter.ip_adapter_core.catalogue.choose import encoders_for
from comfyui_ip_adapter.ip_adapter_core.catalogue.own_encoder import BUILDS, Build, check_own_encoder, read_build
from comfyui_ip_adapter.ip_adapter_core.vision import towers
from published_shapes import FILES, entries, registered_entries

SD3, FLUX, ANIMA = "ip-adapter (InstantX SD3.5)", "ip-adapter (InstantX Flux)", "anima_ip_adapter_quality_20260610"
PULID, KOLORS = "pulid_v1.1", "ip_adapter_plus_general (Kolors)"
SO400M = "ViT-SO400M-14-SigLIP-384"


@lru_cache
def tower(name: str) -> towers.Tower:
    config = open_clip.get_model_config(name)
    return towers.identify(registered_entries(name), {**config, "name": name})


def check(adapter: str, name: str, resolution: str = towers.AS_TRAINED) -> None:
    check_own_encoder(identify(entries(adapter)), name, read_build(tower(name).at(resolution)))


@pytest.mark.parametrize("name", BUILDS)
def test_builds_are_those_of_openclips_models(name: str) -> None:
    assert read_build(tower(name)) == BUILDS[name]


def test_encoders_that_are_no_clip_are_all_known() -> None:
    assert {name for name in ENCODER_NAMES.values() if not name.startswith("CLIP-")} == BUILDS.keys()


@pytest.mark.parametrize(
    ("adapter", "own", "connected"),
    [
        (SD3, SO400M, "ViT-SO400M-16-SigLIP2-512"),
        (SD3, SO400M, "ViT-SO400M-14-SigLIP"),
        (FLUX, SO400M, "ViT-SO400M-16-SigLIP-i18n-256"),
        (ANIMA, "PE-Core-L-14-336", "ViT-L-16-SigLIP-384"),
        (PULID, "EVA02-L-14-336", "EVA02-L-14"),
        (KOLORS, "CLIP-ViT-L-14-336", "PE-Core-L-14-336"),
    ],
)
def test_an_encoder_of_the_same_widths_that_is_surely_another_is_refused(
    adapter: str, own: str, connected: str
) -> None:
    kind = FILES[adapter].variant
    with pytest.raises(ValueError, match=rf"^Load {own} in place of the connected {connected}: this {kind} adapter"):
        check(adapter, connected)


def test_the_sentence_says_what_tells_them_apart() -> None:
    own = r"SigLIP with 27 layers, patches of 14 px and 729 tokens"
    other = r"SigLIP with 27 layers, patches of 16 px and 1024 tokens"
    with pytest.raises(ValueError, match=rf"reads that encoder alone \({own}\), and the connected one is {other}\.$"):
        check(SD3, "ViT-SO400M-16-SigLIP2-512")


@pytest.mark.parametrize(
    ("adapter", "connected"),
    [
        (SD3, SO400M),
        (SD3, "ViT-SO400M-14-SigLIP2-378"),  # has the tensors of the own one
        (FLUX, SO400M),
        (ANIMA, "PE-Core-L-14-336"),
        (PULID, "EVA02-L-14-336"),
        (KOLORS, "ViT-L-14-336"),
        (KOLORS, "ViT-L-14"),
        ("ip-adapter_sd15", "PE-Core-L-14-336"),  # somebody may have trained it so
    ],
)
def test_an_encoder_that_may_be_the_own_one_passes(adapter: str, connected: str) -> None:
    check(adapter, connected)


def test_another_resolution_is_no_other_encoder() -> None:
    check(SD3, SO400M, towers.DOUBLE)
    check(KOLORS, "ViT-L-14", "336")


def test_an_encoder_of_unknown_construction_is_told_by_its_sizes() -> None:
    identity, own = identify(entries(SD3)), BUILDS[SO400M]
    check_own_encoder(identity, "mine", own._replace(construction=None))
    with pytest.raises(ValueError, match="and the connected one is an encoder with 27 layers"):
        check_own_encoder(identity, "mine", own._replace(construction=None, tokens=256))
    check_own_encoder(identity, "mine", own._replace(layers=2, tokens=16))  # is no published one
    check_own_encoder(identify(entries(KOLORS)), "mine", Build(None, 40, 14, 257))


def test_every_kind_with_an_encoder_of_its_own_is_published_with_it() -> None:
    own = {variant.name for variant in VARIANTS if variant.own_encoder}
    identities = [identify(entries(file)) for file, it in FILES.items() if it.variant in own]
    assert {identity.variant.name for identity in identities} == own
    assert all(identity.encoder in ENCODER_NAMES.values() for identity in identities)
    own_towers = {name: tower(name) for name in BUILDS}
    for identity in identities:
        for name in encoders_for(identity, own_towers):
            check_own_encoder(identity, name, read_build(own_towers[name]))
