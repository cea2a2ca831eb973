"""Turns the nodes of IPAdapter Plus in a graph into those of this package, in either format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from ..compat.shapes import normalise_graph, normalise_prompt
from ..compat.ui_graph import levels
from . import editor, prompts, writing
from .decide import Decided, decide
from .ours import ALL
from .sheet import RIGHT, Key, Node, Sheet, Way

_PROMPT = "prompt"  # of a body as it is sent to the server


class Converted(NamedTuple):
    """A graph with new nodes.

    lines: the report, a line for each old node. converted, stayed: how many of them did.
    """

    graph: dict[str, Any]
    lines: list[str]
    converted: int
    stayed: int

    def summary(self) -> str:
        """The report in one sentence."""
        total = self.converted + self.stayed
        return f"{self.converted} of {total} IPAdapter Plus nodes converted, {self.stayed} stay as they are."


def convert(graph: Mapping[str, Any], way: Way = RIGHT) -> Converted:
    """A graph of the editor, or a prompt of the API, with our nodes wherever they do the same.

    The given graph is left as it is. Raises ValueError for what is neither, and where parts of it cannot be read.
    """
    try:
        return _convert(graph, way)
    except (TypeError, AttributeError, LookupError, RecursionError) as error:
        raise ValueError(
            f"Open the graph in the editor and save it again: a part of it cannot be read ({error})."
        ) from error


def _convert(graph: Mapping[str, Any], way: Way) -> Converted:
    made = deepcopy(dict(graph))
    if prompts.is_prompt(made.get(_PROMPT)):
        inner = _convert_prompt(made[_PROMPT], way)
        return inner._replace(graph=made | {_PROMPT: inner.graph})
    if prompts.is_prompt(made):
        return _convert_prompt(made, way)
    if not isinstance(made.get("nodes"), list):
        raise ValueError(
            "Give a graph that the editor saved, or a prompt for the API: found neither nodes nor classes."
        )
    return _convert_graph(made, way)


def _convert_prompt(prompt: dict[str, Any], way: Way) -> Converted:
    shaped = deepcopy(prompt)
    normalise_prompt(shaped)
    sheet = prompts.read(shaped)
    decided = decide(sheet, way)
    graph = prompts.write(prompt, decided) if decided.plans else prompt
    return Converted(graph, list(_report(sheet, decided, "")), len(decided.plans), len(decided.stay))


def _convert_graph(graph: dict[str, Any], way: Way) -> Converted:
    shaped = deepcopy(graph)
    normalise_graph(shaped)
    shown, counters = editor.shown_widgets(graph), editor.Counters(graph)
    lines: list[str] = []
    converted = stayed = 0
    for level, in_shape in zip(levels(graph), levels(shaped), strict=True):
        sheet = editor.read(in_shape, shown.get(str(level.content.get("id")), set()))
        decided = decide(sheet, way)
        writing.write(level, in_shape, decided, counters)
        lines += _report(sheet, decided, level.name)
        converted, stayed = converted + len(decided.plans), stayed + len(decided.stay)
    return Converted(graph, lines, converted, stayed)


def _report(sheet: Sheet, decided: Decided, level: str) -> Iterator[str]:
    place = f" in {level}" if level else ""
    for node in sheet.old():
        yield f"{node.row.name} (node {_shown(node.key)}{place}): {_fate(node, decided)}."


def _fate(node: Node, decided: Decided) -> str:
    if node.key in decided.stay:
        return f"stays as it is: {decided.stay[node.key]}"
    parts = decided.plans[node.key].parts
    names = dict.fromkeys(ALL[part.node].name for part in parts)
    return " + ".join(names) or "stands on the nodes behind it"


def _shown(key: Key) -> object:
    return key[1] if isinstance(key, tuple) else key
