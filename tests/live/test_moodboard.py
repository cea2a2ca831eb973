"""Moodboards in whole graphs on a running ComfyUI: what they equal, and what they refuse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.plots.moodboard import ROW, TOGETHER, WIDTH
from live.boards import Board, Use, loaders, place_and_time
from live.graphs import Graph, text_to_image
from live.prompting import OTHER, REFERENCE, WIDE, Prompted, difference, load, picture
from live.results import ExecutionError
from live.server import Server
from live.specimens import named

ACTS = 1.0  # mean difference in levels, above which a picture is another one
TYPES = {"all": "linear", "style": "style transfer", "composition": "composition"}


def chain(*uses: Use, weight: float = 1.0, spans: Sequence[tuple[float, float, str]], placed: bool = False) -> Any:
    """A model hook: the same by hand, with nodes for each picture, which acts in its span."""

    def hook(graph: Graph, model: Any) -> Any:
        adapter, tower = loaders(graph)
        everywhere = place_and_time(graph) if placed else {}
        for use, (start, end, unit) in zip(uses, spans, strict=True):
            fit = dict(use.more).get("fit", "center crop")
            prompt = graph.add("IPA_Encode", ip_adapter=adapter, clip_vision=tower, fit=fit, **use.read(graph))
            kind = {"weight_type": TYPES[use.role], "weight": 1.0, "second_weight": 1.0, "custom": ""}
            layers = graph.add("IPA_LayerWeights", **kind)
            own = {"weight": weight * use.strength, "start": start, "end": end, "unit": unit, **everywhere}
            model = graph.add("IPA_Apply", model=model, image_prompt=prompt, layer_weights=layers, **own)
        return model

    return hook


MIXED = (Use(REFERENCE, "style", 0.8), Use(OTHER, "composition", 1.2))


def test_a_board_is_the_chain_of_nodes_bit_for_bit(stocked: Server, plain: np.ndarray) -> None:
    mixed = picture(stocked, Board(MIXED, 0.75, (0.1, 0.9, "percent")))
    assert np.array_equal(mixed, picture(stocked, chain(*MIXED, weight=0.75, spans=[(0.1, 0.9, "percent")] * 2)))
    assert difference(mixed, plain) > ACTS


TIMED = (
    Use(WIDE, "style", 0.8, more=(("start", 0.25), ("fit", "pad"))),
    Use(OTHER, "all", 0.6, mask=OTHER, more=(("start", 0.5), ("end", 0.75))),
    Use(REFERENCE, "composition", 1.2, mask=REFERENCE, more=(("end", 0.5),)),
)
"""Pictures that have all that a picture may have of its own."""
SPANS = {
    "percent": ((0.2, 0.8), [(0.35, 0.8), (0.5, 0.65), (0.2, 0.5)]),
    "steps": ((0, 8), [(2, 8), (4, 6), (0, 4)]),
}
"""When a board acts, and when each of these pictures does then."""


@pytest.mark.parametrize("placed", [False, True], ids=["everywhere", "with mask and schedule"])
@pytest.mark.parametrize("unit", SPANS)
def test_times_and_masks_of_pictures_are_those_of_the_chain_bit_for_bit(
    stocked: Server, unit: str, placed: bool
) -> None:
    (start, end), spans = SPANS[unit]
    mixed = picture(stocked, Board(TIMED, 0.75, (start, end, unit), placed), steps=8)
    by_hand = chain(*TIMED, weight=0.75, spans=[(*span, unit) for span in spans], placed=placed)
    assert np.array_equal(mixed, picture(stocked, by_hand, steps=8))
    bare = tuple(use._replace(mask=None, more=()) for use in TIMED)
    assert difference(mixed, picture(stocked, Board(bare, 0.75, (start, end, unit), placed), steps=8)) > ACTS / 10


def test_a_picture_of_strength_zero_is_not_there_bit_for_bit(stocked: Server, plain: np.ndarray) -> None:
    one = picture(stocked, Board((Use(REFERENCE), Use(OTHER, "style", 0.0))))
    assert np.array_equal(one, picture(stocked, Board((Use(REFERENCE),))))
    assert np.array_equal(one, picture(stocked, Prompted()))
    assert np.array_equal(picture(stocked, Board((Use(REFERENCE, strength=0.0),))), plain)
    assert np.array_equal(picture(stocked, Board((Use(REFERENCE),), weight=0.0)), plain)


def test_what_is_avoided_acts_on_the_negative_side_alone(stocked: Server, plain: np.ndarray) -> None:
    avoiding = Board((Use(REFERENCE, "avoid"),))
    assert difference(picture(stocked, avoiding), plain) > ACTS
    without_guidance = [stocked.run(text_to_image(hook, cfg=1.0)).image() for hook in (avoiding, Prompted(weight=0.0))]
    assert np.array_equal(*without_guidance)


def test_a_picture_has_a_time_of_its_own(stocked: Server) -> None:
    halves = Board((Use(REFERENCE, more=(("start", 0.5),)),), span=(0.2, 0.8, "percent"))
    assert np.array_equal(picture(stocked, halves), picture(stocked, Prompted(span=(0.5, 0.8, "percent"))))


def test_the_board_shows_its_pictures(stocked: Server) -> None:
    graph = text_to_image(Board(MIXED), seed=23)
    graph.add("PreviewImage", "shown", images=["board", 1])
    shown = stocked.run(graph).image("shown")
    assert shown.shape == (2 * ROW + TOGETHER, WIDTH, 3)
    assert shown.std() > 5


def test_sockets_may_be_free_between_others(stocked: Server, prompted: np.ndarray) -> None:
    graph = text_to_image(Board((Use(OTHER), Use(REFERENCE))))
    del graph["board"]["inputs"]["pictures.picture1"]
    assert np.array_equal(stocked.run(graph).image(), prompted)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda graph: graph["board"]["inputs"].pop("pictures.picture1"), "Connect a Moodboard Picture to pictures"),
        (
            lambda graph: graph["board"]["inputs"].update({"pictures.picture1": ["adapter", 0]}),
            "MOODBOARD_PICTURE",
        ),
        (lambda graph: graph["board"]["inputs"].update({"pictures.picture1": 5}), "Connect picture1 to a node"),
        (lambda graph: graph["card 1"]["inputs"].update(start=0.9, end=0.1), "Set start to at most end"),
    ],
)
def test_mistakes_are_told_in_words(stocked: Server, wrong: Any, words: str) -> None:
    graph = text_to_image(Board((Use(REFERENCE),)))
    wrong(graph)
    with pytest.raises(Exception, match=words) as told:
        stocked.run(graph)
    if isinstance(told.value, ExecutionError):
        assert told.value.node_id == ("card 1" if "start" in words else "board")


def test_each_picture_may_have_an_instruction_of_its_own_bit_for_bit(stocked: Server) -> None:
    adapter, told = named("Instruct.safetensors"), ("use the style", "use the pose")

    def instructed(graph: Graph, words: str) -> Any:
        return graph.add("IPA_Instruction", clip=["loader", 1], instruction=words, prompt="a red apple")

    def by_nodes(graph: Graph, model: Any) -> Any:
        loaded, tower = loaders(graph, adapter)
        for image, words in zip((REFERENCE, OTHER), told, strict=True):
            inputs = {"image": load(graph, image), "fit": "center crop", "instruction": instructed(graph, words)}
            prompt = graph.add("IPA_Encode", ip_adapter=loaded, clip_vision=tower, **inputs)
            applied = {"weight": 1.0, "start": 0.0, "end": 1.0, "unit": "percent"}
            model = graph.add("IPA_Apply", model=model, image_prompt=prompt, **applied)
        return model

    graph = text_to_image(Board((Use(REFERENCE), Use(OTHER))))
    graph["adapter"]["inputs"]["file"] = adapter
    with pytest.raises(ExecutionError) as failed:
        stocked.run(graph)
    assert failed.value.message.startswith("Connect Image Prompt Instruction to the instruction of")
    assert failed.value.message.endswith("This is so in picture 1 of the moodboard.")
    for number, words in enumerate(told, 1):
        graph[f"card {number}"]["inputs"]["instruction"] = instructed(graph, words)[0]
    assert np.array_equal(stocked.run(graph).image(), picture(stocked, by_nodes))
