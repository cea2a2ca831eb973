"""What model files are, on the command line: `python -m ip_adapter_core.identify FILE…`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from . import adapter, vision
from .weightfile import Entry, UnsupportedCheckpoint, entries


def describe_adapter(path: str | Path) -> str:
    """An adapter file in one line: kind, family, tokens, encoder, parameters, dtype.

    Raises UnsupportedCheckpoint when it is none that can be used.
    """
    named = entries(path)
    return f"{adapter.identify(named).describe()}, {_weights(named)}"


def describe_encoder(path: str | Path) -> str:
    """A vision encoder file in one line. Raises UnsupportedCheckpoint when it is none that OpenCLIP knows."""
    return f"{vision.identify_file(path).describe()}, {_weights(entries(path))}"


def describe(path: str | Path) -> str:
    """An adapter or an encoder in one line. Raises UnsupportedCheckpoint, as for an adapter, when it is neither."""
    try:
        return f"IP-Adapter: {describe_adapter(path)}"
    except UnsupportedCheckpoint as refusal:
        try:
            return f"CLIP vision encoder: {describe_encoder(path)}"
        except UnsupportedCheckpoint:
            raise refusal from None


def main(paths: Sequence[str]) -> int:
    """Describe each file; the exit status is 1 when one cannot be used."""
    status = 0
    for path in paths:
        try:
            line = describe(path)
        except UnsupportedCheckpoint as refusal:
            line, status = f"cannot be used: {refusal}", 1
        sys.stdout.write(f"{path}: {line}\n")
    return status


def _weights(named: Mapping[str, Entry]) -> str:
    """How many parameters, and in which dtypes, the most frequent first."""
    parameters: Counter[str] = Counter()
    for entry in named.values():
        parameters[entry.dtype] += prod(entry.shape)
    dtypes = " and ".join(dtype for dtype, _ in parameters.most_common())
    return f"{parameters.total():,} parameters in {dtypes}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
