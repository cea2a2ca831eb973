"""Which file is meant by a name that no file has: another separator, folder or ending, or a renamed file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from ..adapters.identity import Identity
from ..layers.families import FAMILIES
from .choose import KINDS, fitting

_SEPARATORS = re.compile(r"[\\/]+")
_ENDING = re.compile(r"\.[a-z0-9]+$", re.IGNORECASE)
_NO_LETTERS = re.compile(r"[^a-z0-9]+")

# What words in the names of published files say; the first row that is found counts.
_OTHERS = "flux", "sd3", "hunyuan", "instant", "anima", "photomaker"
_FAMILY_WORDS = (
    *((word, "none of ours") for word in _OTHERS),
    ("kolors", "Kolors"),
    ("pulid", "SDXL"),
    ("xl", "SDXL"),
    ("sd2", "SD2"),
    ("sd1", "SD1.5"),
    ("ipadapter", "SD1.5"),
)
_OF_SEVERAL = "ipadapter"  # what the files of InstantID and others are called
_UNNORMED = "unnorm"

# What names say of versions of one kind; the first pattern that is found counts. A name without a number is the older.
_VERSIONS = (
    (r"faceid.*plusv2", "FaceID-Plus v2"),
    (r"faceid.*plus", "FaceID-Plus v1"),
    (r"pulid.*11", "PuLID v1.1"),
    (r"pulid", "PuLID v1"),
)
_KIND_WORDS = (
    ("pulid", "PuLID"),
    ("instruct", "Instruct"),
    ("portrait", "portrait"),
    ("faceidplus", "FaceID-Plus"),
    ("faceid", "FaceID"),
    ("composition", "composition"),
    ("fullface", "full face"),
    ("plusface", "plus face"),
    ("plus", "plus"),
    ("light", "light"),
    ("", "base"),
)


def find_by_name(name: str, names: Iterable[str]) -> str | None:
    """The file that a name means: as it is, with other separators, in another folder, with another ending, or written
    with other blanks and capitals. None where no file is so called."""
    listed = sorted(names)
    for simplify in _FORMS:
        wanted = simplify(name)
        for listed_name in listed:
            if simplify(listed_name) == wanted:
                return listed_name
    return None


def find_by_tensors(name: str, adapters: Mapping[str, Identity]) -> str | None:
    """The adapter that is what a name says: its words for base model and kind, held against tensors.

    None where no adapter is that, and for a name that says nothing of a base model or an adapter. Without a word for
    the kind it is the base kind.
    """
    letters = _letters(name)
    family = next((family for word, family in _FAMILY_WORDS if word in letters), None)
    kind = next(kind for word, kind in _KIND_WORDS if word in letters)
    geometry = FAMILIES.get("SDXL" if family == "Kolors" else str(family))
    if geometry is None or kind not in KINDS or letters == _OF_SEVERAL:
        return None
    found = fitting(adapters, geometry, kind, family)
    return next(iter(sorted(found, key=lambda other: _differs(letters, adapters[other]))), None)


def _differs(letters: str, identity: Identity) -> tuple[bool, bool, bool]:
    """What else a name says and an adapter is not: normed or not, its version, and its encoder."""
    kind = identity.variant.name
    version = next((version for pattern, version in _VERSIONS if re.search(pattern, letters)), kind)
    unnormed = (_UNNORMED in letters) != (_UNNORMED in kind)
    return unnormed, version != kind, _encoder_word(letters) not in (identity.encoder or "")


def _encoder_word(letters: str) -> str:
    """A part of the encoder's name; of adapters for SDXL without a word for it, the base one reads the larger one."""
    if "vitg" in letters:
        return "bigG"
    if "vith" in letters or "sd15" in letters:
        return "H-14"
    return "bigG" if ("xl" in letters and "plus" not in letters) else ""


def _posix(name: str) -> str:
    return _SEPARATORS.sub("/", name)


def _base(name: str) -> str:
    return _posix(name).rsplit("/", maxsplit=1)[-1]


def _stem(name: str) -> str:
    return _ENDING.sub("", _base(name))


def _letters(name: str) -> str:
    return _NO_LETTERS.sub("", _stem(name).lower())


_FORMS: tuple[Callable[[str], str], ...] = (str, _posix, _base, _stem, _letters)
"""Ever less of a name, in the order in which files are asked."""
