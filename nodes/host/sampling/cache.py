"""What a run keeps of what it prepared: the latest few values on each device, whichever thread asks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar

import torch


class OnDevice(Hashable, Protocol):
    """A key that says on which device its value lies."""

    @property
    def device(self) -> torch.device:
        """The device."""


Key = TypeVar("Key", bound=OnDevice)
Value = TypeVar("Value")


class RunCache(Generic[Key, Value]):
    """Values by key, at most a fixed number on each device; several threads may ask, as the host has one per device."""

    def __init__(self, max_per_device: int) -> None:
        self._max_per_device = max_per_device
        self._by_device: dict[torch.device, OrderedDict[Key, Value]] = {}
        self._lock = Lock()

    @property
    def values(self) -> list[Value]:
        """All values that are kept, on whichever device."""
        return [value for on_device in self._by_device.values() for value in on_device.values()]

    def get(self, key: Key, make: Callable[[], Value], is_valid: Callable[[Value], bool] = lambda _: True) -> Value:
        """The value of a key; it is made where none is kept or where the one that is kept is not valid."""
        with self._lock:
            on_device = self._by_device.setdefault(key.device, OrderedDict())
            if key in on_device and is_valid(on_device[key]):
                on_device.move_to_end(key)
                return on_device[key]
        value = make()
        with self._lock:
            on_device[key] = value
            on_device.move_to_end(key)
            while len(on_device) > self._max_per_device:
                on_device.popitem(last=False)
        return value
