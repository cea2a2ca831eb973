"""How a training computes: in mixed precision, in half precision with its scale, beside other processes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.training.engines import Alone
from comfyui_ip_adapter.ip_adapter_core.training.loop import EndedElsewhere
from comfyui_ip_adapter.ip_adapter_core.training.state import FILE
from training.parts import QUICK, run, same


def test_mixed_precision_keeps_the_weights_in_fp32() -> None:
    mixed = run(engine=Alone(dtype=torch.bfloat16))
    assert all(parameter.dtype is torch.float32 for parameter in mixed.network.parameters())
    assert mixed.losses == pytest.approx(run().losses, rel=0.05)
    assert mixed.losses != run().losses


def test_half_precision_goes_on_with_its_scale(tmp_path: Path) -> None:
    engines = [Alone(dtype=torch.float16) for _ in range(3)]
    scalers = [scaler for engine in engines if (scaler := engine.scaler(torch.float32))]
    for scaler in scalers[:2]:
        scaler.load_state_dict(scaler.state_dict() | {"scale": 1024.0})
    whole = run(engine=engines[0])
    run(replace(QUICK, steps=3), folder=tmp_path, engine=engines[1])
    resumed = run(folder=tmp_path, engine=engines[2])
    assert [scaler.get_scale() for scaler in scalers] == [1024.0] * 3
    assert resumed.losses == whole.losses
    assert same(resumed.network, whole.network)


def test_what_is_raised_anywhere_ends_the_training_everywhere_with_the_state_kept(tmp_path: Path) -> None:
    class Told(Alone):
        """A process that hears of another's end after the third step."""

        waited = 0

        def any(self, mine: bool) -> bool:
            asked.append(mine)
            return mine or len(asked) == 3

        def wait(self) -> None:
            self.waited += 1
            assert (tmp_path / FILE).exists()

    asked: list[bool] = []
    engine = Told()
    with pytest.raises(EndedElsewhere):
        run(replace(QUICK, save_every=100), folder=tmp_path, engine=engine)
    assert (asked, engine.waited) == ([False] * 3, 1)
    assert run(replace(QUICK, save_every=100), folder=tmp_path).losses == run().losses
