"""Files of saved graphs under the names that they have here."""

from __future__ import annotations

from typing import NamedTuple

from ...ip_adapter_core.catalogue.by_name import find_by_name, find_by_tensors
from ...ip_adapter_core.text.wording import shown
from . import faces, files

_PREFERRED_FACES = "buffalo_l"


class Match(NamedTuple):
    """A file that is there.

    name: as it is picked here.
    remark: what differs from the name in the graph; empty if nothing does.
    """

    name: str
    remark: str = ""


def adapter(name: str) -> Match:
    """The adapter file that a name means. Raises ValueError where there is none."""
    listed = files.names(files.ADAPTERS)
    found = find_by_name(name, listed)
    if found == name:
        return Match(name)
    if found is not None:
        return Match(found, f"Took {found} for {shown(name)}.")
    alike = find_by_tensors(name, files.adapters())
    if alike is None:
        files.path(files.ADAPTERS, name)  # says where it was looked for
        raise ValueError(f"Choose another file; found no adapter like {shown(name)}.")
    return Match(alike, f"Took {files.describe(files.ADAPTERS, alike)}, as there is no {shown(name)}.")


def face_model(name: str = _PREFERRED_FACES) -> Match:
    """The pack of face networks that a name means; where it is not there, the first that is. Raises ValueError where
    there is none."""
    listed = faces.names()
    if name in listed or not listed:
        return Match(name if listed else faces.NONE)
    return Match(listed[0], f"Took the face model {listed[0]}, as there is no {shown(name)}.")
