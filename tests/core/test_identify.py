"""The command that says what files are."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from comfyui_ip_adapter.ip_adapter_core.adapters.resolution import PUBLISHED, digest
from comfyui_ip_adapter.ip_adapter_core.identify import describe, main
from fabricate import adapters
from fabricate.adapters import KINDS, tiny_adapter
from fabricate.checkpoints import tiny_checkpoint, tiny_controlnet
from fabricate.loras import tiny_lora
from fabricate.towers import tiny_tower
from foreign_shapes import REFUSED, write_header
from package import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Adapters and an encoder, and what is neither, in folders inside one another."""
    tiny_adapter(tmp_path / "a.bin")
    (tmp_path / "encoders").mkdir()
    tiny_tower(tmp_path / "encoders" / "tower.safetensors")
    tiny_controlnet(tmp_path / "others" / "c.safetensors")
    tiny_lora(tmp_path / "others" / "l.safetensors")
    (tmp_path / "others" / "notes.txt").write_text("no weights")
    return tmp_path


def test_an_adapter_is_described_by_its_tensors(folder: Path) -> None:
    found = describe(folder / "a.bin")
    assert found.line == (
        "IP-Adapter: base, a model of its own kind (16 layers, context 64), 4 tokens, reads an encoder of width 32"
    )
    assert found.details == (
        "168,320 parameters in F16",
        "nested pickle",
        "takes embeds of width 32",
        "kind told by its tensors",
    )


def test_an_adapter_of_faces_says_what_it_takes_and_what_decided(tmp_path: Path) -> None:
    found = describe(tiny_adapter(tmp_path / "faceid-plus.safetensors", **KINDS["FaceID-Plus v2"]))
    assert found.line == (
        "IP-Adapter: FaceID-Plus v1, a model of its own kind (16 layers, context 64), 4 tokens, "
        "reads face embeddings and an encoder of width 64, brings its LoRA"
    )
    assert found.details[2:] == ("takes normed_face of width 512 and hidden of width 64", "kind told by its name")


def test_an_encoder_is_described_too(folder: Path) -> None:
    found = describe(folder / "encoders" / "tower.safetensors")
    assert found.line == "CLIP vision encoder: tower: 56 px, embeddings of 32, 17 tokens of 64, gelu"
    assert "parameters in F32" in found.details[0]


def raw(flat: dict[str, Any]) -> dict[str, Any]:
    renamed = {"image_proj.": "image_proj_model.", "ip_adapter.": "adapter_modules."}
    names = {name: renamed[name.partition(".")[0] + "."] + name.partition(".")[2] for name in flat}
    return {names[name]: value for name, value in flat.items()} | {"unet.conv_in.weight": torch.zeros(4)}


def wrapped(flat: dict[str, Any]) -> dict[str, Any]:
    return {f"module.{name}": value for name, value in raw(flat).items()}


def kolors(flat: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("ip_adapter.", "adapter_modules."): value for name, value in flat.items()}


CONTAINERS = {
    "a.safetensors": (dict, "flat safetensors"),
    "a.bin": (dict, "flat pickle"),
    "raw.bin": (raw, "flat pickle, a raw training checkpoint"),
    "several_devices.bin": (wrapped, "flat pickle, as a training on several devices saves them"),
    "kolors.safetensors": (kolors, "flat safetensors, its layers under adapter_modules."),
    "noob.safetensors": (
        adapters.doubled,
        "flat safetensors, the same tensors under ip_adapter. and adapter_modules.",
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_container_is_told(tmp_path: Path, name: str) -> None:
    change, told = CONTAINERS[name]
    tensors = {key: value.clone() for key, value in change(adapters.flat(adapters.adapter())).items()}
    write = save_file if name.endswith(".safetensors") else torch.save
    write(tensors, tmp_path / name)
    assert describe(tmp_path / name).details[1] == told


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("base", "ip-adapter_sd15_light", "light"),
        ("base", "ip-adapter_sd15_light_v11", "light, v11"),
        ("base", "noobIPAMARK1_mark1", "noob"),
        ("plus", "ip-adapter-plus-face_sd15", "face"),
        ("plus", "ip_plus_composition_sd15", "composition"),
        ("portrait", "ip-adapter-faceid-portrait-v11_sd15", "v11"),
        ("portrait unnorm", "InstantID", "instantid"),
        ("full face", "ip-adapter-full-face_sd15", ""),
        ("FaceID", "ip-adapter-faceid_sd15", ""),
    ],
)
def test_names_hint_at_what_tensors_cannot_tell(tmp_path: Path, kind: str, name: str, says: str) -> None:
    found = describe(tiny_adapter(tmp_path / f"{name}.safetensors", **KINDS[kind]))
    hints = [detail.removeprefix("its name says ") for detail in found.details if detail.startswith("its name says")]
    assert ", ".join(hints) == says


@pytest.mark.parametrize(
    ("name", "embed", "told"),
    [
        ("ip_adapter_art_sdxl_512", 768, True),
        ("IP-Adapter-Art", 768, True),
        ("ip_adapter_art_sdxl_512", 1024, False),
        ("ip-adapter_sdxl", 768, False),
    ],
)
def test_a_name_hints_at_an_encoder_that_is_none_of_ours(tmp_path: Path, name: str, embed: int, told: bool) -> None:
    found = describe(tiny_adapter(tmp_path / f"{name}.safetensors", embed=embed))
    assert any("trained with CSD" in detail for detail in found.details) == told


