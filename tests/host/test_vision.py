"""Encoders and adapters in ComfyUI's hands: its own encoders say what ours say, files live as long as needed."""

import gc
import json
import re
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.catalogue.downloads import ADAPTER_FILES, ENCODER_FILES
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import fit
from fabricate.adapters import tiny_adapter
from fabricate.towers import TINY
from same_tower import cores, save_tower

pytestmark = pytest.mark.usefixtures("comfy", "inference_mode")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped where")
KINDS: dict[str, dict[str, Any]] = {
    "base": {"kind": "base"},
    "plus": {"kind": "plus", "embed": TINY.width, "tokens": 16},
    "full face": {"kind": "full face", "embed": TINY.width},
}


@pytest.fixture
def models(model_folders: Path) -> Path:
    """The folder in which ComfyUI finds `ipadapter/` and `clip_vision/`: one adapter of every kind, and a tower."""
    for name, options in KINDS.items():
        tiny_adapter(model_folders / "ipadapter" / f"{name}.safetensors", **options)
    tiny_adapter(model_folders / "ipadapter" / "base.bin")
    save_tower(model_folders / "clip_vision" / "tower.safetensors")
    return model_folders


def ours() -> Any:
    from comfyui_ip_adapter.nodes.host import vision

    return vision.load("tower.safetensors")


def loaded(kind: str) -> Any:
    from comfyui_ip_adapter.nodes.host import adapters

    return adapters.load(f"{kind}.safetensors")


def pictures(seed: int = 0, height: int = 70, width: int = 90, images: int = 2) -> Tensor:
    return torch.rand(images, height, width, 3, generator=torch.Generator().manual_seed(seed))


def prompt(adapter: Any, encoder: Any, negative: Tensor | None = None) -> Any:
    from comfyui_ip_adapter.nodes.host import encoding

    (part,) = encoding.encode_prompt(adapter, encoder, pictures(), negative=negative)[0].parts
    return part


