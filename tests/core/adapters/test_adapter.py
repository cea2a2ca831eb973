"""Every published file is identified as itself, loaded strictly, and anything else is refused by name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.adapters import loading
from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.checkpoint import split
from comfyui_ip_adapter.ip_adapter_core.adapters.identity import Identity
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, identify_file, load
from comfyui_ip_adapter.ip_adapter_core.adapters.namings import find_sources
from comfyui_ip_adapter.ip_adapter_core.adapters.resolution import Evidence
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.layers.families import describe
from fabricate import adapters
from foreign_shapes import REFUSED, header
from published_shapes import FILES, UNPUBLISHED, File, entries, parameters, safetensors_header, tensor_bytes

Nested = dict[str, dict[str, Tensor]]
KNOWN: dict[str, File] = {**FILES, **UNPUBLISHED}


def known(file: str) -> Identity:
    """What a published file is identified as under its own name."""
    return identify(entries(file), Evidence(name=file))


@pytest.mark.parametrize("file", KNOWN)
def test_published_files_are_identified_by_their_tensors(file: str) -> None:
    recorded, identity = KNOWN[file], known(file)
    assert identity.variant.name == recorded.variant
    assert describe(identity.geometry).startswith(f"{recorded.layers} (")
    assert identity.family == (recorded.family or recorded.layers)
    assert identity.tokens == (
        None if recorded.kind in ("full face", "Anima SigLIP2") else recorded.sizes.get("tokens", 4)
    )
    assert identity.lora == bool(recorded.lora)
    faces = (512,) if identity.reads_faces else ()
    assert identity.widths == faces + tuple(recorded.sizes[key] for key in recorded.reads if key in recorded.sizes)


@pytest.mark.parametrize("file", KNOWN)
def test_the_network_of_a_published_file_takes_all_its_tensors(file: str) -> None:
    named = entries(file)
    shapes = split(find_sources(named)).map(lambda names: named[names[0]].shape)
    with torch.device("meta"):
        network = Adapter(shapes, nn, Evidence(name=file))
    tensors = shapes.map(lambda shape: torch.empty(shape, device="meta"))._replace(lora={})
    network.load_state_dict(tensors.flat(), strict=True, assign=True)
    assert sum(tensor.numel() for tensor in network.parameters()) == KNOWN[file].parameters - KNOWN[file].lora


@pytest.mark.parametrize("file", KNOWN)
def test_recorded_files_have_the_published_numbers_of_parameters(file: str) -> None:
    named = entries(file)
    assert parameters(named) == KNOWN[file].parameters
    assert (
        parameters({name: entry for name, entry in named.items() if re.search(r"_lora\.|\.lora_", name)})
        == KNOWN[file].lora
    )


@pytest.mark.parametrize("file", [file for file, row in FILES.items() if row.safetensors])
def test_recorded_files_have_the_published_size_to_the_byte(file: str) -> None:
    named = entries(file)
    assert len(safetensors_header(named)) + tensor_bytes(named) == FILES[file].safetensors


@pytest.mark.parametrize("file", [file for file, row in FILES.items() if row.pickle])
def test_recorded_pickles_are_a_little_smaller_than_the_published_ones(file: str) -> None:
    named = entries(file)
    assert 0 < (FILES[file].pickle or 0) - tensor_bytes(named) < 200 * len(named)


@pytest.mark.parametrize("dtypes", [("F16", "F16"), ("F32", "F16")])
def test_recorded_headers_are_what_the_library_writes(tmp_path: Path, dtypes: tuple[str, str]) -> None:
    nested = adapters.adapter("plus")
    kinds = dict(zip(nested, ({"F16": torch.float16, "F32": torch.float32}[dtype] for dtype in dtypes), strict=True))
    cast = {half: {name: value.to(kinds[half]) for name, value in inner.items()} for half, inner in nested.items()}
    adapters.save_file(adapters.flat(cast), tmp_path / "a.safetensors")
    written = (tmp_path / "a.safetensors").read_bytes()
    halves = zip(cast.items(), dtypes, strict=True)
    named = {
        f"{h}.{name}": Entry(tuple(value.shape), kind) for (h, inner), kind in halves for name, value in inner.items()
    }
    assert written.startswith(safetensors_header(named))
    assert len(written) == len(safetensors_header(named)) + tensor_bytes(named)


def test_every_layout_is_told_from_every_other() -> None:
    layouts = {frozenset((name, entry.shape) for name, entry in entries(file).items()): file for file in KNOWN}
    answers = {
        (identity.variant.name, identity.family, identity.tokens, identity.widths, identity.lora)
        for identity in map(known, layouts.values())
    }
    assert len(answers) == len(layouts) - 1 == 29  # PuLID's v1 has names of two programs


ALIKE = [
    ("ip-adapter_sd15", "ip-adapter_sd15_light", "ip-adapter_sd15_light_v11"),
    ("ip-adapter-plus_sd15", "ip-adapter-plus-face_sd15", "ip_plus_composition_sd15"),
    ("ip-adapter-plus_sdxl_vit-h", "ip-adapter-plus-face_sdxl_vit-h", "ip_plus_composition_sdxl"),
    ("ip-adapter_sdxl", "noobIPAMARK1_mark1"),
    ("ip-adapter-faceid-portrait_sd15", "ip-adapter-faceid-portrait-v11_sd15"),
    ("ip-adapter-faceid-portrait_sdxl_unnorm", "ip-adapter (InstantID)"),
]


@pytest.mark.parametrize("files", ALIKE)
def test_files_that_differ_in_values_alone_are_one_kind(files: tuple[str, ...]) -> None:
    assert len({known(file)._replace(rule="") for file in files}) == 1
    assert {known(file).rule for file in files} == {"its tensors"}


@pytest.mark.parametrize(
    ("file", "encoder"),
    [
        ("ip-adapter_sd15", "CLIP-ViT-H-14"),
        ("ip-adapter_sd15_vit-G", "CLIP-ViT-bigG-14"),
        ("ip-adapter-plus_sd15", "CLIP-ViT-H-14"),
        ("ip-adapter_sdxl", "CLIP-ViT-bigG-14"),
        ("plus for SDXL on bigG", "CLIP-ViT-bigG-14"),
        ("ip-adapter-faceid_sd15", None),
        ("ip-adapter-faceid-portrait_sdxl_unnorm", None),
        ("ip-adapter-faceid-plusv2_sd15", "CLIP-ViT-H-14"),
        ("ip_adapter_plus_general (Kolors)", "CLIP-ViT-L-14-336"),
        ("ip_adapter (XLabs Flux)", "CLIP-ViT-L-14"),
        ("ip-adapter (InstantX SD3.5)", "ViT-SO400M-14-SigLIP-384"),
        ("ip-adapter (InstantX Flux)", "ViT-SO400M-14-SigLIP-384"),
        ("anima_ip_adapter_quality_20260610", "PE-Core-L-14-336"),
        ("ip_adapter (LuciferTC Anima)", "ViT-B-16-SigLIP2-512"),
        ("ipa-faceid-plus (Kolors)", "CLIP-ViT-L-14-336"),
        ("pulid_v1", "EVA02-L-14-336"),
        ("pulid_v1.1", "EVA02-L-14-336"),
    ],
)
def test_the_encoder_of_an_adapter_is_known(file: str, encoder: str | None) -> None:
    assert known(file).encoder == encoder


def test_the_order_of_names_in_a_file_does_not_matter() -> None:
    named = entries("ip-adapter_sd15")
    shuffled = dict(sorted(named.items(), reverse=True))
    assert identify(shuffled) == identify(named)


@pytest.mark.parametrize("name", ["adapter.bin", "adapter.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", adapters.KINDS)
def test_loaded_weights_are_those_of_the_file(tmp_path: Path, name: str, dtype: torch.dtype, kind: str) -> None:
    nested = adapters.adapter(**adapters.KINDS[kind], seed=4)
    network = load(adapters.save(tmp_path / name, nested, dtype))
    assert network.identity().variant.name == kind
    found = network.named_tensors()
    for key, value in adapters.flat(nested).items():
        assert torch.equal(found[key], value.to(dtype)), key


@pytest.mark.parametrize("devices", ["", "module."], ids=["one device", "several devices"])
def test_a_raw_training_checkpoint_gives_the_same_adapter(tmp_path: Path, devices: str) -> None:
    nested = adapters.adapter()
    raw = {f"image_proj_model.{key}": value for key, value in nested["image_proj"].items()}
    raw |= {f"adapter_modules.{key}": value for key, value in nested["ip_adapter"].items()}
    raw["unet.conv_in.weight"] = torch.zeros(4)
    torch.save({devices + key: value for key, value in raw.items()}, tmp_path / "raw.bin")
    plain = load(adapters.save(tmp_path / "plain.bin", nested)).state_dict()
    found = load(tmp_path / "raw.bin").state_dict()
    assert all(torch.equal(found[key], value) for key, value in plain.items())


def test_layers_are_sorted_by_number_not_by_letter(tmp_path: Path) -> None:
    network = load(adapters.save(tmp_path / "a.safetensors", adapters.adapter()))
    widths = tuple(pair.keys.shape[-1] for pair in network.keys_values(torch.zeros(1, 4, adapters.TINY_CONTEXT)))
    assert widths == adapters.TINY_WIDTHS


def _without(key: str) -> Any:
    return lambda named: named.pop(key)


def _with(key: str, *shape: int) -> Any:
    return lambda named: named.update({key: Entry(shape, "F16")})


def _execution_order(named: dict[str, Entry]) -> None:
    """The middle block after the input blocks, numbers unchanged."""
    for key in ("to_k_ip", "to_v_ip"):
        widths = [named[f"ip_adapter.{n}.{key}.weight"] for n in range(1, 32, 2)]
        for n, entry in zip(range(1, 32, 2), widths[:6] + widths[-1:] + widths[6:-1], strict=True):
            named[f"ip_adapter.{n}.{key}.weight"] = entry


BROKEN = {
    "a projection tensor is missing": (_without("image_proj.norm.bias"), "lacks image_proj.norm.bias"),
    "a layer tensor is missing": (_without("ip_adapter.17.to_v_ip.weight"), "to_v_ip"),
    "a tensor has another shape": (_with("image_proj.proj.bias", 3071), r"image_proj.proj.bias has shape \[3071\]"),
    "an unknown tensor is there": (_with("image_proj.extra.weight", 4), "holds image_proj.extra.weight"),
    "an unknown layer tensor is there": (
        _with("ip_adapter.1.to_q_ip.weight", 4, 4),
        "holds ip_adapter.1.to_q_ip.weight",
    ),
    "layers have execution numbers": (_with("ip_adapter.000.to_k_ip.weight", 4, 4), "numbered in another way"),
    "layers are in execution order": (_execution_order, "numbered in execution order"),
    "a foreign tensor is there": (_with("lora_unet_mid.weight", 4), "this one holds a LoRA"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused_naming_what_is_wrong(what: str) -> None:
    change, message = BROKEN[what]
    named = entries("ip-adapter_sd15")
    change(named)
    with pytest.raises(UnsupportedCheckpoint, match=message):
        identify(named)


def test_a_missing_layer_is_named() -> None:
    named = entries("ip-adapter_sd15")
    del named["ip_adapter.17.to_k_ip.weight"], named["ip_adapter.17.to_v_ip.weight"]
    with pytest.raises(UnsupportedCheckpoint, match="has no layer 17"):
        identify(named)


TINY = {kind: adapters.flat(adapters.adapter(**options)) for kind, options in adapters.KINDS.items()}
# Of the kind.
TELLING = (
    *("proj.weight", "proj.3.weight", "proj.0.weight", "latents", "proj_in.weight", "norm.weight", "to_k_ip.bias"),
    *("time_embedding.linear_1.weight", "image_proj.queries", "kv_proj.weight", "proj_new_input.weight"),
    *("body.0.weight", "id_embedding_mapping.0.weight"),
)


def tiny(kind: str) -> dict[str, Entry]:
    """The header of a small adapter."""
    return {name: Entry(tuple(value.shape), "F32") for name, value in TINY[kind].items()}


def keys(kind: str) -> list[str]:
    """All of the projection, and the outer ones of layers and LoRA."""
    return [name for name in TINY[kind] if name.startswith(("image_proj.", "ip_adapter.0.", "ip_adapter.31."))]


@pytest.mark.parametrize("kind", adapters.KINDS)
def test_every_tensor_of_every_kind_is_needed(kind: str) -> None:
    for name in keys(kind):
        named = tiny(kind)
        del named[name]
        with pytest.raises(UnsupportedCheckpoint) as refusal:
            identify(named)
        if not name.endswith(TELLING):
            advice = f"Add the end of {name} to TELLING if a file without it is of another kind."
            assert f"lacks {name}" in str(refusal.value), advice


@pytest.mark.parametrize("kind", adapters.KINDS)
def test_no_kind_has_a_tensor_too_many(kind: str) -> None:
    for name in ("image_proj.pos_emb.weight", "ip_adapter.1.to_k_ip.bias", "ip_adapter.0.to_q_lora.alpha"):
        with pytest.raises(UnsupportedCheckpoint, match=f"{name}|lacks ip_adapter.0.to_k_ip.weight"):
            identify({**tiny(kind), name: Entry((4,), "F32")})


# A tensor of each kind that has one number too many.
MISSHAPEN = {
    "base": "image_proj.proj.bias",
    "plus": "image_proj.layers.3.0.to_kv.weight",
    "Instruct": "image_proj.proj_prompt_input.bias",
    "full face": "image_proj.proj.2.bias",
    "FaceID": "image_proj.proj.0.bias",
    "portrait": "image_proj.norm.bias",
    "portrait unnorm": "image_proj.norm_out.weight",
    "XLabs": "ip_adapter.17.to_v_ip.bias",
    "InstantX SD3.5": "ip_adapter.17.norm_ip.linear.bias",
    "InstantX Flux": "image_proj.proj.2.bias",
    "PuLID v1": "image_proj.mapping_patch_3.6.bias",
    "PuLID v1.1": "image_proj.id_embedding_mapping.4.bias",
    "Anima PE-Core": "image_proj.blocks.1.xattn.in_proj_bias",
    "Anima SigLIP2": "ip_adapter.17.adaln_ip.1.bias",
    "FaceID-Plus v2": "image_proj.perceiver_resampler.layers.2.1.3.weight",
    "Kolors plus": "image_proj.layers.0.1.0.bias",
    "Kolors FaceID-Plus": "image_proj.perceiver_resampler.proj_in.bias",
}


@pytest.mark.parametrize("kind", adapters.KINDS)
def test_a_misshapen_tensor_of_every_kind_is_named(kind: str) -> None:
    assert kind in MISSHAPEN, f"Add a tensor of {kind} to MISSHAPEN, one that no other tensor of the file tells of."
    for name in (MISSHAPEN[kind], "ip_adapter.31.to_v_ip.weight"):
        named = tiny(kind)
        *rest, last = named[name].shape
        named[name] = Entry((*rest, last + 1), "F32")
        with pytest.raises(UnsupportedCheckpoint, match=rf"{name} has shape .*{last + 1}\], and must have"):
            identify(named)


def emptied(kind: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """A small adapter with no number along one axis after the other, as a conversion that went wrong leaves it.

    Each axis of the first tensor of each name in the projection, and of the last layer's to_v_ip.
    """
    names = [name for name in TINY[kind] if name.startswith(("image_proj.", "ip_adapter.31.to_v_ip"))]
    for name in {re.sub(r"\d", "", name): name for name in reversed(names)}.values():
        for axis, size in enumerate(TINY[kind][name].shape):
            yield name, {**TINY[kind], name: TINY[kind][name].narrow(axis, size, 0)}


@pytest.mark.parametrize("kind", adapters.KINDS)
def test_a_tensor_without_a_number_is_refused_in_every_kind(kind: str) -> None:
    for name, tensors in emptied(kind):
        with pytest.raises(UnsupportedCheckpoint) as refusal:
            identify({key: Entry(tuple(value.shape), "F32") for key, value in tensors.items()})
        assert re.search(rf"its {re.escape(name)} has shape .*which holds no number\.$", str(refusal.value))


@pytest.mark.parametrize("kind", adapters.KINDS)
def test_no_weight_is_read_of_a_file_whose_tensors_hold_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Every tensor with a second axis at 0 there: shapes that fit each other, so that a network could be built."""
    empty = {key: value.narrow(1, 0, 0).clone() if value.ndim == 2 else value for key, value in TINY[kind].items()}
    adapters.save_file(empty, tmp_path / "a.safetensors")
    monkeypatch.setattr(loading, "tensors", lambda path: pytest.fail("a tensor was read"))
    monkeypatch.setattr(loading, "stored_tensors", lambda path: pytest.fail("a tensor was read"))
    with pytest.raises(UnsupportedCheckpoint, match=r"^Download .* which holds no number\.$"):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("kind", adapters.KINDS)
