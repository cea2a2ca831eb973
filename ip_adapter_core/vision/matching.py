"""Which of OpenCLIP's models has exactly the tensors of a file, or how the closest one differs from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Shape
from .parts import Layout
from .registry import Candidate, Config, candidate_tower, list_candidates, read_candidate


class Match(NamedTuple):
    """The model that a file holds.

    candidate: the model.
    visual: its empty tower.
    """

    candidate: Candidate
    visual: torch.nn.Module


class _Difference(NamedTuple):
    """How the tensors of a file differ from those of a tower.

    missing: names that only the tower has.
    unexpected: names that only the file has.
    reshaped: names whose shapes differ.
    """

    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]

    @property
    def size(self) -> int:
        """Number of differences."""
        return sum(map(len, self))


def match(in_file: Mapping[str, Shape], layout: Layout, config: Config | None, file: str) -> Match:
    """The model whose tensors have exactly these shapes. Raises UnsupportedCheckpoint that names the closest model."""
    candidates = [read_candidate(config, file)] if config is not None else list_candidates(in_file, layout, file)
    best: Candidate | None = None
    least = _Difference([], list(in_file), [])
    for candidate in candidates:
        visual = candidate_tower(candidate, file)
        difference = _difference({name: tuple(tensor.shape) for name, tensor in visual.state_dict().items()}, in_file)
        if difference.size == 0:
            return Match(candidate, visual)
        if best is None or difference.size < least.size:
            best, least = candidate, difference
    if best is None or (config is None and least.size > len(in_file) // 2):
        raise UnsupportedCheckpoint(_unknown(in_file, file))
    raise UnsupportedCheckpoint(_mismatch(best.name, least, layout, file))


def _difference(needed: Mapping[str, Shape], in_file: Mapping[str, Shape]) -> _Difference:
    """How the tensors of a file differ from those that a tower needs."""
    return _Difference(
        missing=[name for name in needed if name not in in_file],
        unexpected=[name for name in in_file if name not in needed],
        reshaped=[name for name in needed if name in in_file and in_file[name] != needed[name]],
    )


def _mismatch(tower: str, difference: _Difference, layout: Layout, file: str) -> str:
    """The first difference, in words."""
    if difference.missing:
        return f"Download {file} again; it lacks {layout.prefix}{difference.missing[0]}, which {tower} needs."
    if difference.unexpected:
        key = layout.parts[difference.unexpected[0]].keys[0]
        return f"Use the original file; {file} holds {key}, which {tower} does not have."
    key = layout.parts[difference.reshaped[0]].keys[0]
    return f"Correct the config of {file}, or download it again; its {key} has another shape than {tower} needs."


def _unknown(in_file: Mapping[str, Shape], file: str) -> str:
    """What to do with a tower that is in no list, in words."""
    return (
        f"Put its open_clip_config.json beside {file}, named as the file with .json at the end; it holds a vision "
        f"encoder that OpenCLIP does not know ({len(in_file)} tensors, {min(in_file)} first)."
    )
