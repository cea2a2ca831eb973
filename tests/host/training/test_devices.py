"""Training in several processes through accelerate is training in one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.training.engines import Accelerated, Alone, Engine
from comfyui_ip_adapter.ip_adapter_core.training.loop import train
from comfyui_ip_adapter.ip_adapter_core.training.state import FILE
from package import SUPPORT
from training.parts import SHARED, Stopped, ToyBase, examples, network, stopping

SCRIPT = SUPPORT / "training" / "process.py"
# torchrun, since `accelerate launch --cpu` starts several processes only under MPI.
LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def launch(folder: Path, steps: int) -> "subprocess.Popen[str]":
    """Begin or go on with the run of a folder in two processes."""
    command = [sys.executable, *LAUNCH, str(SCRIPT), str(folder), str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1"}
    environment["PYTHONPATH"] = str(SUPPORT)
    # A group of its own, so that none of its processes outlives the test.
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finished(run: "subprocess.Popen[str]", folder: Path) -> dict[str, str]:
    """What each process says at its end: the rows it had per batch, and its last step."""
    try:
        _, said = run.communicate(timeout=200)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 0, said
    return {path.stem: path.read_text() for path in folder.glob("*.txt")}


def on_cpu() -> Accelerated:
    from accelerate import Accelerator

    return Accelerated(Accelerator(cpu=True))


@pytest.fixture
def alone() -> Iterator[Any]:
    """accelerate's engine in this process."""
    from accelerate.state import AcceleratorState

    yield on_cpu()
    AcceleratorState._reset_state(reset_partial_state=True)


def test_two_processes_go_on_with_the_run_of_one_as_one_would(tmp_path: Path) -> None:
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    train(network(), ToyBase(), examples(), SHARED, folder=whole)
    with pytest.raises(Stopped):
        train(network(), ToyBase(), examples(), SHARED, folder=shared, on_step=stopping(2))
    assert finished(launch(shared, SHARED.steps), shared) == {"0-of-2": "{2} 6", "1-of-2": "{2} 6"}
    expected, found = (load_file(folder / FILE) for folder in (whole, shared))
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("told", ["1"], ids=["not the one that writes"])
def test_one_process_that_is_told_to_stop_tells_the_other(told: str, tmp_path: Path) -> None:
    run = launch(tmp_path, 10**6)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*.pid"))) < 2 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(int((tmp_path / f"{told}.pid").read_text()), signal.SIGINT)
    ended = finished(run, tmp_path)
    steps = len(load_file(tmp_path / FILE)["losses"])
    assert ended == {"0-of-2": f"{{2}} {steps}", "1-of-2": f"{{2}} {steps}"}


def test_accelerate_alone_is_this_process_alone(alone: Accelerated) -> None:
    expected = train(network(), ToyBase(), examples(), SHARED)
    found = train(network(), ToyBase(), examples(), SHARED, engine=alone)
    assert found.losses == expected.losses
    for ours, theirs in zip(found.network.parameters(), expected.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class HalfBase(ToyBase):
    """As the host's models on a GPU."""

    dtype = torch.float16

    def denoised(self, noisy: Tensor, sigmas: Tensor, text: Any, image: Any) -> Tensor:
        """The same estimate; its gradients pass half precision, in which small ones are 0."""
        change = image - image.detach()
        return super().denoised(noisy, sigmas, text, image.detach() + (change * 1e6).half().float() * 1e-6)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("make", [Alone, on_cpu], ids=["alone", "accelerate"])
def test_every_engine_scales_the_loss_for_a_base_in_half_precision(make: Callable[[], Engine], tmp_path: Path) -> None:
    clipped = replace(SHARED, accumulate=1, clip=1e-3)  # gradients that were not scaled back would all be clipped alike
    exact = train(network(), ToyBase(), examples(), clipped)
    whole = train(network(), HalfBase(), examples(), clipped, engine=make())
    assert whole.losses == pytest.approx(exact.losses, rel=1e-3)
    with pytest.raises(Stopped):
        train(network(), HalfBase(), examples(), clipped, engine=make(), folder=tmp_path, on_step=stopping(2))
    engine = make()
    resumed = train(network(), HalfBase(), examples(), clipped, engine=engine, folder=tmp_path)
    assert resumed.losses == whole.losses
    scaler = engine.scaler(torch.float16)
    assert scaler is not None
    assert scaler.state_dict()["_growth_tracker"] == clipped.steps  # counted on from the state that was kept


def test_a_batch_that_processes_cannot_share_is_refused(alone: Accelerated) -> None:
    alone.processes = 3
    with pytest.raises(ValueError, match=r"^Set batch to a multiple of 3; 4 cannot be shared"):
        train(network(), ToyBase(), examples(), SHARED, engine=alone)


def test_without_accelerate_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match="pip install accelerate"):
        Accelerated()
