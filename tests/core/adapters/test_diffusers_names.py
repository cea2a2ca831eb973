"""An adapter that diffusers loaded and saved is the adapter of the published file, bit for bit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.diffusers_names import find_sources, is_saved_by_diffusers
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, load
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.identify import describe
from comfyui_ip_adapter.ip_adapter_core.layers import layout
from fabricate import adapters
from flux_twins import FLUX
from published_shapes import entries
from sd3_twins import SD3, sd3_adapter
from twins import CONSTRUCTIONS

Saved = dict[str, Tensor]
FACE_MLP = {"mlp": 1024, "rank": None}  # the only width that diffusers reads; it takes no LoRA along
KINDS: dict[str, dict[str, Any]] = {
    "base": {},
    "plus": adapters.KINDS["plus"],
    "full face": adapters.KINDS["full face"],
    "FaceID": adapters.KINDS["FaceID"] | FACE_MLP,
    "portrait": adapters.KINDS["portrait"] | FACE_MLP,
    "portrait unnorm": adapters.KINDS["portrait unnorm"],
    "FaceID-Plus v2": adapters.KINDS["FaceID-Plus v2"] | FACE_MLP,
}


def unet_with(nested: adapters.Nested, construction: str) -> UNet2DConditionModel:
    """A UNet of diffusers that has loaded an adapter."""
    made = UNet2DConditionModel(**CONSTRUCTIONS[construction].diffusers)
    copies = {part: {name: value.clone() for name, value in inner.items()} for part, inner in nested.items()}
    made._load_ip_adapter_weights([copies], low_cpu_mem_usage=False)
    return made


def for_construction(name: str, options: Mapping[str, Any]) -> adapters.Nested:
    config = CONSTRUCTIONS[name].comfy
    widths = tuple(layer.width for layer in layout.layers({"model_channels": 32, **config}))
    return adapters.adapter(widths=widths, context=config["context_dim"], **options)


def adapter_alone(unet: UNet2DConditionModel) -> Saved:
    return {name: value for name, value in unet.state_dict().items() if ".processor." in name or "hid_proj" in name}


def by_processor(unet: UNet2DConditionModel) -> dict[str, Saved]:
    """As IP-Adapter-Art's trainer nests them."""
    processors = {name: it.state_dict() for name, it in unet.attn_processors.items() if isinstance(it, torch.nn.Module)}
    return {"encoder_hid_proj": unet.encoder_hid_proj.state_dict(), **processors}


def from_before_several(unet: UNet2DConditionModel) -> Saved:
    """Before diffusers 0.27 a UNet had one adapter, whose names have no number."""
    return {
        name.replace("image_projection_layers.0.", "").replace("_ip.0.", "_ip."): value
        for name, value in adapter_alone(unet).items()
    }


CONTAINERS: dict[str, Callable[[UNet2DConditionModel], Mapping[str, Any]]] = {
    "alone": adapter_alone,
    "by processor": by_processor,
    "before several": from_before_several,
    "in the UNet": lambda unet: unet.state_dict(),
    "in a pipeline": lambda unet: {f"unet.{name}": value for name, value in unet.state_dict().items()},
}


def assert_same(found: Adapter, published: Adapter) -> None:
    ours, theirs = found.state_dict(), published.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name
    tokens = torch.randn(2, 4, published.image_proj.context, generator=torch.Generator().manual_seed(1))
    for one, other in zip(found.keys_values(tokens), published.keys_values(tokens), strict=True):
        assert torch.equal(one.keys, other.keys)
        assert torch.equal(one.values, other.values)


@pytest.mark.parametrize("kind", KINDS)
def test_every_projection_of_diffusers_is_the_published_one(tmp_path: Path, kind: str) -> None:
    nested = for_construction("SD2", KINDS[kind])
    torch.save(adapter_alone(unet_with(nested, "SD2")), tmp_path / "diffusers.bin")
    published = load(adapters.save(tmp_path / "published.safetensors", nested))
    assert_same(load(tmp_path / "diffusers.bin"), published)
    assert load(tmp_path / "diffusers.bin").variant.name == kind == published.variant.name


@pytest.mark.parametrize("construction", ["SD1.5", "SDXL"])
def test_layers_are_numbered_as_in_the_published_file(tmp_path: Path, construction: str) -> None:
    nested = for_construction(construction, {})
    unet = unet_with(nested, construction)
    published = load(adapters.save(tmp_path / "published.safetensors", nested))
    for container in CONTAINERS.values():
        torch.save(container(unet), tmp_path / "diffusers.bin")
        assert_same(load(tmp_path / "diffusers.bin"), published)


