"""ComfyUI's default on NVIDIA, where weights come late, move and go: prompts and features are those without it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import same_prompt
from comfyui_ip_adapter.ip_adapter_core.adapters import loading
from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from devices import dynamic_vram
from devices.cuda_in_main_memory import DEVICE, Gpu, OnGpu
from fabricate import adapters
from fabricate.towers import TINY, tiny_tower
from twins import Twins

pytestmark = pytest.mark.usefixtures("comfy")
ROOMS = {"room for all": 64 * 2**30, "room for some": 100_000, "no room": 0}
STORED = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.fixture
def announced(comfy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's layers have no weights before they are loaded."""
    dynamic_vram.announce(monkeypatch)


@pytest.fixture(params=ROOMS)
def switched_on(comfy: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The host's dynamic patcher on a GPU that is not there, as nodes run on it."""
    import comfy.model_management as memory

    dynamic_vram.switch_on(monkeypatch, ROOMS[request.param])
    with Gpu(), torch.inference_mode():
        yield
        memory.unload_all_models()


def written(folder: Path, kind: str, dtype: torch.dtype = torch.float32) -> Path:
    return adapters.save(folder / f"{kind}-{dtype}.safetensors", adapters.adapter(**adapters.KINDS[kind]), dtype)


def read(file: Path) -> Any:
    from comfyui_ip_adapter.nodes.host.adapters import read

    return read(file.stem, file)


def readings(network: Adapter) -> tuple[Tensor, ...]:
    """What an adapter reads of two pictures."""
    return same_prompt.read(network.identity(), 2)


def told(adapter: Any, given: tuple[Tensor, ...]) -> list[Tensor]:
    """Everything that a prompt of an adapter holds."""
    said = same_prompt.told(adapter.identity)
    (part,) = adapter.prompt(given, tuple(reading[:1] * 0 for reading in given), instruction=said).parts
    return [part.tokens, *(tensor for pair in part.keys_values or () for tensor in pair)]


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.device.type == "cpu"
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.fixture
def plainly(comfy: None, tmp_path: Path) -> Callable[..., tuple[Path, tuple[Tensor, ...], list[Tensor]]]:
    """A file of a kind, what its adapter reads, and the prompt without DynamicVRAM: made before it is switched on."""

    def made(kind: str, dtype: torch.dtype = torch.float32) -> tuple[Path, tuple[Tensor, ...], list[Tensor]]:
        file = written(tmp_path, kind, dtype)
        adapter = read(file)
        given = readings(adapter.patcher.model)
        return file, given, told(adapter, given)

    return made


@pytest.fixture(params=adapters.KINDS)
def wanted(request: pytest.FixtureRequest, plainly: Any) -> Any:
    """Of every kind."""
    return plainly(request.param)


@pytest.fixture(params=STORED, ids=str)
def stored(request: pytest.FixtureRequest, plainly: Any) -> Any:
    """Of every dtype that files are stored in."""
    return plainly("plus", request.param)


def test_every_kind_loads_where_layers_have_no_weights_before(wanted: Any, announced: None) -> None:
    import comfy.ops

    file, given, prompt = wanted
    assert comfy.ops.manual_cast.Linear(4, 4).weight is None
    adapter = read(file)
    assert all(type(value) is nn.Parameter and not value.is_meta for value in adapter.patcher.model.parameters())
    assert_same(told(adapter, given), prompt)


def test_every_stored_dtype_loads_where_layers_have_no_weights_before(stored: Any, announced: None) -> None:
    file, given, prompt = stored
    adapter = read(file)
    assert {value.dtype for value in adapter.patcher.model.parameters()} == {entry_dtype(file)}
    assert_same(told(adapter, given), prompt)


def entry_dtype(file: Path) -> torch.dtype:
    (found,) = {value.dtype for value in loading.load(file).parameters()}
    return found


def test_a_prompt_is_the_same_after_loading_unloading_and_loading_again(wanted: Any, switched_on: None) -> None:
    import comfy.model_management as memory

    file, given, prompt = wanted
    adapter = read(file)
    assert adapter.patcher.is_dynamic()
    assert_same(told(adapter, given), prompt)
    assert_same(told(adapter, given), prompt)
    memory.unload_all_models()
    assert_same(told(adapter, given), prompt)
    adapter.patcher.partially_unload(None, 1e32)
    assert_same(told(adapter, given), prompt)


def test_every_stored_dtype_gives_its_prompt_on_the_dynamic_patcher(stored: Any, switched_on: None) -> None:
    file, given, prompt = stored
    assert_same(told(read(file), given), prompt)


def test_what_is_asked_of_the_weights_is_the_same_wherever_they_are(
    wanted: Any, switched_on: None, tmp_path: Path
) -> None:
    """Digest, file and training copy; before, while and after the adapter is loaded."""
    import comfy.model_management as memory

    from comfyui_ip_adapter.ip_adapter_core.adapters import saving
    from comfyui_ip_adapter.nodes.host.training import session

    file, given, _ = wanted
    adapter, plain = read(file), loading.load(file)

    def check(when: str) -> None:
        network = adapter.patcher.model
        assert network.digest() == plain.digest(), when
        saving.save(network, tmp_path / "again.safetensors", "fp32")
        again = loading.load(tmp_path / "again.safetensors").named_tensors()
        assert all(torch.equal(again[name], value) for name, value in plain.named_tensors().items()), when
        if not network.lora and plain.variant.name in ("base", "plus"):
            copied = session._plain(network).state_dict()
            assert all(torch.equal(copied[name], value) for name, value in plain.state_dict().items()), when

    check("before")
    told(adapter, given)
    check("loaded")
    adapter.patcher.partially_unload(None, 1e32)
    check("partly unloaded")
    memory.unload_all_models()
    check("unloaded")


@pytest.mark.parametrize("free", [64 * 2**30, 2**10], ids=["much room", "little room"])
def test_an_encoder_says_the_same(comfy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    import comfy.model_management as memory

    from comfyui_ip_adapter.ip_adapter_core.vision import encoder as towers
    from comfyui_ip_adapter.nodes.host.vision import OpenClipVision

    tiny_tower(tmp_path / "tower.safetensors")
    pictures = torch.rand(2, TINY.image, TINY.image, 3, generator=torch.Generator().manual_seed(0))
    wanted = OpenClipVision(towers.load(tmp_path / "tower.safetensors"), torch.device("cpu")).encode_image(pictures)
    dynamic_vram.switch_on(monkeypatch, free=free)
    monkeypatch.setattr(memory, "vram_state", memory.VRAMState.NORMAL_VRAM)
    with Gpu(), torch.inference_mode():
        encoder = OpenClipVision(towers.load(tmp_path / "tower.safetensors"), DEVICE)
        for _ in range(2):
            found = encoder.encode_image(pictures)
            assert all(isinstance(value, OnGpu) for value in encoder.model.parameters())
            fields = ("image_embeds", "penultimate_hidden_states", "last_hidden_state")
            assert_same([found[field] for field in fields], [wanted[field] for field in fields])
            memory.unload_all_models()
        encoder.encode_blank()


def test_the_loaders_find_and_load_what_fits(model_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The automatic loader stands for the one-node forms too: they are graphs of it."""
    from comfyui_ip_adapter.nodes.host import auto
    from comfyui_ip_adapter.nodes.load import LoadAdapter, LoadVision

    written(model_folders / "ipadapter", "FaceID").rename(model_folders / "ipadapter" / "face.safetensors")
    tiny_tower(model_folders / "clip_vision" / "tower.safetensors")
    dynamic_vram.announce(monkeypatch)
    widths = adapters.TINY_WIDTHS
    config = SimpleNamespace(unet_config={**CONFIGS["SD1.5"], "model_channels": 32, "context_dim": 64})
    model: Any = SimpleNamespace(model=SimpleNamespace(model_config=config, diffusion_model=None))
    assert auto.models.geometry(model).widths == widths
    assert auto.find(model, "FaceID").adapter.identity.lora
    assert LoadAdapter.execute("face.safetensors").args[0].identity.variant.name == "FaceID"
    assert LoadVision.execute("tower.safetensors", "auto").args[0].tower.embed_dim == TINY.embed_dim


def test_a_trained_adapter_is_loaded_from_its_file(announced: None, tmp_path: Path) -> None:
    from comfyui_ip_adapter.nodes.host.training import session

    network = loading.load(written(tmp_path, "base"))
    loaded = session.write_adapter(network, tmp_path / "trained.safetensors")
    assert loaded.patcher.model.digest() == network.digest()


def test_training_begins_with_the_weights_of_a_dynamic_model(comfy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfy.model_patcher import ModelPatcher, ModelPatcherDynamic

    from comfyui_ip_adapter.nodes.host.training import base_model

    wanted = base_model.attention_weights(Twins("one level").patcher)
    model = Twins("one level").patcher.model
    dynamic_vram.switch_on(monkeypatch)
    with Gpu():
        dynamic = ModelPatcherDynamic(model, DEVICE, torch.device("cpu"))
        with pytest.raises(ValueError, match=r"^Load the model with one of ComfyUI's own loaders, or start"):
            base_model.attention_weights(dynamic)
        plain = Twins("one level").patcher.model

        def again(disable_dynamic: bool) -> ModelPatcher:
            return ModelPatcher(plain, DEVICE, torch.device("cpu"))

        dynamic.cached_patcher_init = (again, ())
        key = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_v.weight"
        dynamic.add_patches({key: (torch.ones_like(wanted[-1][1]),)}, 0.5)
        found = base_model.attention_weights(dynamic)
    torch.testing.assert_close(found[-1][1], wanted[-1][1] + 0.5)
    assert_same([tensor for pair in found[:-1] for tensor in pair], [tensor for pair in wanted[:-1] for tensor in pair])
