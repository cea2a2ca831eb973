"""The nodes of creative control in whole graphs on a running ComfyUI."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.settings.places import PLACES, Box
from live.graphs import Graph, Node, text_to_image
from live.prompting import OTHER, REFERENCE, Prompted, difference, load, picture
from live.results import PICTURE, ExecutionError, ValidationError
from live.server import Server

ACTS = 1.0  # mean difference in levels, above which a picture is another one
SPAN = {"start": 0.0, "end": 1.0, "unit": "percent"}
STYLE = {"weight_type": "style transfer", "weight": 1.0, "second_weight": 1.0, "custom": ""}
RISING = {"shape": "linear", "start_value": 0.0, "end_value": 1.0, "unit": "steps", "points": "0:1", "n": 0}

Made = Callable[[Graph], dict[str, Any]]


@dataclass(frozen=True)
class Controlled(Prompted):
    """A model hook with more inputs for encoding and applying, each made in the graph."""

    encoding: dict[str, Any] = field(default_factory=dict)
    applying: Made = field(default=lambda graph: {})

    def applied(self, graph: Graph, model: Any, prompt: Any) -> Node:
        """The last step, with the inputs it gets here."""
        graph["encode"]["inputs"] |= self.encoding
        node = super().applied(graph, model, prompt)
        linked = {
            name: [value.id, 0] if isinstance(value, Node) else value for name, value in self.applying(graph).items()
        }
        graph["apply"]["inputs"] |= linked
        return node


def white(graph: Graph, value: float = 1.0) -> Node:
    return graph.add("SolidMask", value=value, width=40, height=24)


def left_half(graph: Graph) -> Node:
    half = graph.add("SolidMask", value=1.0, width=20, height=24)
    return graph.add("MaskComposite", destination=white(graph, 0.0), source=half, x=0, y=0, operation="add")


CONTROLS: dict[str, Made] = {
    "layer weights": lambda graph: {"layer_weights": graph.add("IPA_LayerWeights", "control", **STYLE)},
    "schedule": lambda graph: {"schedule": graph.add("IPA_Schedule", "control", **RISING)},
    "mask": lambda graph: {"mask": left_half(graph)},
    "scaling": lambda graph: {"scaling": "K+V w/ C penalty"},
}


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_makes_another_picture_and_encodes_nothing_again(
    stocked: Server, plain: np.ndarray, prompted: np.ndarray, control: str
) -> None:
    found = stocked.run(text_to_image(Controlled(applying=CONTROLS[control])))
    assert {"adapter", "tower", "encode"} <= found.cached
    assert difference(found.image(), prompted) > ACTS
    assert difference(found.image(), plain) > ACTS


@pytest.mark.parametrize("control", ["layer weights", "schedule"])
def test_what_a_control_does_is_shown_on_its_node(stocked: Server, control: str) -> None:
    graph = text_to_image(Controlled(applying=CONTROLS[control]), seed=11)
    graph.add("PreviewImage", "shown", images=["control", 1])
    result = stocked.run(graph)
    shown = result.image("shown")
    assert min(shown.shape[:2]) >= 300
    assert shown.std() > 5
    assert "control" not in result.outputs or np.array_equal(result.image("control")[..., :3], shown[..., :3])


def test_a_white_mask_is_no_mask_and_a_black_one_no_prompt_bit_for_bit(
    stocked: Server, plain: np.ndarray, prompted: np.ndarray
) -> None:
    for value, expected in ((1.0, prompted), (0.0, plain)):
        hook = Controlled(applying=lambda graph, value=value: {"mask": white(graph, value)})  # type: ignore[misc]
        assert np.array_equal(picture(stocked, hook), expected)


@pytest.mark.parametrize(
    ("encoding", "images"),
    [
        ({"combine": "average"}, (REFERENCE, REFERENCE)),
        ({"combine": "concat", "weights": "1, 0"}, (REFERENCE, OTHER)),
        ({"combine": "separate", "weights": "0.25; 0.75"}, (REFERENCE, REFERENCE)),
        ({"combine": "one per frame"}, (REFERENCE, OTHER)),
    ],
)
def test_images_that_amount_to_one_make_its_picture(
    stocked: Server, prompted: np.ndarray, encoding: dict[str, Any], images: tuple[str, ...]
) -> None:
    assert difference(picture(stocked, Controlled(images=images, encoding=encoding)), prompted) < 0.1


def test_ways_to_combine_make_pictures_of_their_own(stocked: Server) -> None:
    ways = ["concat", "separate", "average", "subtract", "max", "norm average (IPAdapter Plus)"]
    found = [picture(stocked, Controlled(images=(REFERENCE, OTHER), encoding={"combine": way})) for way in ways]
    for number, one in enumerate(found):
        for other in found[:number]:
            assert difference(one, other) > ACTS / 4


def test_every_frame_follows_its_own_reference(stocked: Server) -> None:
    framed = Controlled(images=(REFERENCE, OTHER), encoding={"combine": "one per frame"})
    found = stocked.run(text_to_image(framed, batch=2)).images()
    joined = stocked.run(text_to_image(Prompted(images=(REFERENCE,)), batch=2)).images()
    assert difference(found[0], joined[0]) < 0.1
    assert difference(found[1], joined[1]) > ACTS


def test_tiles_of_a_square_picture_that_are_the_picture_change_nothing(stocked: Server, prompted: np.ndarray) -> None:
    whole = picture(stocked, Controlled(encoding={"detail": "tiles", "tiles": 1}))
    assert difference(whole, prompted) < 0.1
    assert difference(picture(stocked, Controlled(encoding={"detail": "tiles", "tiles": 2})), prompted) > ACTS


def combined(how: str, one: float, other: float) -> Callable[[Graph, Any], Node]:
    """A model hook that applies two prompts as one."""

    def hook(graph: Graph, model: Any) -> Node:
        applied = Prompted()(graph, model)
        inputs = graph["encode"]["inputs"]
        second = graph.add("IPA_Encode", "second", **(inputs | {"image": load(graph, OTHER)}))
        weights: dict[str, Any] = {"first_weight": one, "second_weight": other}
        joined = graph.add("IPA_Combine", first=["encode", 0], second=second, how=how, **weights)
        graph["apply"]["inputs"]["image_prompt"] = joined[0]
        return applied

    return hook


def test_interpolation_ends_at_the_two_prompts(stocked: Server, prompted: np.ndarray) -> None:
    other = picture(stocked, Prompted(images=(OTHER,)))
    assert difference(picture(stocked, combined("interpolate", 1, 0)), prompted) < 0.1
    assert difference(picture(stocked, combined("interpolate", 0, 1)), other) < 0.1
    between = picture(stocked, combined("interpolate", 0.5, 0.5))
    assert min(difference(between, prompted), difference(between, other)) > ACTS


def in_regions(*places: Callable[[Graph], Node] | str) -> Callable[[Graph, Any], Node]:
    """A model hook: the same reference in regions with these masks, or at these places."""

    def hook(graph: Graph, model: Any) -> Any:
        Prompted()(graph, model)
        graph.pop("apply")
        chain: dict[str, Any] = {}
        for place in places:
            where = {"place": place} if isinstance(place, str) else {"mask": place(graph)}
            inputs = {"weight": 1.0, "text_strength": 1.0, **SPAN, **chain, **where}
            chain = {"regions": graph.add("IPA_Region", image_prompt=["encode", 0], **inputs)}
        texts = {side: graph.add("CLIPTextEncode", text=side, clip=["loader", 1]) for side in ("positive", "negative")}
        for node in graph.values():
            if node["class_type"] == "IPA_Region":
                node["inputs"] |= {"positive": [texts["positive"].id, 0]}
        return graph.add("IPA_ApplyRegions", "regions", model=model, **texts, **chain)

    return hook


def test_regions_add_up_to_the_whole(stocked: Server, plain: np.ndarray, prompted: np.ndarray) -> None:
    halves = picture(stocked, in_regions(left_half, lambda graph: graph.add("InvertMask", mask=left_half(graph))))
    assert difference(halves, prompted) < ACTS
    assert difference(picture(stocked, in_regions(left_half)), prompted) > ACTS
    assert difference(picture(stocked, in_regions(left_half)), plain) > ACTS


def drawn(box: Box, width: int = 512, height: int = 384) -> Callable[[Graph], Node]:
    """A part of the picture as core's nodes draw it: white on black."""

    def mask(graph: Graph) -> Node:
        left, right, top, bottom = (
            round(box[0] * width),
            round(box[2] * width),
            round(box[1] * height),
            round(box[3] * height),
        )
        black = graph.add("SolidMask", value=0.0, width=width, height=height)
        part = graph.add("SolidMask", value=1.0, width=right - left, height=bottom - top)
        return graph.add("MaskComposite", destination=black, source=part, x=left, y=top, operation="add")

    return mask