def test_a_layer_that_reads_other_tokens_is_named(kind: str) -> None:
    named = tiny(kind)
    for key in ("to_k_ip", "to_v_ip"):
        named[f"ip_adapter.17.{key}.weight"] = Entry((128, adapters.TINY_CONTEXT + 1), "F32")
    with pytest.raises(
        UnsupportedCheckpoint,
        match=r"ip_adapter.17.(to_\w+|norm_ip.linear).weight (of this one reads tokens of|has shape)|width 65",
    ):
        identify(named)


@pytest.mark.parametrize("kind", adapters.KINDS)
def test_other_numberings_of_every_kind_are_refused(kind: str) -> None:
    counted = {name.replace("ip_adapter.", "ip_adapter.00", 1): entry for name, entry in tiny(kind).items()}
    with pytest.raises(UnsupportedCheckpoint, match=r"numbered in another way \(00"):
        identify(counted)
    even = {name.replace("ip_adapter.31.", "ip_adapter.32.", 1): entry for name, entry in tiny(kind).items()}
    with pytest.raises(UnsupportedCheckpoint, match=r"no layer 31|lacks ip_adapter\.31\."):
        identify(even)


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
@pytest.mark.parametrize("kind", adapters.KINDS)
def test_a_truncated_file_of_every_kind_is_refused_by_name(tmp_path: Path, kind: str, ending: str) -> None:
    path = adapters.tiny_adapter(tmp_path / f"half.{ending}", **adapters.KINDS[kind])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (identify_file, load):
        with pytest.raises(UnsupportedCheckpoint, match=f"Download half.{ending} again; it is damaged or incomplete"):
            read(path)


