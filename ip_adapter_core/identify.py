"""What model files are, on the command line: `python -m ip_adapter_core.identify FILE…`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from . import adapter, vision
from .weightfile import Entry, UnsupportedCheckpoint, entries


def describe(path: str | Path) -> str:
    """An adapter or an encoder in one line: what it is, its parameters and dtypes.

    Raises UnsupportedCheckpoint, as for an adapter, when it is neither.
    """
    named = entries(path)
    try:
        return f"IP-Adapter: {adapter.identify(named).describe()}, {weights(named)}"
    except UnsupportedCheckpoint as refusal:
        try:
            return f"CLIP vision encoder: {vision.identify_file(path).describe()}, {weights(named)}"
        except UnsupportedCheckpoint:
            raise refusal from None


def weights(named: Mapping[str, Entry]) -> str:
    """How many parameters, and in which dtypes, the most frequent first."""
    parameters: Counter[str] = Counter()
    for entry in named.values():
        parameters[entry.dtype] += prod(entry.shape)
    dtypes = " and ".join(dtype for dtype, _ in parameters.most_common())
    return f"{parameters.total():,} parameters in {dtypes}"


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