@pytest.mark.parametrize("place", ["left half", "bottom right quarter", "centre"])
def test_a_place_is_the_mask_that_core_draws_bit_for_bit(stocked: Server, place: str) -> None:
    named = picture(stocked, in_regions(place))
    assert np.array_equal(named, picture(stocked, in_regions(drawn(PLACES[place]))))
    assert difference(named, picture(stocked, in_regions("whole picture"))) > ACTS


def test_the_whole_picture_is_a_region_without_an_edge_and_a_mask_goes_before_the_place(stocked: Server) -> None:
    whole = picture(stocked, in_regions("whole picture"))
    assert np.array_equal(whole, picture(stocked, in_regions(white)))
    both = text_to_image(in_regions(left_half))
    for node in both.values():
        if node["class_type"] == "IPA_Region":
            node["inputs"]["place"] = "right half"
    assert np.array_equal(stocked.run(both).image(), picture(stocked, in_regions(left_half)))


def simple(node_type: str, **inputs: Any) -> Callable[[Graph, Any], Node]:
    """A model hook of one node that finds adapter and encoder by itself."""
    return lambda graph, model: graph.add(
        node_type,
        "simple",
        model=model,
        **SPAN,
        kind="any",
        fit="center crop",
        **{name: value(graph) if callable(value) else value for name, value in inputs.items()},
    )