@pytest.mark.parametrize("rank", [1, 4, 200])
def test_a_lora_may_have_any_rank_and_no_hole(rank: int) -> None:
    options = adapters.KINDS["FaceID"] | {"rank": rank}
    shapes = {
        name: Entry(tuple(value.shape), "F32") for name, value in adapters.flat(adapters.adapter(**options)).items()
    }
    assert identify(shapes).lora
    del shapes["ip_adapter.13.to_v_lora.up.weight"]
    with pytest.raises(UnsupportedCheckpoint, match=r"lacks ip_adapter\.13\.to_v_lora\.up\.weight"):
        identify(shapes)


@pytest.mark.parametrize("kind", ["base", "FaceID"])
def test_a_file_that_has_its_layers_twice_is_read_once(tmp_path: Path, kind: str) -> None:
    twice = {name: value.clone() for name, value in adapters.doubled(TINY[kind]).items()}
    adapters.save_file(twice, tmp_path / "twice.safetensors")
    found = load(tmp_path / "twice.safetensors").named_tensors()
    assert found.keys() == TINY[kind].keys()
    assert all(torch.equal(found[name], value) for name, value in TINY[kind].items())


def test_a_published_file_that_has_its_layers_twice_is_that_file() -> None:
    named = entries("noobIPAMARK1_mark1")
    twice = adapters.doubled(named)
    assert parameters(twice) > 1.9 * parameters(named)
    assert identify(twice) == identify(named)


