"""The command that says what files are."""

import subprocess
import sys
from pathlib import Path

import pytest

from comfyui_ip_adapter.ip_adapter_core.identify import describe, main
from fabricate.adapters import tiny_adapter
from fabricate.checkpoints import tiny_controlnet
from fabricate.towers import tiny_tower

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """An adapter, an encoder, and what is neither."""
    tiny_tower(tmp_path / "tower.safetensors")
    return [
        tiny_adapter(tmp_path / "a.bin"),
        tmp_path / "tower.safetensors",
        tiny_controlnet(tmp_path / "c.safetensors"),
    ]


def test_an_adapter_is_described_by_its_tensors(files: list[Path]) -> None:
    assert describe(files[0]) == (
        "IP-Adapter: base, a model of its own kind (16 layers, context 64), 4 tokens, reads an encoder of width 32, "
        "168,320 parameters in F16"
    )


def test_an_encoder_is_described_too(files: list[Path]) -> None:
    assert describe(files[1]).startswith("CLIP vision encoder: tower: 56 px, embeddings of 32, 17 tokens of 64, gelu, ")


def test_every_file_gets_a_line_and_the_status_tells_of_refusals(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(path) for path in files]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["IP-Adapter", "CLIP vision encoder", "cannot be used"]
    assert lines[2].endswith("it holds a ControlNet (control_model.input_blocks.0.0.bias).")


def test_the_command_runs_by_itself(files: list[Path]) -> None:
    command = [sys.executable, "-m", "ip_adapter_core.identify", str(files[0])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ": IP-Adapter: base" in done.stdout
