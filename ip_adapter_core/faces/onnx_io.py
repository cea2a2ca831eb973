"""Inputs and outputs of an ONNX file, read from the file itself: no network is loaded and no ONNX library is needed.

An ONNX file is one protobuf message; the numbers of its fields are those of onnx.proto (ONNX 1.x).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OnnxShape = tuple[int | None, ...]
"""Lengths of the axes; None for an axis of any length."""

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # of the graph
_OPERATION, _WEIGHTS_NAME, _NAME = 4, 8, 1
_SHAPE = (2, 1, 2)  # of an input or output: its type, as a tensor, with a shape
_AXIS, _LENGTH = 1, 1
_FIRST = 8
_NUMBER, _MESSAGE, _FIXED = 0, 2, {1: 8, 5: 4}  # protobuf's wire types; of those that are skipped, the bytes
_LONGEST = 2**31


class Signature(NamedTuple):
    """Inputs and outputs of a network.

    inputs: shapes in order, None for an input whose shape the file does not say.
    outputs: the same for the outputs.
    first: names of the first operations.
    """

    inputs: tuple[OnnxShape | None, ...]
    outputs: tuple[OnnxShape | None, ...]
    first: tuple[str, ...]


def read_signature(file: Path) -> Signature:
    """The signature of an ONNX file. Raises ValueError, with the file's name, when it is damaged or no ONNX file."""
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            (graph,) = _Message(mapped, 0, len(mapped)).messages(_GRAPH)
            return _signature(graph)
    except (ValueError, OSError) as error:
        raise ValueError(f"Download {file.name} again; it is no ONNX file, or only a part of one.") from error


def _signature(graph: _Message) -> Signature:
    weights = {message.text(_WEIGHTS_NAME) for message in graph.messages(_INITIALIZER)}  # inputs too in old files
    inputs = [message for message in graph.messages(_INPUT) if message.text(_NAME) not in weights]
    first = tuple(node.text(_OPERATION) for node in graph.messages(_NODE)[:_FIRST])
    return Signature(tuple(map(_shape, inputs)), tuple(map(_shape, graph.messages(_OUTPUT))), first)


def _shape(message: _Message) -> OnnxShape | None:
    for field in _SHAPE:
        inner = message.messages(field)
        if not inner:
            return None
        message = inner[0]
    return tuple(_length(axis) for axis in message.messages(_AXIS))


def _length(axis: _Message) -> int | None:
    lengths = [value for field, value in axis.fields() if field == _LENGTH]
    return lengths[0] if lengths and isinstance(lengths[0], int) and 0 < lengths[0] < _LONGEST else None


class _Message(NamedTuple):
    """A protobuf message in a mapped file.

    mapped: the file.
    start, end: its first byte, and the byte after its last.
    """

    mapped: mmap.mmap
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, int | _Message]]:
        """Numbers and values of its fields. Raises ValueError when it ends too early."""
        at = self.start
        while at < self.end:
            tag, at = self._number(at)
            kind, value = tag & 7, 0
            if kind in (_NUMBER, _MESSAGE):
                value, at = self._number(at)
            length = _FIXED[kind] if kind in _FIXED else value * (kind == _MESSAGE)
            if kind not in (_NUMBER, _MESSAGE, *_FIXED) or at + length > self.end:
                raise ValueError(f"no field begins at byte {at}")
            yield tag >> 3, _Message(self.mapped, at, at + length) if kind == _MESSAGE else value
            at += length

    def messages(self, number: int) -> list[_Message]:
        """The messages in a field."""
        return [value for field, value in self.fields() if field == number and isinstance(value, _Message)]

    def text(self, number: int) -> str:
        """The text in a field, empty where there is none."""
        return "".join(self.mapped[part.start : part.end].decode() for part in self.messages(number))

    def _number(self, at: int) -> tuple[int, int]:
        """A number and the byte after it: seven bits a byte, the lowest first; the eighth says that more follow."""
        value = 0
        for shift in range(0, 70, 7):
            if at >= self.end:
                break
            byte = self.mapped[at]
            value, at = value | (byte & 127) << shift, at + 1
            if byte < 128:
                return value, at
        raise ValueError(f"no number ends at byte {at}")
