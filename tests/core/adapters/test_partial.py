"""A file of which a part was lost is named as the kind that it was, with what it lacks and what to do."""

import re

import pytest

from comfyui_ip_adapter.ip_adapter_core.adapters.checkpoint import is_adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify
from comfyui_ip_adapter.ip_adapter_core.adapters.namings import find_sources
from comfyui_ip_adapter.ip_adapter_core.adapters.partial import OF_EITHER_PULID, WHOLE, check_last_layers, check_whole
from comfyui_ip_adapter.ip_adapter_core.adapters.variants import VARIANTS
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.layers.families import GEOMETRIES
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Geometry
from published_shapes import FILES, entries

NAMED = {row.kind for row in WHOLE}
OF_NAMED = [file for file, row in FILES.items() if row.variant in NAMED and not row.lucifer]
OF_LAYERS = "ip_adapter (LuciferTC Anima)"


def without(file: str, lost: str) -> dict[str, Entry]:
    """A published file without what is called so in most files: a part of the projection, a layer or a half."""
    named = entries(file)
    gone = {first for name, (first, *_) in find_sources(named).items() if name == lost or name.startswith(f"{lost}.")}
    assert 0 < len(gone) < len(named)
    return {name: entry for name, entry in named.items() if name not in gone}


def parts_of(file: str) -> list[str]:
    """The top-level parts of a file's projection, under the names of most files."""
    names = [name.split(".") for name in find_sources(entries(file)) if name.startswith("image_proj.")]
    return list(
        dict.fromkeys(".".join(name[: 3 if name[1] == "proj" else 2]).removesuffix(".weight") for name in names)
    )


def test_every_kind_that_is_named_is_tried() -> None:
    assert NAMED - {OF_EITHER_PULID} == {FILES[file].variant for file in (*OF_NAMED, OF_LAYERS)}
    assert NAMED - {OF_EITHER_PULID} <= {variant.name for variant in VARIANTS}


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("ip_adapter.1.to_k_ip.bias", r"lacks ip_adapter\.1\.to_k_ip\.bias"),
        ("ip_adapter.55.adaln_ip", r"lacks ip_adapter\.55\.adaln_ip\.1\.weight"),
        ("ip_adapter.7.to_out_lora.up", r"lacks ip_adapter\.7\.to_out_lora\.up\.weight"),
        ("ip_adapter.55", r"(?:lacks ip_adapter\.55\.|has the first 27 of 28 layers)"),
    ],
)
def test_a_lost_part_of_a_kind_without_a_projection_is_named(lost: str, says: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=rf"^Download .* of kind Anima SigLIP2, and {says}"):
        identify(without(OF_LAYERS, lost))


@pytest.mark.parametrize(
    ("file", "lost", "says"),
    [
        (OF_LAYERS, r"adaln_ip\..+", r"Anima SigLIP2, and lacks ip_adapter\.1\.adaln_ip\.1\.weight"),
        (OF_LAYERS, r"to_v_ip\..+", r"Anima SigLIP2, and lacks ip_adapter\.1\.to_v_ip\.weight"),
        ("ip_adapter (XLabs Flux)", r"to_[kv]_ip\.bias", r"XLabs, and lacks ip_adapter\.1\.to_k_ip\.bias"),
    ],
)
def test_what_every_layer_has_lost_is_named(file: str, lost: str, says: str) -> None:
    named = entries(file)
    sources = find_sources(named).items()
    gone = {first for name, (first, *_) in sources if re.fullmatch(rf"ip_adapter\.\d+\.{lost}", name)}
    assert len(gone) >= 19
    with pytest.raises(UnsupportedCheckpoint, match=rf"^Download .* of kind {says}"):
        identify({name: entry for name, entry in named.items() if name not in gone})


def test_as_many_layers_as_another_kind_has_are_not_taken_for_all() -> None:
    file, numbers = "ip-adapter (InstantX Flux)", range(39, 115, 2)
    named = entries(file)
    gone = {first for name, (first, *_) in find_sources(named).items() for n in numbers if f"ip_adapter.{n}." in name}
    with pytest.raises(UnsupportedCheckpoint, match=r"^Download .* of kind InstantX Flux, and has 19 of 57 layers"):
        identify({name: entry for name, entry in named.items() if name not in gone})


def test_the_lora_of_a_kind_without_a_projection_is_not_taken_for_it() -> None:
    assert not is_adapter(without(OF_LAYERS, "ip_adapter"))


@pytest.mark.parametrize("file", [*OF_NAMED, OF_LAYERS])
def test_a_whole_file_lacks_nothing(file: str) -> None:
    named = entries(file)
    check_whole(named, find_sources(named))


@pytest.mark.parametrize("file", OF_NAMED)
def test_each_lost_part_of_a_projection_is_named_with_its_kind(file: str) -> None:
    kind = FILES[file].variant
    lost_parts = parts_of(file)
    assert len(lost_parts) > 2
    for lost in lost_parts:
        named = without(file, lost)
        assert is_adapter(named)
        with pytest.raises(UnsupportedCheckpoint) as refusal:
            identify(named)
        says = rf"Download this adapter file again; it is of kind {re.escape(kind)}, and lacks {re.escape(lost)}\b.*\."
        assert re.fullmatch(says, str(refusal.value)), lost


@pytest.mark.parametrize("file", OF_NAMED)
def test_a_file_without_its_layers_is_named(file: str) -> None:
    named = without(file, "ip_adapter")
    assert is_adapter(named)
    with pytest.raises(
        UnsupportedCheckpoint,
        match=rf"^Download .* of kind {re.escape(FILES[file].variant)}, and has no cross-attention layers",
    ):
        identify(named)


