"""The command that trains: from model files to an adapter file, in a process of its own as users run it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from comfyui_ip_adapter.ip_adapter_core.adapters import loading as core
from fabricate.checkpoints import SD15_SMALLEST, sd15_checkpoint
from fabricate.towers import TINY, tiny_tower
from live.server import comfyui_path
from live.training import draw_pictures
from package import ROOT

COMMAND = ROOT / "nodes" / "train_command.py"
ON_CPU = os.environ | {"ACCELERATE_USE_CPU": "1"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    sd15_checkpoint(folder / "sd15.safetensors")
    tiny_tower(folder / "tower.safetensors")
    draw_pictures(folder / "pictures")
    return folder


def command(files: Path, *more: str, comfyui: str | None = None, output: str = "out/mine.safetensors") -> list[str]:
    """The command line, for the folder of the files."""
    options = {
        "comfyui": comfyui or str(comfyui_path()),
        "checkpoint": "sd15.safetensors",
        "clip-vision": str(files / "tower.safetensors"),
        "dataset": "pictures",
        "output": output,
        "resolution": "64",
        "batch": "2",
        "sample-steps": "2",
    }
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [sys.executable, str(COMMAND), *given, *more]


def train(files: Path, *more: str, comfyui: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    line = command(files, "--log-dir", "logs", *more, comfyui=comfyui)
    return subprocess.run(line, cwd=files, env=ON_CPU, capture_output=True, text=True)


def test_a_training_leaves_an_adapter_samples_and_logs_and_goes_on(files: Path) -> None:
    first = train(files, "--steps", "2", "--sample-every", "1")
    assert first.returncode == 0, first.stderr[-3000:]
    identity = core.load(files / "out" / "mine.safetensors").identity()
    assert identity.geometry.widths == (SD15_SMALLEST.channels,) * 4
    assert identity.widths == (TINY.embed_dim,)
    samples = sorted((files / "out" / "mine" / "samples").iterdir())
    assert [path.name for path in samples] == ["step-0000001.png", "step-0000002.png"]
    assert "The adapter is in out/mine.safetensors." in first.stderr
    assert_references_above_samples(np.asarray(Image.open(samples[0])))
    assert logged(files) == ({"loss": [1, 2], "learning rate": [1, 2]}, {"samples": [1, 2]})

    second = train(files, "--steps", "3")
    assert second.returncode == 0, second.stderr[-3000:]
    assert logged(files)[0]["loss"] == [1, 2, 3]


def assert_references_above_samples(grid: np.ndarray) -> None:
    assert grid.shape == (128, 256, 3)
    assert np.abs(grid[:64].astype(int) - grid[64:]).mean() > 1


def logged(files: Path) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """The steps of all numbers and pictures that TensorBoard finds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(files / "logs"))
    log.Reload()
    tags = log.Tags()
    return (
        {tag: [event.step for event in log.Scalars(tag)] for tag in tags["scalars"]},
        {tag: [event.step for event in log.Images(tag)] for tag in tags["images"]},
    )


def test_ctrl_c_keeps_the_steps_that_were_made(files: Path) -> None:
    line = command(files, "--steps", "100000", "--sample-every", "3", output="stopped.safetensors")
    running = subprocess.Popen(line, cwd=files, env=ON_CPU, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (files / "stopped" / "samples" / "step-0000003.png").exists():
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert said.strip().endswith("Run the same command again to go on; it was stopped.")
    assert len(load_file(files / "stopped" / "state.safetensors")["losses"]) >= 3
    assert not (files / "stopped.safetensors").exists()


def test_mistakes_end_in_one_sentence(files: Path) -> None:
    cases = {
        "Name the folder of ComfyUI with --comfyui; nowhere is no ComfyUI: it has no main.py and comfy/.": train(
            files, comfyui="nowhere"
        ),
        "Set batch to a whole number from 1; found 0.": train(files, "--batch", "0"),
    }
    for says, ended in cases.items():
        assert ended.returncode == 1
        assert ended.stderr.strip().endswith(says)
        assert "Traceback" not in ended.stderr
