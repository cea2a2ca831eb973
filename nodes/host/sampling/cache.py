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
    """Values by key, at most so many on each device; the host computes on several at once, in a thread for each."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[torch.device, OrderedDict[Key, Value]] = {}
        self._lock = Lock()

    @property
    def values(self) -> list[Value]:
        """What is kept, on whichever device."""
        return [value for here in self._found.values() for value in here.values()]

    def get(self, key: Key, make: Callable[[], Value], holds: Callable[[Value], bool] = lambda _: True) -> Value:
        """The value of a key, made where there is none that holds."""
        with self._lock:
            here = self._found.setdefault(key.device, OrderedDict())
            if key in here and holds(here[key]):
                here.move_to_end(key)
                return here[key]
        made = make()
        with self._lock:
            here[key] = made
            here.move_to_end(key)
            while len(here) > self._most:
                here.popitem(last=False)
        return made