def test_two_pictures_in_one_node_are_two_of_the_simple_node_in_a_row(stocked: Server) -> None:
    one, other = (lambda graph: load(graph, REFERENCE)), (lambda graph: load(graph, OTHER))
    images = {"style_image": one, "composition_image": other}
    weights = {"style_weight": 0.9, "composition_weight": 0.7}
    together = picture(stocked, simple("IPA_StyleComposition", strong_style=False, **images, **weights))

    def apart(graph: Graph, model: Any) -> Node:
        simple("IPA_Simple", image=one, weight=0.9, weight_type="style transfer")(graph, model)
        graph["styled"] = graph.pop("simple")
        return simple("IPA_Simple", image=other, weight=0.7, weight_type="composition")(graph, ["styled", 0])

    assert difference(together, picture(stocked, apart)) < 0.1


@pytest.mark.parametrize(
    ("edit", "node", "words"),
    [
        ({"encode": {"weights": "1, much"}}, "encode", "found 'much'"),
        ({"control": {"shape": "points", "points": "0:1, here"}}, "control", "here"),
        ({"control": {"weight_type": "custom list", "custom": "output.1 = a lot"}}, "control", "a lot"),
    ],
)
def test_texts_that_cannot_be_read_are_refused_on_their_node(
    stocked: Server, edit: dict[str, dict[str, Any]], node: str, words: str
) -> None:
    kind = "layer weights" if "weight_type" in edit.get("control", {}) else "schedule"
    graph = text_to_image(Controlled(applying=CONTROLS[kind]))
    for name, inputs in edit.items():
        graph[name]["inputs"] |= inputs
    with pytest.raises((ValidationError, ExecutionError)) as refused:
        stocked.run(graph)
    mistake = refused.value
    if isinstance(mistake, ExecutionError):
        assert (mistake.node_id, words in mistake.message) == (node, True)
    elif isinstance(mistake, ValidationError):
        assert words in str(mistake.node_errors[node])


def test_animations_run_with_a_reference_for_each_end(stocked: Server) -> None:
    def hook(graph: Graph, model: Any) -> Node:
        framed = Controlled(images=(REFERENCE, OTHER), encoding={"combine": "one per frame"})
        applied = framed(graph, model)
        way = {"frames": 3, "shape": "linear", "hold": 0.0, "loop": False, "key_frames": ""}
        spread = graph.add("IPA_Transition", "transition", image_prompt=["encode", 0], **way)
        graph["apply"]["inputs"]["image_prompt"] = spread[0]
        return applied

    found = stocked.run(text_to_image(hook, batch=3)).images(PICTURE)
    first, last = (
        stocked.run(text_to_image(Prompted(images=(name,)), batch=3)).images()[index]
        for name, index in ((REFERENCE, 0), (OTHER, 2))
    )
    assert difference(found[0], first) < 0.1
    assert difference(found[2], last) < 0.1
