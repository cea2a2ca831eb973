"""No node of a template lies over another, before or after a run, in the classic canvas and in Nodes 2.0."""

from itertools import combinations
from pathlib import Path

import pytest

from browser.editor import Box, Editor
from live.prompting import forget
from live.ui_graphs import named, originals, read, twins

QUICK = {"steps": 1}
OF_OURS = "() => app.graph.nodes.filter(node => node.type.startsWith('IPA_')).map(node => String(node.id))"

Boxes = dict[str, Box]


def overlapping(boxes: Boxes) -> list[tuple[str, str]]:
    """The nodes that cover one another, by pairs."""
    return [(one, other) for one, other in combinations(boxes, 2) if cover(boxes[one], boxes[other])]


def cover(one: Box, other: Box, least: float = 1) -> bool:
    """Whether two boxes have more than an edge in common."""
    across = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    down = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    return across > least and down > least


def grown(editor: Editor, before: Boxes, after: Boxes) -> list[str]:
    """Our nodes that are larger than they were."""
    ours = editor.page.evaluate(OF_OURS)
    return [id for id in ours if max(after[id].height - before[id].height, after[id].width - before[id].width) > 1]


@pytest.mark.parametrize("path", originals(), ids=named)
def test_no_node_of_a_template_lies_over_another(canvas: Editor, path: Path) -> None:
    canvas.load(read(path), named(path))
    assert overlapping(canvas.boxes()) == []


@pytest.mark.parametrize("path", twins(), ids=named)
def test_none_does_after_a_run_and_none_of_ours_grows(canvas: Editor, path: Path) -> None:
    canvas.load(read(path), named(path))
    before = canvas.boxes()
    forget(canvas.server)  # so that every node runs and shows its text
    canvas.set_widgets(QUICK)
    assert canvas.run() == {}
    after = canvas.boxes()
    assert [overlapping(boxes) for boxes in (before, after)] == [[], []]
    assert grown(canvas, before, after) == []
