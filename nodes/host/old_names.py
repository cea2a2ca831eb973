"""Files of saved graphs under the names that they have here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...ip_adapter_core.catalogue.by_name import find_by_name, find_by_tensors
from ...ip_adapter_core.text.wording import shown
from . import faces, files

_FACE_PACKS = ("buffalo_l", "antelopev2", "auraface")
"""Packs of face networks that graphs name; each reads faces for the same adapters."""


class Match(NamedTuple):
    """A file that is there.

    name: as it is picked here.
    remark: what differs from the name in the graph; empty if nothing does.
    """

    name: str
    remark: str = ""


def among(listed: Iterable[str], name: str) -> Match | None:
    """The listed file that a name means; None where none does."""
    found = find_by_name(name, listed)
    if found is None:
        return None
    return Match(found, "" if found == name else f"Took {found} for {shown(name)}.")


def find(category: str, name: str) -> Match:
    """The file of a category that a name means; of adapters also the one that is what the name says.

    Raises ValueError where there is none.
    """
    found = among(files.names(category), name)
    if found is not None:
        return found
    alike = find_by_tensors(name, files.adapters()) if category == files.ADAPTERS else None
    if alike is None:
        files.path(category, name)  # says where it was looked for
        raise ValueError(f"Choose another file; found none like {shown(name)}.")
    return Match(alike, f"Took {files.describe(category, alike)}, as there is no {shown(name)}.")


def complaint(category: str, name: str | None) -> str | None:
    """Why there is no file that a name means, or it cannot be used; None if nothing is wrong. As `files.complaint`."""
    try:
        return files.complaint(category, name if name is None else find(category, name).name)
    except ValueError as error:
        return str(error)


def fingerprint(category: str, name: str | None) -> files.Fingerprint:
    """Changes when the file that a name means is exchanged, or another one is meant."""
    try:
        return files.fingerprint(category, name if name is None else find(category, name).name)
    except ValueError:
        return files.fingerprint(category, None)


def face_model(name: str = _FACE_PACKS[0]) -> Match:
    """The pack of face networks that a name means; for one of those that graphs name, the first that is there, but
    never the demo's.

    A name that means none comes back as it is.
    """
    real = faces.real_names()
    if name in faces.names() or not real or name not in _FACE_PACKS:
        return Match(name)
    return Match(real[0], f"Took the face model {real[0]}, as there is no {shown(name)}.")


def face_file(name: str) -> Match | None:
    """The pack of face networks that a name of one of their files means, as templates have it so that the editor's
    dialog of missing models lists the file; None where no pack is here, and for names of packs."""
    folder, _, file = name.rpartition("/")
    found = face_model(folder).name
    return Match(found) if folder and file.endswith(".onnx") and found in faces.names() else None


def instantid_file(name: str) -> Match | None:
    """The adapter that feeds a ControlNet and is meant by a name; of a name that none of them has, the first.

    Its file is called as those of other kinds are, so only such adapters are asked. None where there is none.
    """
    fitting = sorted(listed for listed, identity in files.adapters().items() if identity.variant.feeds_control)
    meant = among(fitting, name)
    if meant is not None or not fitting:
        return meant
    return Match(fitting[0], f"Took {fitting[0]}, as there is no {shown(name)}.")
