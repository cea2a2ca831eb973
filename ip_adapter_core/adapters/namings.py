"""TABLE of the names that files give to an adapter's tensors where they are not those of most published files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from ..files.tensor_file import Entry
from . import anima_names, diffusers_names, instantx_names, pulid_names, xlabs_names
from .diffusers_names import Sources


class FileNaming(NamedTuple):
    """How a file names its tensors: a row of NAMINGS.

    words: how it does, for people.
    fits: whether names are of this kind.
    find_sources: a file's tensors -> by published name, the tensors that are it.
    """

    words: str
    fits: Callable[[Collection[str]], bool]
    find_sources: Callable[[Mapping[str, Entry]], Sources]


NAMINGS = (
    FileNaming(
        "as diffusers saves its processors", diffusers_names.is_saved_by_diffusers, diffusers_names.find_sources
    ),
    FileNaming("as XLabs names them", xlabs_names.is_of_xlabs, xlabs_names.find_sources),
    FileNaming("as PuLID names them", pulid_names.is_of_pulid, pulid_names.find_sources),
    FileNaming("as InstantX numbers blocks", instantx_names.is_of_instantx, instantx_names.find_sources),
    FileNaming("as anima_lora names them", anima_names.is_of_anima, anima_names.find_sources),
)


def find_naming(names: Collection[str]) -> FileNaming | None:
    """How the names of an adapter differ from those of most published files; None where they do not."""
    return next((row for row in NAMINGS if row.fits(names)), None)


def find_sources(named: Mapping[str, Entry]) -> Sources:
    """Where in a file each tensor of an adapter is, by published names; in most files they are its own names.

    Raises UnsupportedCheckpoint when several adapters are in the file.
    """
    naming = find_naming(named)
    return naming.find_sources(named) if naming else {name: (name,) for name in named}
