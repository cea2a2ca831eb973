"""Which patches of other packs can share a compiled graph? Those with equal marks.

What torch says: tracing writes what a function closes over into the graph, unless it is a tensor, and the guards on it
are dropped. So a mark holds a function's code and the values that it closes over: a closure that is made anew for each
call has the same mark, and one with another number in it has another.

An object that cannot be looked into is marked by a number of its own. (Its address in memory may belong to another
object one day.) Where objects of a kind are new in each call, or cannot be watched, there is no mark: Unmarkable.
"""

from __future__ import annotations

import types
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from enum import Enum
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (type(None), bool, int, float, complex, str, bytes, Enum, torch.dtype, torch.device)
_OPAQUE = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType, nn.Module)  # not looked into
_MAX_VALUES = 512  # of a patch, that are looked into
_MAX_LOST = 3  # objects of a kind that are gone before any was seen again: more are made anew for each call


class Unmarkable(Exception):
    """A patch cannot have a mark: it is a new one in each call, or nobody can tell whether it is."""


class Marks:
    """Marks of patches; it holds none of them."""

    def __init__(self) -> None:
        self._fresh = count()
        self._numbers: dict[int, tuple[Any, int]] = {}
        self._lost: Counter[Any] = Counter()

    def mark(self, patch: Any) -> Hashable:
        """Equal for patches that a traced graph cannot tell apart. Raises Unmarkable."""
        return tuple(self._walk(patch, set()))

    def _walk(self, value: Any, seen: set[int]) -> Iterator[Hashable]:
        if isinstance(value, _PLAIN):
            yield type(value).__name__, repr(value)
        elif isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            yield tuple(value.shape), str(value.dtype), str(value.device)
        elif isinstance(value, _OPAQUE) or not (parts := _parts(value)) or id(value) in seen or len(seen) > _MAX_VALUES:
            yield self._number(value)
        else:
            seen.add(id(value))
            yield type(value).__name__, len(parts)
            for part in parts:
                yield from self._walk(part, seen)

    def _number(self, value: Any) -> int:
        """The number of an object, as long as it lives."""
        kind = type(value)
        if (entry := self._numbers.get(id(value))) is not None:
            self._lost[kind] = 0
            return entry[1]
        if self._lost[kind] >= _MAX_LOST:
            raise Unmarkable
        try:
            reference = weakref.ref(value, partial(self._forget, id(value), kind))
        except TypeError as error:
            raise Unmarkable from error
        self._numbers[id(value)] = reference, next(self._fresh)
        return self._numbers[id(value)][1]

    def _forget(self, address: int, kind: Any, reference: Any) -> None:
        if self._numbers.get(address, (None,))[0] is reference:
            del self._numbers[address]
            self._lost[kind] += 1


def _parts(value: Any) -> list[Any]:
    """What a value is made of; empty where nobody can tell."""
    for kind, parts in _PARTS:
        if isinstance(value, kind):
            return list(parts(value))
    return [type(value), vars(value)] if hasattr(value, "__dict__") else []


def _of_function(value: types.FunctionType) -> Iterable[Any]:
    cells = (cell.cell_contents for cell in value.__closure__ or ())
    return (value.__code__, value.__defaults__, value.__kwdefaults__, *cells)


def _of_dict(value: dict[Any, Any]) -> Iterable[Any]:
    return (len(value), *(part for item in value.items() for part in item))


_PARTS: tuple[tuple[Any, Callable[[Any], Iterable[Any]]], ...] = (
    (types.FunctionType, _of_function),
    (types.MethodType, lambda value: (value.__func__, value.__self__)),
    (partial, lambda value: (value.func, value.args, value.keywords)),
    ((tuple, list), lambda value: (len(value), *value)),
    (dict, _of_dict),
)
