"""The saved form of every node in each version that was published, as its schema had it: released/VERSION.json.

Graphs keep the values of a node by position and name. So what a version has keeps its order in later ones, and what is
new comes after it. `make release-names` writes the record of the version in pyproject.toml, and never writes over one.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2] / ".ci"))

from develop.inprocess import enter
from develop.ready import RELEASED, settings
from saved_ids import today

Forms = Mapping[str, Mapping[str, Any]]  # node -> its inputs with the words of their menus, and its outputs


def changes(before: Forms, after: Forms) -> list[str]:
    """What files of an earlier version would miss in a later one, a sentence each; nothing where it only grew."""
    return [sentence for node, form in before.items() for sentence in _of_node(node, form, after.get(node))]


def _of_node(node: str, before: Mapping[str, Any], after: Mapping[str, Any] | None) -> list[str]:
    if after is None:
        return [f"Bring {node} back."]
    pairs = {
        "the inputs": (list(before["inputs"]), list(after["inputs"])),
        "the outputs": (before["outputs"], after["outputs"]),
    }
    found = [
        f"Let {what} of {node} begin with {old}; found {new}."
        for what, (old, new) in pairs.items()
        if new[: len(old)] != old
    ]
    gone = {name: set(words) - set(after["inputs"].get(name, words)) for name, words in before["inputs"].items()}
    return found + [f"Bring {sorted(words)} back to {name} of {node}." for name, words in gone.items() if words]


def records() -> dict[str, Forms]:
    """The record of each published version."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RELEASED.glob("*.json"))}


def write(forms: Forms) -> Path:
    """Record the forms of the version in pyproject.toml. Raises SystemExit where that has a record."""
    place = RELEASED / f"{settings()['project']['version']}.json"
    if place.exists():
        raise SystemExit(f"Raise the version in pyproject.toml: {place.name} has been recorded.")
    RELEASED.mkdir(exist_ok=True)
    lines = (f'"{node}": {json.dumps(form)}' for node, form in forms.items())
    place.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return place


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        enter(Path(folder))
        print(write(today()))
