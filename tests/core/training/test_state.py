"""The state of a training on disk: a run stops and goes on bit for bit, and the state of another run is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from comfyui_ip_adapter.ip_adapter_core.training import examples as given
from comfyui_ip_adapter.ip_adapter_core.training.engines import Alone
from comfyui_ip_adapter.ip_adapter_core.training.loop import train
from comfyui_ip_adapter.ip_adapter_core.training.settings import Settings
from comfyui_ip_adapter.ip_adapter_core.training.state import FILE
from training.parts import FEATURES, QUICK, Stopped, ToyBase, examples, network, run, same, stopping

FANCY = replace(QUICK, ema=0.9, accumulate=2, decay=True, warmup=2, clip=0.5, drop_image=0.3)


@pytest.mark.parametrize("settings", [QUICK, FANCY])
@pytest.mark.parametrize("stop", [1, 4])
def test_a_run_that_stopped_goes_on_bit_for_bit(settings: Settings, stop: int, tmp_path: Path) -> None:
    whole = run(settings)
    with pytest.raises(Stopped):
        run(settings, folder=tmp_path, on_step=stopping(stop))
    resumed_at: list[int] = []
    resumed = train(
        network(seed=5),
        ToyBase(),
        examples(),
        settings,
        folder=tmp_path,
        on_step=lambda step: resumed_at.append(step.number),
    )
    assert resumed_at == list(range(stop + 1, settings.steps + 1))
    assert resumed.losses == whole.losses
    assert same(resumed.network, whole.network)


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    run(replace(QUICK, steps=3), folder=tmp_path)
    longer = run(folder=tmp_path)
    assert longer.steps == QUICK.steps
    assert same(longer.network, run().network)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = run(folder=tmp_path)
    again = run(folder=tmp_path, on_step=stopping(1))
    assert again.losses == first.losses
    assert same(again.network, first.network)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 0.5}, "learning_rate 0.01; this one has learning_rate 0.5"),
        ({"seed": 3}, "seed 0; this one has seed 3"),
        ({"ema": 0.9}, "ema 0.0; this one has ema 0.9"),
    ],
)
def test_the_state_of_other_settings_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    run(folder=tmp_path)
    with pytest.raises(ValueError, match=words):
        run(replace(QUICK, **change), folder=tmp_path)


def test_the_state_of_another_network_or_of_other_examples_is_refused(tmp_path: Path) -> None:
    run(folder=tmp_path)
    with pytest.raises(ValueError, match=r"another network: 0.bias is \[8\], not \[4\]"):
        train(nn.Sequential(nn.Linear(FEATURES, 4)), ToyBase(), examples(), QUICK, folder=tmp_path)
    with pytest.raises(ValueError, match="examples 12; this one has examples 9"):
        train(network(), ToyBase(), examples(9), QUICK, folder=tmp_path)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    run(folder=tmp_path)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"^Delete .*{FILE} to train from the beginning; it is damaged"):
        run(folder=tmp_path)


def test_a_state_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(replace(QUICK, steps=2), folder=tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def fail(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("comfyui_ip_adapter.ip_adapter_core.files.atomic.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        run(folder=tmp_path)
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def of_pictures(identity: str) -> given.TensorExamples:
    made = examples()
    made.identity = identity
    return made


def test_a_run_does_not_go_on_with_other_pictures(tmp_path: Path) -> None:
    train(network(), ToyBase(), of_pictures("these"), QUICK, folder=tmp_path)
    with pytest.raises(
        ValueError, match=r"^Go on with what that run had.*other pictures or captions than there are now"
    ):
        train(network(), ToyBase(), of_pictures("others"), QUICK, folder=tmp_path)
    assert train(network(), ToyBase(), of_pictures("these"), QUICK, folder=tmp_path).steps == QUICK.steps


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It did not know its pictures, and called the learning rate otherwise; nothing scaled its loss."""
    run(replace(QUICK, steps=3), folder=tmp_path)
    with safe_open(tmp_path / FILE, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    metadata["settings"] = metadata["settings"].replace("learning_rate", "rate")
    save_file(tensors, tmp_path / FILE, metadata)
    resumed = train(
        network(), ToyBase(), of_pictures("these"), QUICK, folder=tmp_path, engine=Alone(dtype=torch.float16)
    )
    assert resumed.losses[:3] == run().losses[:3]
    assert resumed.steps == QUICK.steps
    assert "does not say which pictures" in caplog.text
