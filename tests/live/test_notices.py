"""A node whose settings leave an image prompt nothing to do says so, and the picture is the model's own."""

from typing import Any

import numpy as np
import pytest

from live.graphs import Graph, Node, text_to_image
from live.listening import run_listening
from live.prompting import OTHER, REFERENCE, Prompted, Simply, load
from live.server import Server

WEIGHT = "weight is 0, so that this image prompt does nothing"
SPAN = "From start to end there is no step"


def applied(graph: Graph, model: Any, **inputs: Any) -> Node:
    prompted = Prompted()(graph, model)
    graph["apply"]["inputs"].update(inputs)
    return prompted


def by_one_node(graph: Graph, model: Any, **inputs: Any) -> Node:
    prompted = Simply()(graph, model)
    graph["simple"]["inputs"].update(inputs)
    return prompted


def two_pictures(graph: Graph, model: Any, **inputs: Any) -> Node:
    images = {"style_image": load(graph, REFERENCE), "composition_image": load(graph, OTHER)}
    settings = {"style_weight": 0.5, "composition_weight": 0.5, "start": 0.0, "end": 1.0} | inputs
    return graph.add("IPA_StyleComposition", "two", model=model, **images, **settings)


def muted(graph: Graph, model: Any) -> Node:
    layers = graph.add("IPA_LayerWeights", weight_type="linear", weight=0.0, second_weight=1.0, custom="")
    return applied(graph, model, layer_weights=layers[0])


NOTHING: dict[str, tuple[Any, str, list[str]]] = {
    "Apply, weight": (lambda *on: applied(*on, weight=0.0), "apply", [WEIGHT]),
    "Apply, end": (lambda *on: applied(*on, end=0.0), "apply", [SPAN]),
    "Apply, steps": (lambda *on: applied(*on, start=2.0, end=2.0, unit="steps"), "apply", [SPAN]),
    "Apply, layers": (muted, "apply", ["The layer weights give every layer 0"]),
    "IP-Adapter": (lambda *on: by_one_node(*on, weight=0.0, end=0.0), "simple", [WEIGHT, SPAN]),
    "Style and Composition": (
        lambda *on: two_pictures(*on, style_weight=0.0, composition_weight=0.0),
        "two",
        ["style_weight is 0, so that the style image", "composition_weight is 0, so that the composition image"],
    ),
}
"""A model hook, its node that shows text, and what it says."""


@pytest.mark.parametrize("case", NOTHING)
def test_a_node_says_that_its_image_prompt_does_nothing(stocked: Server, plain: np.ndarray, case: str) -> None:
    hook, node, says = NOTHING[case]
    graph = text_to_image(hook)
    shown = run_listening(stocked, graph)[node]["text"]
    assert all(any(line.startswith(words) for line in shown) for words in says), shown
    assert np.array_equal(stocked.run(graph).image(), plain)


@pytest.mark.parametrize("hook", [applied, two_pictures])
def test_a_node_whose_image_prompt_acts_says_nothing_of_it(stocked: Server, hook: Any) -> None:
    told = run_listening(stocked, text_to_image(hook))
    assert not any("nothing" in line or SPAN in line for shown in told.values() for line in shown.get("text", ()))