def test_a_safetensors_file_works_too_and_says_how_it_was_saved(tmp_path: Path) -> None:
    nested = for_construction("SD2", KINDS["plus"])
    save_file(adapter_alone(unet_with(nested, "SD2")), tmp_path / "a.safetensors")
    found = describe(tmp_path / "a.safetensors")
    assert found.line.startswith("IP-Adapter: plus, ")
    assert found.details[1] == "flat safetensors, as diffusers saves its processors"


@pytest.fixture(scope="module")
def saved() -> dict[str, Entry]:
    unet = unet_with(for_construction("SD2", KINDS["plus"]), "SD2")
    return {name: Entry(tuple(value.shape), "F32") for name, value in adapter_alone(unet).items()}


def test_several_adapters_in_one_file_are_refused(saved: dict[str, Entry]) -> None:
    layer = next(name for name in saved if "to_k_ip.0" in name)
    for more in (layer.replace("to_k_ip.0", "to_k_ip.1"), "encoder_hid_proj.image_projection_layers.1.latents"):
        with pytest.raises(UnsupportedCheckpoint, match=r"^Save one adapter in a file; diffusers saved several"):
            identify({**saved, more: saved[layer]})


def test_a_missing_half_of_a_joined_tensor_is_named(saved: dict[str, Entry]) -> None:
    lacking = {name: entry for name, entry in saved.items() if not name.endswith("layers.2.attn.to_v.weight")}
    with pytest.raises(UnsupportedCheckpoint, match=r"its image_proj\.layers\.2\.0\.to_kv\.weight has shape"):
        identify(lacking)


def test_a_tensor_that_no_adapter_has_is_named(saved: dict[str, Entry]) -> None:
    projection = "encoder_hid_proj.image_projection_layers.0.more.weight"
    with pytest.raises(UnsupportedCheckpoint, match=r"holds image_proj\.more\.weight"):
        identify({**saved, projection: Entry((4,), "F32")})
    lora = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_q_lora.down.weight"
    with pytest.raises(UnsupportedCheckpoint, match=rf"holds a LoRA \({lora}\)"):
        identify({**saved, lora: Entry((4, 4), "F32")})


def test_layers_without_a_projection_are_refused(saved: dict[str, Entry]) -> None:
    layers = {name: entry for name, entry in saved.items() if ".processor." in name}
    with pytest.raises(UnsupportedCheckpoint, match="no image projection"):
        identify(layers)


def test_a_unet_without_an_adapter_is_none() -> None:
    unet = UNet2DConditionModel(**CONSTRUCTIONS["SD1.5"].diffusers)
    assert not is_saved_by_diffusers(unet.state_dict())


@pytest.mark.parametrize("kind", adapters.KINDS)
def test_names_of_published_files_are_left_as_they_are(kind: str) -> None:
    named = {
        name: Entry(tuple(v.shape), "F32")
        for name, v in adapters.flat(adapters.adapter(**adapters.KINDS[kind])).items()
    }
    assert find_sources(named) == {name: (name,) for name in named}


# Transformers


def flux_with(nested: adapters.Nested) -> Any:
    return _with(FluxTransformer2DModel(**FLUX.diffusers), [adapters.counted(nested)])


def sd3_with(nested: adapters.Nested) -> Any:
    return _with(SD3Transformer2DModel(**SD3.diffusers), adapters.counted(nested))


def _with(made: Any, nested: Any) -> Any:
    """A transformer of diffusers that has loaded an adapter."""
    made._load_ip_adapter_weights(nested, low_cpu_mem_usage=False)
    return made


def xlabs() -> adapters.Nested:
    return adapters.adapter("base", (64,) * 3, 48, bias=True)


def of_adapter(transformer: Any) -> Saved:
    parts = (".processor.", "encoder_hid_proj.", "image_proj.")
    return {name: value for name, value in transformer.state_dict().items() if any(part in name for part in parts)}


