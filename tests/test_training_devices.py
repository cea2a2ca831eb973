"""Training in several processes through accelerate is training in one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from comfyui_ip_adapter.ip_adapter_core.training.engines import Accelerated
from comfyui_ip_adapter.ip_adapter_core.training.loop import Step, train
from comfyui_ip_adapter.ip_adapter_core.training.state import FILE
from training_parts import SHARED, ToyBase, examples, network

SCRIPT = Path(__file__).with_name("training_process.py")
# torchrun, since `accelerate launch --cpu` starts several processes only under MPI.
LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


class Stopped(Exception):
    """What the user's interruption raises."""


def stop_at_two(step: Step) -> None:
    if step.number == 2:
        raise Stopped


def share(folder: Path) -> dict[str, str]:
    """Go on with the run of a folder in two processes; how many rows each had per batch."""
    command = [sys.executable, *LAUNCH, str(SCRIPT), str(folder), str(SHARED.steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert found.returncode == 0, found.stderr
    return {path.stem: path.read_text() for path in folder.glob("*.txt")}


@pytest.fixture
def alone() -> Iterator[Any]:
    """accelerate's engine in this process."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    yield Accelerated(Accelerator(cpu=True))
    AcceleratorState._reset_state(reset_partial_state=True)


def test_two_processes_go_on_with_the_run_of_one_as_one_would(tmp_path: Path) -> None:
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    train(network(), ToyBase(), examples(), SHARED, folder=whole)
    with pytest.raises(Stopped):
        train(network(), ToyBase(), examples(), SHARED, folder=shared, on_step=stop_at_two)
    assert share(shared) == {"0-of-2": "{2}", "1-of-2": "{2}"}
    expected, found = (load_file(folder / FILE) for folder in (whole, shared))
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_accelerate_alone_is_this_process_alone(alone: Accelerated) -> None:
    expected = train(network(), ToyBase(), examples(), SHARED)
    found = train(network(), ToyBase(), examples(), SHARED, engine=alone)
    assert found.losses == expected.losses
    for ours, theirs in zip(found.network.parameters(), expected.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_batch_that_processes_cannot_share_is_refused(alone: Accelerated) -> None:
    alone.processes = 3
    with pytest.raises(ValueError, match="batch of 4 cannot be shared by 3 processes"):
        train(network(), ToyBase(), examples(), SHARED, engine=alone)


def test_without_accelerate_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match="pip install accelerate"):
        Accelerated()
