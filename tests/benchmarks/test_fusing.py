"""The fused kernel in whole samplings: in Triton's interpreter, which needs no GPU."""

import os
import subprocess
import sys

import pytest

from package import ROOT, SUPPORT

PROGRAM = """
import sys, tempfile
from pathlib import Path
sys.path[:0] = sys.argv[1:]
import package
from develop.inprocess import enter
enter(Path(tempfile.mkdtemp()))
import torch
from comfy.ldm.modules import attention as core
from comfyui_ip_adapter.benchmarks import fused, fusing
from constructions import halved
from sampled import apply, difference, make_prompt, sample
from twins import Twins

twins, folder = Twins("one level"), Path(tempfile.mkdtemp())
one, other = (make_prompt(twins, folder, seed) for seed in (1, 2))
half = torch.zeros(1, 8, 8)
half[..., :4] = 1
uses = [
    lambda model: apply(model, one, 0.8),
    lambda model: apply(apply(model, one, 0.5), other, 0.7, mask=half),
    lambda model: halved(apply(model, one, 0.7), "middle", 0),
]
calls, attention, usual = [], fused.attention, core.optimized_attention
fused.attention = lambda *given: calls.append(1) or attention(*given)
for number, use in enumerate([*uses, uses[0]]):
    calls.clear()
    if number == len(uses):
        core.optimized_attention = lambda *given, **more: usual(*given, **more)
    with fusing.ungrouped():
        found = sample(fusing.with_kernel(use(twins.patcher)), steps=1, cfg=2.0)
    count = len(calls)
    expected = sample(use(twins.patcher), steps=1, cfg=2.0)
    assert len(calls) == count
    print(count, difference(found, expected))
"""


def sampled_with(**environment: str) -> list[tuple[int, float]]:
    """For each use: how many layers were fused, and how far the result is from the usual one."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SUPPORT), str(ROOT / ".ci")],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        cwd=SUPPORT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pairs = (line.split() for line in done.stdout.splitlines()[-4:])
    return [(int(count), float(far)) for count, far in pairs]


@pytest.mark.usefixtures("comfy")
def test_the_fused_kernel_gives_what_the_usual_forms_give() -> None:
    pytest.importorskip("triton")
    found = sampled_with(TRITON_INTERPRET="1")
    # Another pack's layer is left to the other pack, and so is everything where it exchanged attention itself.
    assert [count for count, _ in found] == [6, 6, 5, 0]
    assert max(far for _, far in found) < 1e-4