def far(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_cores_encoder_gives_the_prompt_that_ours_gives(models: Path, kind: str) -> None:
    adapter = loaded(kind)
    one, other = prompt(adapter, cores(models)), prompt(adapter, ours())
    assert one.tokens.shape[0] == 2  # the second side is the blank input
    assert far(one.tokens, other.tokens) < 1e-4
    for mine, theirs in zip(one.keys_values, other.keys_values, strict=True):
        assert far(mine.keys, theirs.keys) < 1e-4
        assert far(mine.values, theirs.values) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_cores_encoder_gives_the_negative_side_that_ours_gives(models: Path, kind: str) -> None:
    adapter, negative = loaded(kind), pictures(seed=1, images=1)
    one, other = (prompt(adapter, encoder, negative) for encoder in (cores(models), ours()))
    assert far(one.tokens, other.tokens) < 1e-4
    assert far(one.tokens[1], prompt(adapter, ours()).tokens[1]) > 0.1


def test_an_encoded_picture_has_the_fields_that_cores_has(models: Path) -> None:
    square = pictures(height=TINY.image, width=TINY.image)
    wanted, found = (vars(encoder.encode_image(square)) for encoder in (cores(models), ours()))
    assert found.keys() == wanted.keys()
    for field in ("image_embeds", "penultimate_hidden_states", "last_hidden_state"):
        assert far(found[field], wanted[field]) < 1e-4
    assert [tuple(size) for size in found["image_sizes"]] == [tuple(size) for size in wanted["image_sizes"]]
    assert found["mm_projected"] is wanted["mm_projected"] is None


def test_an_encoded_picture_is_cropped_or_squashed_as_asked(models: Path) -> None:
    wide = pictures(height=56, width=112)
    encoder = ours()
    cropped, squashed = (encoder.encode_image(wide, crop=crop).image_embeds for crop in (True, False))
    assert far(cropped, encoder.encode_image(wide[:, :, 28:84]).image_embeds) < 1e-6
    assert far(squashed, cropped) > 0.01


def test_long_batches_are_encoded_in_parts_that_change_nothing(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host import vision

    adapter = loaded("plus")
    whole, encoder = prompt(adapter, ours()), ours()
    encoded, parts = encoder.encode_image, []

    def counting(images: Tensor) -> Any:
        parts.append(len(images))
        return encoded(images)

    monkeypatch.setattr(encoder, "encode_image", counting)
    monkeypatch.setattr(vision, "_CHUNK_ON_PROCESSOR", 1)
    assert far(prompt(adapter, encoder).tokens, whole.tokens) < 1e-5
    assert set(parts) == {1}
    assert len(parts) > 1


def test_an_encoder_that_does_not_fit_is_refused_by_name(models: Path) -> None:
    for encoder, name in ((cores(models), "CLIP vision encoder"), (ours(), "tower")):
        tiny_adapter(models / "ipadapter" / "h.safetensors", kind="plus", embed=1280)
        with pytest.raises(
            ValueError, match=rf"^Load CLIP-ViT-H-14 in place of the connected {name}: .* width 1280, and that gives 64"
        ):
            prompt(loaded("h"), encoder)


@pytest.mark.parametrize("kind", KINDS)
def test_unloading_all_models_changes_nothing(models: Path, kind: str) -> None:
    import comfy.model_management as memory

    adapter, encoder = loaded(kind), ours()
    first = prompt(adapter, encoder)
    memory.unload_all_models()
    again = prompt(adapter, encoder)
    assert torch.equal(again.tokens, first.tokens)
    assert all(torch.equal(a.values, b.values) for a, b in zip(again.keys_values, first.keys_values, strict=True))


def test_comfyui_sees_what_adapters_and_encoders_weigh(models: Path) -> None:
    import comfy.model_management as memory

    adapter, encoder = loaded("plus"), ours()
    prompt(adapter, encoder)
    seen = [entry.model for entry in memory.current_loaded_models]
    for value, file in ((adapter, "ipadapter/plus"), (encoder, "clip_vision/tower")):
        assert any(model is value.patcher for model in seen)
        weights = sum(tensor.nbytes for tensor in value.patcher.model.parameters())
        assert value.patcher.model_size() == weights
        assert weights == pytest.approx((models / f"{file}.safetensors").stat().st_size, rel=0.05)


def test_a_prompt_keeps_no_adapter_alive(models: Path) -> None:
    adapter = loaded("plus")
    network, made = weakref.ref(adapter.patcher.model), prompt(adapter, ours())
    release()
    assert network() is not None
    del adapter
    release()
    assert network() is None
    assert made.tokens.isfinite().all()


def release() -> None:
    import comfy.model_management as memory

    memory.unload_all_models()
    gc.collect()


def test_a_file_is_one_adapter_while_anyone_holds_it(models: Path) -> None:
    adapter = loaded("base")
    assert loaded("base") is adapter
    assert loaded("plus") is not adapter
    gone = weakref.ref(adapter)
    del adapter
    release()
    assert gone() is None


def test_a_file_is_one_encoder_while_anyone_holds_it(models: Path) -> None:
    from comfyui_ip_adapter.nodes.host import vision

    encoder = ours()
    assert ours() is encoder
    assert vision.load("tower.safetensors", "quick_gelu") is not encoder
    gone = weakref.ref(encoder)
    del encoder
    release()
    assert gone() is None


def test_a_file_that_was_replaced_is_read_again(models: Path) -> None:
    adapter = loaded("base")
    first = prompt(adapter, ours())
    replacement = tiny_adapter(models / "new.safetensors", seed=5)
    replacement.rename(models / "ipadapter" / "base.safetensors")
    assert loaded("base") is not adapter
    assert far(prompt(loaded("base"), ours()).tokens, first.tokens) > 0.1
    assert torch.equal(prompt(adapter, ours()).tokens, first.tokens)  # what was read stays whole


@only_linux
@pytest.mark.parametrize("file", ["ipadapter/base.safetensors", "ipadapter/base.bin", "clip_vision/tower.safetensors"])
def test_no_weight_is_mapped_from_its_file(models: Path, file: str) -> None:
    from comfyui_ip_adapter.nodes.host import adapters

    held = ours() if "tower" in file else adapters.load(Path(file).name)
    assert held is not None
    assert str(models / file) not in Path("/proc/self/maps").read_text()


ENDINGS = ("safetensors", "sft", "SAFETENSORS", "Safetensors", "bin", "pt", "PTH", "ckpt", "pkl", "pt2")


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_file_that_comfyui_lists_is_read(models: Path, ending: str) -> None:
    import folder_paths

    from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import EXTENSIONS
    from comfyui_ip_adapter.nodes.host import files

    assert set(EXTENSIONS) == set(folder_paths.supported_pt_extensions)
    for category, file in ((files.ADAPTERS, "base.safetensors"), (files.ENCODERS, "tower.safetensors")):
        name = f"x.{ending}"
        (models / category / name).write_bytes((models / category / file).read_bytes())
        shared = models / category / "tower.json"
        if shared.exists():
            (models / category / "x.json").write_text(shared.read_text())
        assert name in files.names(category)
        assert files.complaint(category, name) is None
    assert loaded_as(f"x.{ending}").patcher.model.digest() == loaded("base").patcher.model.digest()


def loaded_as(name: str) -> Any:
    from comfyui_ip_adapter.nodes.host import adapters

    return adapters.load(name)


@pytest.mark.parametrize("name", ["tower.json", "open_clip_config.json"])
def test_a_config_that_changes_beside_an_encoder_counts_at_once(models: Path, name: str) -> None:
    from comfyui_ip_adapter.nodes.host import files
    from comfyui_ip_adapter.nodes.host.vision import fit_pictures
    from comfyui_ip_adapter.nodes.load import LoadVision

    drawn = pictures(images=1)
    config = json.loads((models / "clip_vision" / "tower.json").read_text())
    (models / "clip_vision" / "tower.json").rename(models / "clip_vision" / name)

    def seen() -> tuple[Any, ...]:
        encoder = ours()
        file = "tower.safetensors"
        return (
            files.fingerprint(files.ENCODERS, file),
            LoadVision.fingerprint_inputs(file, "auto"),
            files.identify(files.ENCODERS, file).mean,
            tuple(encoder.image_mean),
            fit_pictures(encoder, drawn, "squash").tolist(),
            id(encoder),
        ), encoder

    before, encoder = seen()
    again, _ = seen()
    assert again == before
    config["preprocess_cfg"] = {"mean": [0.5, 0.25, 0.125], "interpolation": "bilinear"}
    (models / "clip_vision" / name).write_text(json.dumps(config))
    after, _ = seen()
    assert not any(old == new for old, new in zip(before, after, strict=True))
    assert after[2:4] == ((0.5, 0.25, 0.125), (0.5, 0.25, 0.125))
    assert after[4] == fit(drawn, TINY.image, "squash", interpolation="bilinear").tolist()
    (models / "clip_vision" / "tower.json").write_text(json.dumps(config | {"preprocess_cfg": {"mean": [0.25] * 3}}))
    assert seen()[0][2] == (0.25, 0.25, 0.25)
    assert encoder.image_mean != [0.25] * 3


def test_pictures_are_resized_as_the_authors_of_the_adapter_did() -> None:
    from comfyui_ip_adapter.ip_adapter_core.adapters.variants import VARIANTS
    from comfyui_ip_adapter.nodes.host.vision import fit_pictures

    encoder = SimpleNamespace(image_size=28, image_mean=[0.5] * 3)
    drawn = torch.rand(1, 40, 60, 3, generator=torch.Generator().manual_seed(0))
    (lucifer,) = (variant for variant in VARIANTS if variant.name == "Anima SigLIP2")
    found = fit_pictures(encoder, drawn, "pad", lucifer)
    assert torch.equal(found, fit(drawn, 28, "pad", (0.0, 0.0, 0.0), "bilinear"))
    assert not torch.equal(found, fit(drawn, 28, "pad", (0.0, 0.0, 0.0)))


def test_threads_that_ask_at_once_get_the_same_object(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host import adapters

    read, begun = adapters.read, Barrier(8)

    def slowly(*given: Any) -> Any:
        sleep(0.05)
        return read(*given)

    def ask(number: int) -> tuple[Any, Any]:
        begun.wait()
        return loaded("base" if number % 2 else "plus"), ours()

    monkeypatch.setattr(adapters, "read", slowly)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    assert len({id(adapter) for adapter, _ in found}) == 2
    assert len({id(encoder) for _, encoder in found}) == 1


@pytest.mark.parametrize(
    ("kind", "file"),
    [("any", "ip-adapter-plus_sd15.safetensors"), ("full face", "ip-adapter-full-face_sd15.safetensors")],
)
def test_auto_says_what_it_looked_for_and_what_to_download(models: Path, kind: str, file: str) -> None:
    from comfyui_ip_adapter.nodes.host import auto

    (models / "ipadapter" / "note.bin").write_text("no weights")
    config = SimpleNamespace(unet_config=CONFIGS["SD1.5"])
    model: Any = SimpleNamespace(model=SimpleNamespace(model_config=config, diffusion_model=None))
    with pytest.raises(
        ValueError, match=r"; no IP-Adapter .*for SD1\.5 \(16 layers, context 768\) was found"
    ) as refused:
        auto.find(model, kind)
    message = str(refused.value)
    assert re.match(rf"Download https://\S+/{file} and put it at models/ipadapter/{file}; no IP-Adapter ", message)
    assert f"Looked in {models / 'ipadapter'}, " in message
    assert re.search(r", and saw \d+ other files; 1 of them cannot be used: .*note\.bin", message)
    assert len(message) < 700


@pytest.mark.parametrize(
    ("category", "name", "file"),
    [
        ("ipadapter", "ip-adapter_sd15.safetensors", "ip-adapter_sd15.safetensors"),
        ("ipadapter", "SDXL\\ip-adapter-faceid_sdxl.bin", "ip-adapter-faceid_sdxl.bin"),
        ("ipadapter", "ip-adapter_sd15.bin", "ip-adapter_sd15.safetensors"),
        ("clip_vision", "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors", "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"),
    ],
)
def test_a_published_file_that_is_not_there_is_named_with_its_address(
    models: Path, category: str, name: str, file: str
) -> None:
    from comfyui_ip_adapter.nodes.host import files

    (address,) = [one.url for one in (*ADAPTER_FILES.values(), *ENCODER_FILES.values()) if one.file == file]
    with pytest.raises(ValueError, match="it is not there") as refused:
        files.path(category, name)
    first, _, rest = str(refused.value).partition("; ")
    assert first == f"Download {address} and put it at models/{category}/{file}, or choose another file"
    assert rest == f"it is not there. Looked in {models / category}."


@pytest.mark.parametrize(("category", "name"), [("ipadapter", "mine.bin"), ("clip_vision", "ip-adapter_sd15.bin")])
def test_other_files_that_are_not_there_are_named_without_one(models: Path, category: str, name: str) -> None:
    from comfyui_ip_adapter.nodes.host import files

    says = rf"^Choose another file, or put {name} into models/{category}; it is not there\. Looked in "
    with pytest.raises(ValueError, match=says):
        files.path(category, name)


def test_the_loader_shows_the_activation_that_was_chosen(models: Path) -> None:
    from comfyui_ip_adapter.nodes.load import LoadVision

    for activation in ("gelu", "quick_gelu"):
        shown = LoadVision.execute("tower.safetensors", activation).ui.as_dict()["text"][0]
        assert f", {activation}, " in shown
        assert shown.endswith(" parameters in F32")
