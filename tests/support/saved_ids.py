"""What files of users name of this package: ids of nodes, inputs, outputs and options. It may only grow.

The record is saved_ids.json. After adding a node, an input, an output or an option:
    python .ci/develop/bring.py run -- python tests/support/saved_ids.py
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from package import ROOT
from schemas import OPEN_LISTS, options, parts, schemas

RECORD = Path(__file__).with_suffix(".json")

Names = dict[str, Any]


def recorded() -> Names:
    """What the record has, by the id of a node."""
    found: Names = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def today() -> Names:
    """What the nodes have, in the form of the record."""
    return {
        node: {
            "inputs": {given.id: [] if (node, given.id) in OPEN_LISTS else options(given) for given in schema.inputs},
            "outputs": [output.display_name for output in schema.outputs],
        }
        for node, schema in (schemas() | parts()).items()
    }


def merged() -> Names:
    """The record with what today's nodes have beside it; equal to the record where they have nothing new."""
    known, found = recorded(), today()
    return {node: _merged(known.get(node, {}), found.get(node, {})) for node in {**known, **found}}


def write() -> None:
    """Record what there is today beside all that was there before."""
    lines = (f'"{node}": {json.dumps(names)}' for node, names in merged().items())
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _merged(known: Names, found: Names) -> Names:
    inputs = {**known.get("inputs", {}), **found.get("inputs", {})}
    words = {
        name: list(dict.fromkeys([*known.get("inputs", {}).get(name, []), *found.get("inputs", {}).get(name, [])]))
        for name in inputs
    }
    return {"inputs": words, "outputs": found.get("outputs") or known.get("outputs", [])}


if __name__ == "__main__":
    sys.path.append(str(ROOT / ".ci"))
    from develop.inprocess import enter

    with tempfile.TemporaryDirectory() as folder:
        enter(Path(folder))
        write()
