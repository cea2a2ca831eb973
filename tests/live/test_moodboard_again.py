"""What a server does anew when something of a moodboard changes: encoders read no picture that they have read."""

from collections.abc import Callable
from typing import Any

import pytest

from live.boards import Board, Use
from live.graphs import Graph, text_to_image
from live.listening import run_counting
from live.prompting import OTHER, REFERENCE, WIDE, blobs, forget, load
from live.server import Server

AFTER = {"sampler", "decode", "picture"}
BOARD = (Use(REFERENCE, "style", 0.8), Use(OTHER, "composition", 0.6, mask=OTHER), Use(WIDE, "avoid", 0.5))

Change = Callable[[Graph], None]


def graph() -> Graph:
    made = text_to_image(Board(BOARD, 0.75, placed=True))
    made["picture"]["inputs"]["filename_prefix"] = "board"  # so that the same graph is the same
    return made


def setting(node: str, **inputs: Any) -> Change:
    return lambda graph: graph[node]["inputs"].update(inputs)


def another_mask(node: str, name: str) -> Change:
    def change(graph: Graph) -> None:
        graph[node]["inputs"][name] = [graph.add("LoadImageMask", "mask", image=OTHER, channel="blue").id, 0]

    return change


def another_picture(graph: Graph) -> None:
    graph["card 1"]["inputs"]["image"] = [load(graph, "second.png").id, 0]


def one_more(graph: Graph) -> None:
    card = graph.add("IPA_MoodboardPicture", "card 4", image=load(graph, "fourth.png"), role="all", strength=0.3)
    graph["board"]["inputs"]["pictures.picture4"] = [card.id, 0]


def one_less(graph: Graph) -> None:
    del graph["board"]["inputs"]["pictures.picture2"]


CHANGES: dict[str, tuple[Change, set[str]]] = {
    "weight": (setting("board", weight=0.5), set()),
    "time": (setting("board", start=0.2, end=0.7), set()),
    "unit": (setting("board", end=2.0, unit="steps"), set()),
    "schedule": (setting("schedule", start_value=0.5), {"schedule"}),
    "mask": (another_mask("board", "mask"), {"mask"}),
    "strength of a picture": (setting("card 1", strength=0.3), {"card 1"}),
    "role of a picture": (setting("card 2", role="all"), {"card 2"}),
    "time of a picture": (setting("card 3", start=0.3, end=0.6), {"card 3"}),
    "a picture less": (one_less, set()),
}
"""A change that reads nothing -> the nodes before the board that run."""


@pytest.fixture(scope="module")
def looked_at(stocked: Server) -> Server:
    """A server that has run the board."""
    forget(stocked)
    for seed, name in enumerate(("second.png", "fourth.png"), 7):
        stocked.upload(name, blobs(seed, 64, 64))
    work = run_counting(stocked, graph())
    assert work.pictures["board"] == len(BOARD)
    assert run_counting(stocked, graph()).nodes == set()
    return stocked


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reads_no_picture_and_runs_only_what_follows_it(looked_at: Server, change: str) -> None:
    changed = graph()
    alter, before = CHANGES[change]
    alter(changed)
    run_counting(looked_at, graph())
    work = run_counting(looked_at, changed)
    assert work.pictures["board"] == 0
    assert work.nodes == {*before, "board", *AFTER}


READ: dict[str, Change] = {
    "another picture": another_picture,
    "a picture more": one_more,
    "another part of a picture": another_mask("card 2", "reference_mask"),
}


@pytest.mark.parametrize("change", READ)
def test_only_the_picture_that_is_new_is_read_and_what_was_there_is_kept(looked_at: Server, change: str) -> None:
    changed = graph()
    READ[change](changed)
    run_counting(looked_at, graph())
    assert run_counting(looked_at, changed).pictures["board"] == 1
    assert run_counting(looked_at, graph()).pictures["board"] == 0
