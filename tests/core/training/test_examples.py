"""Examples to train on: their nulls, and what is refused before a step."""

from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.training import examples as given
from comfyui_ip_adapter.ip_adapter_core.training.draws import drops
from comfyui_ip_adapter.ip_adapter_core.training.loop import train
from comfyui_ip_adapter.ip_adapter_core.training.settings import Settings
from training.parts import QUICK, ToyBase, examples, network


def test_a_dropped_condition_is_its_null() -> None:
    rows = {"latents": torch.ones(3, 1), "features": torch.ones(3, 2), "context": torch.ones(3, 2, 2)}
    rows |= {"pooled": torch.ones(3, 2)}
    nulls = {name: torch.zeros(1, *rows[name].shape[1:]) for name in ("features", "context", "pooled")}
    dropped = drops(torch.tensor([0.05, 0.15, 0.25]), Settings(drop_image=0.1, drop_text=0.1, drop_both=0.1))
    kept = given.without_dropped(rows, nulls, dropped)
    found = {name: tensor.flatten(1).mean(1).tolist() for name, tensor in kept.items()}
    assert found == {"latents": [1, 1, 1], "features": [0, 1, 0], "context": [1, 0, 0], "pooled": [1, 0, 0]}


def test_examples_that_lack_something_are_refused_before_a_step() -> None:
    rows, nulls = examples().rows(range(4)), dict(examples().nulls)

    def refused(rows: Any, nulls: Any, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            train(network(), ToyBase(), given.TensorExamples(rows, nulls), QUICK)

    refused({name: rows[name] for name in ("latents", "features")}, nulls, "found none of context")
    refused(rows, {"context": nulls["context"]}, "they lack features")
    refused(rows, nulls | {"context": torch.zeros(1, 9, 5)}, r"\[1, 2, 5\] of examples; found \[1, 9, 5\]")
    refused({name: tensor[:0] for name, tensor in rows.items()}, nulls, "nothing to train on")
    refused(rows | {"context": rows["context"][:2]}, nulls, "4 latents, 4 features, 2 context")
