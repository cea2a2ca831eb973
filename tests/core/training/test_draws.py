"""The random choices of training: dropped conditions, shuffled epochs, numbers that repeat at one place."""

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.training.draws import DataOrder, DataPosition, draw, drops, generator
from comfyui_ip_adapter.ip_adapter_core.training.settings import Settings
from training.parts import QUICK


def test_conditions_are_dropped_as_often_as_asked_and_never_by_two_rules() -> None:
    settings = Settings(drop_image=0.1, drop_text=0.2, drop_both=0.05)
    dropped = drops(torch.rand(200_000, generator=generator(0)), settings)
    image, text = dropped
    assert (image & ~text).float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert (text & ~image).float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert (image & text).float().mean().item() == pytest.approx(0.05, abs=0.005)


def test_every_example_comes_once_per_epoch_in_an_order_of_its_own() -> None:
    order = DataOrder(10, seed=0)
    seen = [index for first in range(0, 20, 4) for index in order.indices(first, 4)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    assert DataOrder(10, seed=0).indices(8, 4) == seen[8:12]
    assert DataOrder(10, seed=1).indices(0, 10) != seen[:10]


def test_random_numbers_differ_between_places_and_repeat_at_one() -> None:
    shares = [
        draw(QUICK, place, (1, 1, 1)).shares
        for place in (DataPosition(0, 0), DataPosition(0, 1), DataPosition(1, 0), DataPosition(0, 0))
    ]
    assert torch.equal(shares[0], shares[3])
    assert not any(torch.equal(shares[0], other) for other in shares[1:3])