@pytest.mark.parametrize(("halves", "told"), [((32, 32), True), ((32, 16), False), ((16, 16), False)])
def test_instantid_is_told_by_its_dtypes(tmp_path: Path, halves: tuple[int, int], told: bool) -> None:
    dtypes = {16: torch.float16, 32: torch.float32}
    nested = adapters.adapter(**KINDS["portrait unnorm"])
    cast = {
        part: {name: value.to(dtypes[bits]) for name, value in inner.items()}
        for (part, inner), bits in zip(nested.items(), halves, strict=True)
    }
    save_file(adapters.flat(cast), tmp_path / "a.safetensors")
    assert ("all in F32, as InstantID's file is" in describe(tmp_path / "a.safetensors").details) == told


def test_a_published_file_is_named_whatever_it_is_called(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHED, digest(folder / "a.bin"), "ip-adapter_sd15_light_v11.bin")
    assert describe(folder / "a.bin").details[-1] == "published as ip-adapter_sd15_light_v11.bin"


def test_every_file_gets_a_line_and_the_status_tells_of_refusals(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    control = folder / "others" / "c.safetensors"
    assert main([str(folder / "a.bin"), str(control)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(str(folder))]
    assert lines[0].startswith(f"{folder / 'a.bin'}: IP-Adapter: base")
    assert lines[1] == f"{control}: no adapter and no encoder, but a ControlNet (control_model.input_blocks.0.0.bias)"


def told_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit status for a folder, and the line of each file in it."""
    status = main([str(folder)])
    lines = capsys.readouterr().out.splitlines()
    return status, [line.removeprefix(f"{folder}/") for line in lines if not line.startswith(" ")]


def test_folders_are_walked_and_other_files_in_them_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = told_of(folder, capsys)
    assert status == 0
    assert [line.partition(": ")[0] for line in lines] == [
        "a.bin",
        "encoders/tower.safetensors",
        "others/c.safetensors",
        "others/l.safetensors",
    ]
    assert lines[3].endswith("but a LoRA (lora_te_text_model_encoder_layers_0_self_attn_q_proj.alpha)")


def broken_adapter(folder: Path) -> None:
    nested = adapters.adapter()
    del nested["image_proj"]["norm.bias"]
    adapters.save(folder / "x.safetensors", nested)


def broken_encoder(folder: Path) -> None:
    weights = tiny_tower(folder / "x.safetensors")
    save_file({name: value for name, value in weights.items() if "layers.1." not in name}, folder / "x.safetensors")


def truncated(folder: Path) -> None:
    whole = (folder / "a.bin").read_bytes()
    (folder / "x.bin").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("spoil", [broken_adapter, broken_encoder, truncated])
def test_a_broken_adapter_or_encoder_in_a_folder_is_a_fault(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    spoil(folder)
    status, lines = told_of(folder, capsys)
    assert status == 1
    assert [line for line in lines if ": cannot be used: " in line] == [line for line in lines if line.startswith("x.")]


OTHER_FILES = {
    "a Stable Diffusion checkpoint": tiny_checkpoint,
    "a ControlNet": tiny_controlnet,
    "a LoRA": tiny_lora,
    "an image projection without cross-attention layers": lambda path: save_file(
        {key: torch.zeros(4) for key in ("norm.bias", "norm.weight", "proj.bias", "proj.weight")}, path
    ),
    "a LoRA for Flux": lambda path: save_file(
        {f"double_blocks.0.processor.qkv_lora1.{half}.weight": torch.zeros(4, 4) for half in ("down", "up")}, path
    ),
    "a text encoder": lambda path: save_file({"text_model.final_layer_norm.bias": torch.zeros(4)}, path),
    "an autoencoder (VAE)": lambda path: save_file({"decoder.conv_in.bias": torch.zeros(4)}, path),
    "the unknown tensor": lambda path: save_file({"something.else": torch.zeros(4)}, path),
}


@pytest.mark.parametrize("what", OTHER_FILES)
def test_other_files_are_named_as_what_they_are(tmp_path: Path, what: str) -> None:
    OTHER_FILES[what](tmp_path / "x.safetensors")
    found = describe(tmp_path / "x.safetensors")
    assert found.foreign
    assert found.line.startswith(f"no adapter and no encoder, but {what} ")


def test_a_folder_of_every_kind_that_is_not_run_is_named_file_by_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in REFUSED:
        write_header(tmp_path, file)
    tiny_adapter(tmp_path / "z.safetensors")
    assert main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    pairs = zip(lines[::2], lines[1::2], strict=True)
    told = {Path(line.partition(": ")[0]).stem: (line.partition(": ")[2], details) for line, details in pairs}
    assert told.pop("z")[0].startswith("IP-Adapter: base")
    assert told.keys() == REFUSED.keys()
    for file, (line, details) in told.items():
        _, _, what, use = REFUSED[file]
        assert line.startswith(f"of a kind that does not run here: {what} (")
        assert use in details.partition("; for ")[2]


def test_every_file_that_this_package_ships_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = told_of(ROOT / "models", capsys)
    assert status == 0
    assert len(lines) >= 8
    assert not [line for line in lines if "unknown tensor" in line]


def test_the_command_runs_by_itself(folder: Path) -> None:
    command = [sys.executable, "-m", "ip_adapter_core.identify", str(folder / "a.bin")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ": IP-Adapter: base" in done.stdout
