"""Memory behind what an object holds: its tensors, each storage counted once."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

# What is not held but shared by the whole process, or is the model itself.
_SHARED = (type, types.ModuleType, types.BuiltinFunctionType, nn.Module)

Storages = dict[int, int]
"""Bytes of storages by their address."""


def storages(*roots: Any) -> Storages:
    """The storages of all tensors that can be reached from these objects, networks left out."""
    seen: set[int] = set()
    waiting, found = list(roots), {}
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            storage = one.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
        waiting += _referred(one)
    return found


def held(by: Any, without: Storages) -> int:
    """Bytes that an object holds beyond those storages."""
    return sum(size for address, size in storages(by).items() if address not in without)


def _referred(one: Any) -> Iterable[Any]:
    if isinstance(one, types.FunctionType):  # its globals are the whole module's
        return [*(one.__closure__ or ()), *(one.__defaults__ or ())]
    return gc.get_referents(one)