@pytest.mark.parametrize(
    "file", [file for file in OF_NAMED if "instruct" not in file and "ip-adapter_pulid" not in file]
)
def test_a_file_without_its_projection_is_named(file: str) -> None:
    """But not Instruct and a PuLID with published names, whose layers are those of any adapter."""
    kind = OF_EITHER_PULID if "PuLID" in FILES[file].variant else FILES[file].variant
    named = without(file, "image_proj")
    assert is_adapter(named)
    with pytest.raises(
        UnsupportedCheckpoint, match=rf"^Download .* of kind {re.escape(kind)}, and has no image projection\.$"
    ):
        identify(named)


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("ip-adapter-instruct-sd15", "SD1.5 (16 layers, context 768)"),
        ("ip-adapter-instruct-sdxl", "SDXL (70 layers, context 2048)"),
        ("ip-adapter-plus_sd15", "SD1.5 (16 layers, context 768)"),
        ("ip-adapter_pulid_sdxl_fp16", "SDXL (70 layers, context 2048)"),
    ],
)
def test_layers_alone_that_any_kind_may_have_tell_their_model(file: str, family: str) -> None:
    with pytest.raises(UnsupportedCheckpoint) as refusal:
        identify(without(file, "image_proj"))
    assert str(refusal.value) == (
        f"Download this adapter file again; it has the layers of an adapter for {family} and no image projection, "
        "which would tell its kind (base, plus, Instruct and so on)."
    )


UNGATED = {
    "the first half of its blocks": (
        r"to_[kv]_ip\.(?:1[4-9]|2\d)\.weight",
        r"^Download .* of kind Anima PE-Core, and has the first 14 of 28 layers, and no gate \(ip_gate\)\.$",
    ),
    "no values": (
        r"to_v_ip\..+",
        r"^Download .* and lacks ip_adapter\.1\.to_v_ip\.weight and every gate \(ip_gate\)\.$",
    ),
    "no projection": (r"resampler\..+|ip_centroid", r"^Download .* and has no image projection\.$"),
    "no centroid": (r"ip_centroid", r"^Download .* and lacks image_proj\.ip_centroid\.$"),
    "all the rest": (
        r"nothing",
        r"^Choose an Anima adapter that has gates .* it is older, or they were lost, and its ",
    ),
}


@pytest.mark.parametrize("left", UNGATED)
def test_a_file_without_gates_is_an_old_one_only_where_all_the_rest_is_there(left: str) -> None:
    lost, says = UNGATED[left]
    named = entries("anima_ip_adapter_quality_20260610")
    kept = {name: entry for name, entry in named.items() if not re.fullmatch(rf"ip_gate\..+|{lost}", name)}
    with pytest.raises(UnsupportedCheckpoint, match=says):
        identify(kept)


@pytest.mark.parametrize("file", [file for file in OF_NAMED if FILES[file].layers != "SDXL"])
def test_a_file_without_its_first_or_its_last_layer_is_named(file: str) -> None:
    known = GEOMETRIES[FILES[file].layers][FILES[file].inner]
    count, kind = len(known.widths), re.escape(FILES[file].variant)
    for number, says in ((1, r"has no layer 1 \(the next is 3\)"), (2 * count - 1, rf"has the first {count - 1} of")):
        with pytest.raises(UnsupportedCheckpoint, match=rf"^Download .* again; it is of kind {kind}, and {says}"):
            identify(without(file, f"ip_adapter.{number}"))


@pytest.mark.parametrize("lost", ["ip_adapter.7.to_k_ip", "ip_adapter.7.to_v_ip"])
@pytest.mark.parametrize("file", [file for file in OF_NAMED if FILES[file].layers != "SDXL"])
def test_a_file_with_half_a_layer_is_named(file: str, lost: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=rf"of kind {re.escape(FILES[file].variant)}, and lacks {lost}"):
        identify(without(file, lost))


def test_a_level_that_is_read_by_fewer_layers_is_told() -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"of kind PuLID v1\.1, .*9 layers read 5 levels"):
        identify(without("pulid_v1.1", "image_proj.layers.9"))


@pytest.mark.parametrize("family", GEOMETRIES)
def test_layers_that_end_before_the_last_are_those_of_a_part(family: str) -> None:
    for whole in GEOMETRIES[family]:
        check_last_layers("base", whole)
        part = Geometry(whole.context, whole.widths[:-1])
        with pytest.raises(UnsupportedCheckpoint, match=f"first {len(part.widths)} of {len(whole.widths)} layers"):
            check_last_layers("base", part)


def test_layers_of_other_models_are_no_part_of_published_ones() -> None:
    """SSD-1B, which is SDXL with fewer blocks, and another text width."""
    check_last_layers("base", Geometry(2048, (*[640] * 4, *[1280] * 26, *[640] * 4)))
    check_last_layers("base", Geometry(96, GEOMETRIES["SD1.5"][0].widths[:-1]))


def test_a_projection_of_another_kind_is_not_held_against_the_layers() -> None:
    """Layers of Flux as InstantX has them, under a projection of the base kind."""
    layers = {name: entry for name, entry in entries("ip-adapter (InstantX Flux)").items() if "image_proj" not in name}
    named = layers | {f"image_proj.{name}": Entry((4096, 768), "F16") for name in ("proj.weight", "norm.weight")}
    check_whole(named, find_sources(named))
