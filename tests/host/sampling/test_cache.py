"""What a run keeps: the latest few values of each device, from whichever threads."""

import threading
from types import ModuleType
from typing import NamedTuple

import pytest
import torch

pytestmark = pytest.mark.usefixtures("comfy")


class Key(NamedTuple):
    """A number on a device."""

    number: int
    device: torch.device


@pytest.fixture
def kept(comfy: None) -> ModuleType:
    """The module."""
    from comfyui_ip_adapter.nodes.host.sampling import cache

    return cache


def on(device: int, number: int = 0) -> Key:
    return Key(number, torch.device("cuda", device))


def test_a_value_is_made_once_while_it_holds(kept: ModuleType) -> None:
    table = kept.RunCache(2)
    made = []
    for _ in range(3):
        assert table.get(on(0), lambda: made.append(1) or "a") == "a"
    assert len(made) == 1
    assert table.get(on(0), lambda: "b", lambda value: value != "a") == "b"
    assert table.get(on(0), lambda: "c") == "b"


def test_each_device_keeps_the_latest_of_its_own(kept: ModuleType) -> None:
    table = kept.RunCache(2)
    for number in (0, 1, 2):
        for device in (0, 1, 2):
            table.get(on(device, number), lambda: 1)
    table.get(on(0, 1), lambda: 2)  # used again, so the other one goes
    table.get(on(0, 3), lambda: 2)
    assert [table.get(on(0, number), lambda: 3) for number in (1, 3)] == [1, 2]
    assert [table.get(on(1, number), lambda: 3) for number in (1, 2)] == [1, 1]


def test_threads_of_several_devices_do_not_lose_each_others_values(kept: ModuleType) -> None:
    table, wrong = kept.RunCache(2), []

    def work(device: int) -> None:
        for turn in range(2000):
            key = on(device, turn % 3)
            if table.get(key, lambda key=key: key) != key:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(device % 4,)) for device in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(len(found) <= 2 for found in table._by_device.values())
