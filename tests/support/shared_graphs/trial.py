"""A graph of others tried: opened, run, converted to our own nodes, and run again."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from browser.editor import Editor
from comfyui_ip_adapter.ip_adapter_core.migrate.convert import convert
from foreign_shapes import REFUSED
from live.results import ExecutionError, Result, ValidationError
from live.server import Server
from live.ui_graphs import Described
from shared_graphs.cut import cut
from shared_graphs.disk import OLD, fit_embeds, miniature
from shared_graphs.opening import Sent, complaints, sent, switch_on

LEVELS, LEVEL = 256, 1  # of a picture, and what two ways to the same picture may differ by
UNREADABLE = {"this InstantX Flux adapter reads embeds": "an encoder that InstantX's Flux adapter does not read"}
"""Words of a failure -> what a graph asks for that never ran with any pack."""
NOTHING = "no IP-Adapter node leads to a picture"


class Trial(NamedTuple):
    """What became of a graph.

    foreign: how many nodes had no class and were cut away. wrong: what opened otherwise than it was saved.
    failure: why it did not run; empty where it did. old, converted: how many old nodes ran, and how many of them
    have become ours. unlike: why the converted graph does not give the same pictures; empty where it does.
    """

    foreign: int
    wrong: list[str]
    failure: str
    old: int
    converted: int
    unlike: str

    @property
    def ran(self) -> bool:
        """Whether it ran to its end."""
        return not self.failure

    @property
    def refusal(self) -> str:
        """What it asks for, if that is a kind of adapter that is recognised and not run, or a row of UNREADABLE."""
        kinds = {what: what for _, _, what, _ in REFUSED.values()}
        return next((what for words, what in (kinds | UNREADABLE).items() if words in self.failure), "")


def tried(editor: Editor, graph: Mapping[str, Any], name: str, described: Described) -> Trial:
    """Open a graph, run it, convert it and run that. Where all that would run is switched off, it is switched on."""
    wrong = complaints(editor, graph, name)
    given = _sent(editor, graph)
    left = cut(given.prompt, described, bool(given.left_out))
    if not left.prompt:
        switch_on(editor)
        given = _sent(editor, graph)
        left = cut(given.prompt, described, True)
    foreign = given.left_out + left.foreign
    prompt = small(left.prompt)
    old = sum(node["class_type"] in OLD for node in prompt.values())
    if not old:
        return Trial(foreign, wrong, NOTHING, 0, 0, "")
    fit_embeds(editor.server.base / "input", prompt)
    try:
        result = editor.server.run(prompt)
    except (ExecutionError, ValidationError, TimeoutError) as error:
        return Trial(foreign, wrong, str(error), old, 0, "")
    ours = convert(prompt)
    unlike = _unlike(editor.server, ours.graph, result) if ours.converted else ""
    return Trial(foreign, wrong, "", old, ours.converted, unlike)


def _sent(editor: Editor, graph: Mapping[str, Any]) -> Sent:
    """What a program posts, or the editor would."""
    return sent(editor) if "nodes" in graph else Sent(dict(graph))


def small(prompt: dict[str, Any]) -> dict[str, Any]:
    """The prompt with miniatures for what core nodes load and compute."""
    face = any("FaceID" in node["class_type"] for node in prompt.values())
    return {id: miniature(node, face) for id, node in prompt.items()}


def _unlike(server: Server, prompt: dict[str, Any], before: Result) -> str:
    try:
        after = server.run(prompt)
    except (ExecutionError, ValidationError, TimeoutError) as error:
        return str(error)
    both = [id for id, output in before.outputs.items() if "images" in output and "images" in after.outputs.get(id, {})]
    if not both:
        return "there are no pictures to compare"
    apart = max(_apart(before, after, id) for id in both)
    return "" if apart <= LEVEL else f"pictures differ by up to {apart} of 256 levels"


def _apart(one: Result, other: Result, id: str) -> int:
    """Levels; all of them for pictures of another size."""
    pairs = zip(one.images(id), other.images(id), strict=True)
    return max(LEVELS if a.shape != b.shape else int(np.abs(a.astype(int) - b).max()) for a, b in pairs)