def test_a_file_that_holds_two_adapters_is_refused() -> None:
    two = adapters.doubled(tiny("base"))
    del two["adapter_modules.17.to_v_ip.weight"]
    with pytest.raises(UnsupportedCheckpoint, match=r"two adapters, .* differ \(17.to_v_ip.weight\)"):
        identify(two)


@pytest.mark.parametrize("file", REFUSED)
def test_kinds_that_are_not_run_are_named_in_the_refusal(file: str) -> None:
    _, count, what, use = REFUSED[file]
    named = header(file)
    assert count in (None, parameters(named))
    with pytest.raises(
        UnsupportedCheckpoint, match=rf"^Choose another file, or use .*{use}.*; it is {re.escape(what)} \("
    ):
        identify(named)


@pytest.mark.parametrize(
    ("named", "what"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": (4,)}, "a Stable Diffusion checkpoint"),
        ({"vision_model.post_layernorm.weight": (4,)}, "a CLIP vision encoder"),
        ({"ip_adapter.1.to_k_ip.weight": (320, 768)}, "no image projection"),
        ({"image_proj.proj.weight": (4, 4)}, "no cross-attention layers"),
        ({}, "no image projection"),
    ],
)
def test_other_files_are_no_adapters(named: dict[str, tuple[int, ...]], what: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=what):
        identify({key: Entry(shape, "F16") for key, shape in named.items()})