TRANSFORMERS: dict[str, tuple[Callable[[], adapters.Nested], Callable[[adapters.Nested], Any]]] = {
    "XLabs": (xlabs, flux_with),
    "InstantX SD3.5": (sd3_adapter, sd3_with),
}
SAVED: dict[str, Callable[[Any], Saved]] = {
    "alone": of_adapter,
    "in a pipeline": lambda made: {f"transformer.{name}": value for name, value in of_adapter(made).items()},
    "in the transformer": lambda made: made.state_dict(),
    "in the transformer of a pipeline": lambda made: {f"transformer.{n}": v for n, v in made.state_dict().items()},
}


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_adapters_of_transformers_are_the_published_ones(tmp_path: Path, kind: str) -> None:
    make, loaded_by_diffusers = TRANSFORMERS[kind]
    nested = make()
    published, transformer = load(adapters.save(tmp_path / "a.safetensors", nested)), loaded_by_diffusers(nested)
    for saved_as in SAVED.values():
        torch.save(saved_as(transformer), tmp_path / "diffusers.bin")
        found, wanted = load(tmp_path / "diffusers.bin"), published.state_dict()
        assert found.variant.name == kind == published.variant.name
        assert found.identity() == published.identity()
        assert found.state_dict().keys() == wanted.keys()
        assert all(torch.equal(value, wanted[name]) for name, value in found.state_dict().items())


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_the_command_says_how_an_adapter_of_a_transformer_was_saved(tmp_path: Path, kind: str) -> None:
    make, loaded_by_diffusers = TRANSFORMERS[kind]
    save_file(of_adapter(loaded_by_diffusers(make())), tmp_path / "a.safetensors")
    found = describe(tmp_path / "a.safetensors")
    assert found.line.startswith(f"IP-Adapter: {kind}, ")
    assert found.details[1] == "flat safetensors, as diffusers saves its processors"


def test_the_projection_of_texts_of_a_whole_kolors_model_is_the_models_own() -> None:
    """diffusers moves Kolors' `encoder_hid_proj` there to make room for an adapter's (loaders/unet.py)."""
    layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.0.weight"
    named = {layer: Entry((640, 2048), "F16"), "text_encoder_hid_proj.bias": Entry((2048,), "F16")}
    assert "unet.text_encoder_hid_proj.bias" in find_sources(named)


def test_single_blocks_come_behind_double_ones(tmp_path: Path) -> None:
    """As InstantX's processors are set on diffusers' Flux, each layer by the name of its block."""
    nested = adapters.adapter(**adapters.KINDS["InstantX Flux"])
    named = {f"image_proj.{name}": value for name, value in nested["image_proj"].items()}
    for name, value in adapters.counted(nested)["ip_adapter"].items():
        number, rest = name.split(".", 1)
        block = f"transformer_blocks.{number}" if int(number) < 2 else f"single_transformer_blocks.{int(number) - 2}"
        named[f"{block}.attn.processor.{rest}"] = value
    save_file(named, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").digest() == load(adapters.save(tmp_path / "b.bin", nested)).digest()


def flux_header() -> dict[str, Entry]:
    """XLabs' adapter, as diffusers would save it."""
    names = (
        ("ip_adapter_proj_model.proj.", "encoder_hid_proj.image_projection_layers.0.image_embeds."),
        ("ip_adapter_proj_model.", "encoder_hid_proj.image_projection_layers.0."),
        ("double_blocks.", "transformer_blocks."),
        (".processor.ip_adapter_double_stream_k_proj.", ".attn.processor.to_k_ip.0."),
        (".processor.ip_adapter_double_stream_v_proj.", ".attn.processor.to_v_ip.0."),
    )
    named = entries("ip_adapter (XLabs Flux)")
    for old, new in names:
        named = {name.replace(old, new): entry for name, entry in named.items()}
    return named


def test_a_published_adapter_for_flux_is_the_same_when_diffusers_saved_it() -> None:
    assert identify(flux_header()) == identify(entries("ip_adapter (XLabs Flux)"))


def test_a_damaged_adapter_of_a_transformer_is_named() -> None:
    named = flux_header()
    gone = {name: entry for name, entry in named.items() if not name.startswith("transformer_blocks.3.")}
    with pytest.raises(UnsupportedCheckpoint, match=r"has no layer 7 \(the next is 9\)"):
        identify(gone)
    bias = {
        name: entry for name, entry in named.items() if name != "transformer_blocks.3.attn.processor.to_v_ip.0.bias"
    }
    with pytest.raises(UnsupportedCheckpoint, match=r"lacks ip_adapter\.7\.to_v_ip\.bias"):
        identify(bias)
    layers = {name: entry for name, entry in named.items() if ".processor." in name}
    with pytest.raises(UnsupportedCheckpoint, match="no image projection"):
        identify(layers)


def test_several_adapters_for_flux_in_one_file_are_refused() -> None:
    layer = "transformer_blocks.0.attn.processor.to_k_ip.{}.weight"
    named = flux_header()
    with pytest.raises(UnsupportedCheckpoint, match=r"^Save one adapter in a file; diffusers saved several"):
        identify({**named, layer.format(1): named[layer.format(0)]})


def test_a_transformer_without_an_adapter_is_none() -> None:
    assert not is_saved_by_diffusers(FluxTransformer2DModel(**FLUX.diffusers).state_dict())
