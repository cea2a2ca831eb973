"""Lists of pictures and captions, in the file formats that data sets come with."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ..text.wording import shown

_PICTURE = ("file_name", "file", "image", "image_path", "path", "filename")
_CAPTION = ("text", "caption", "prompt", "description")

Row = tuple[str, str]


def rows_of(listing: Path) -> Iterator[Row]:
    """(picture, caption) of every row in a .jsonl, .json, .csv, .tsv or tab separated .txt file.

    Raises ValueError, which names the row, when it cannot be read.
    """
    try:
        text = listing.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        name = shown(listing.name)
        raise ValueError(f"Save {name} as UTF-8; it cannot be read as text ({shown(error)}).") from error
    number = 0
    try:
        for number, row in enumerate(READERS[listing.suffix.lower()](text), start=1):  # noqa: B007, the number is for the error
            yield row
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise ValueError(f"Correct entry {number + 1} of {shown(listing.name)}: {_explain(error)}") from error


def caption_of(text: str) -> str:
    """The caption in the JSON of one example of a shard; empty when it has none."""
    try:
        example = json.loads(text)
    except ValueError:
        return ""
    return _caption(example) if isinstance(example, Mapping) else ""


def _json_lines(text: str) -> Iterator[Row]:
    return (_row(json.loads(line)) for line in text.splitlines() if line.strip())


def _json(text: str) -> Iterator[Row]:
    """Rows of a list of objects, or of one object from picture to caption."""
    loaded = json.loads(text)
    if not isinstance(loaded, Mapping):
        return (_row(entry) for entry in loaded)
    return (_row({"file_name": name, **_read_entry(entry)}) for name, entry in loaded.items())


def _read_entry(entry: Any) -> dict[str, Any]:
    return dict(entry) if isinstance(entry, Mapping) else {"text": entry}


def _table(text: str, delimiter: str) -> Iterator[Row]:
    return (_row(entry) for entry in csv.DictReader(StringIO(text), delimiter=delimiter))


def _read_tabs(text: str) -> Iterator[Row]:
    for line in text.splitlines():
        if line.strip():
            name, tab, caption = line.partition("\t")
            if not tab:
                raise ValueError("there is no tab between the picture and its caption")
            yield name.strip(), caption.strip()


def _row(entry: Any) -> Row:
    if not isinstance(entry, Mapping):
        raise ValueError(f"an object with file_name and text is needed, this is {type(entry).__name__}")
    picture = _first(entry, _PICTURE)
    if picture is None:
        raise ValueError(f"there is no column {' or '.join(_PICTURE)} (found {shown(', '.join(map(str, entry)))})")
    return picture, _caption(entry)


def _caption(entry: Mapping[str, Any]) -> str:
    """The caption of a row, without halves of letters: JSON may contain them, and no tokenizer reads them."""
    return (_first(entry, _CAPTION) or "").encode("utf-8", "replace").decode("utf-8")


def _first(entry: Mapping[str, Any], columns: tuple[str, ...]) -> str | None:
    value = next((entry[column] for column in columns if entry.get(column)), None)
    return value.strip() if isinstance(value, str) else None


def _explain(error: Exception) -> str:
    return f"it is no JSON ({error})" if isinstance(error, json.JSONDecodeError) else f"{shown(error.args[0])}."


# The ending of a list file -> how its text is read.
READERS: dict[str, Callable[[str], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": lambda text: _table(text, ","),
    ".tsv": lambda text: _table(text, "\t"),
    ".txt": _read_tabs,
}
