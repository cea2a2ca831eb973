"""Moodboards in whole graphs on a running ComfyUI: what they equal, and what they refuse."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.plots.moodboard import ROW, TOGETHER, WIDTH
from live import specimens
from live.graphs import Graph, Node, text_to_image
from live.prompting import OTHER, REFERENCE, Prompted, difference, load, picture
from live.results import ExecutionError
from live.server import Server

ACTS = 1.0  # mean difference in levels, above which a picture is another one
TYPES = {"all": "linear", "style": "style transfer", "composition": "composition"}


class Use(NamedTuple):
    """A picture of a board; more: other inputs of its node."""

    image: str
    role: str = "all"
    strength: float = 1.0
    more: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Board:
    """A model hook: the model follows a moodboard with these pictures."""

    uses: tuple[Use, ...]
    weight: float = 1.0
    span: tuple[float, float, str] = (0.0, 1.0, "percent")

    def __call__(self, graph: Graph, model: Any) -> Node:
        adapter, tower = loaders(graph)
        start, end, unit = self.span
        cards = {
            f"pictures.picture{number}": graph.add(
                "IPA_MoodboardPicture",
                f"card {number}",
                image=load(graph, use.image),
                role=use.role,
                strength=use.strength,
                **dict(use.more),
            )
            for number, use in enumerate(self.uses, 1)
        }
        inputs = {"model": model, "ip_adapter": adapter, "clip_vision": tower, "weight": self.weight}
        return graph.add("IPA_Moodboard", "board", **inputs, start=start, end=end, unit=unit, **cards)


def loaders(graph: Graph) -> tuple[Node, Node]:
    adapter = graph.add("IPA_LoadAdapter", "adapter", file=specimens.named("base.safetensors"))
    return adapter, graph.add("IPA_LoadVision", "tower", file=specimens.named("tower.safetensors"), activation="auto")


def chain(*uses: Use, weight: float = 1.0, start: float = 0.0, end: float = 1.0) -> Any:
    """A model hook: the same by hand, with nodes for each picture."""

    def hook(graph: Graph, model: Any) -> Any:
        adapter, tower = loaders(graph)
        for use in uses:
            image = load(graph, use.image)
            files = {"ip_adapter": adapter, "clip_vision": tower}
            prompt = graph.add("IPA_Encode", image=image, fit="center crop", **files)
            kind = {"weight_type": TYPES[use.role], "weight": 1.0, "second_weight": 1.0, "custom": ""}
            layers = graph.add("IPA_LayerWeights", **kind)
            own = {"weight": weight * use.strength, "start": start, "end": end, "unit": "percent"}
            model = graph.add("IPA_Apply", model=model, image_prompt=prompt, layer_weights=layers, **own)
        return model

    return hook


MIXED = (Use(REFERENCE, "style", 0.8), Use(OTHER, "composition", 1.2))


def test_a_board_is_the_chain_of_nodes_bit_for_bit(stocked: Server, plain: np.ndarray) -> None:
    mixed = picture(stocked, Board(MIXED, 0.75, (0.1, 0.9, "percent")))
    assert np.array_equal(mixed, picture(stocked, chain(*MIXED, weight=0.75, start=0.1, end=0.9)))
    assert difference(mixed, plain) > ACTS


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
