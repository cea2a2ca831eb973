"""References that are read in part, in whole graphs on a running ComfyUI: only what a mask leaves acts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from live import faces
from live.faces import Faced
from live.graphs import Graph, Node, text_to_image
from live.prompting import OTHER, REFERENCE, Prompted, Simply, difference, forget, load, stock
from live.results import ExecutionError, Result
from live.server import Server
from live.specimens import named

ACTS = 1.0  # mean difference in levels, above which a picture is another one
SIDE = 64  # of the references


@pytest.fixture(scope="module")
def stocked(server: Server) -> Server:
    """A server with everything that these graphs name, faces included."""
    return stock(faces.stock(server))


def left_half(graph: Graph) -> Node:
    plain = graph.add("SolidMask", value=0.0, width=SIDE, height=SIDE)
    half = graph.add("SolidMask", value=1.0, width=SIDE // 2, height=SIDE)
    return graph.add("MaskComposite", destination=plain, source=half, x=0, y=0, operation="add")


@dataclass(frozen=True)
class InPart:
    """A model hook: the model follows the left half of the reference, or all of it.

    hook: what reads the reference, by the node with the id `node`.
    other: whether the right half is that of another picture.
    mask: left, white, black or none.
    by_alpha: whether the picture brings the mask itself.
    """

    hook: Any
    node: str = "encode"
    other: bool = False
    mask: str = "left"
    by_alpha: bool = False

    def __call__(self, graph: Graph, model: Any) -> Node:
        applied: Node = self.hook(graph, model)
        inputs = graph[self.node]["inputs"]
        if self.other:
            picture = {"source": load(graph, REFERENCE), "destination": load(graph, OTHER), "mask": left_half(graph)}
            inputs["image"] = [graph.add("ImageCompositeMasked", x=0, y=0, resize_source=False, **picture).id, 0]
        if self.by_alpha:
            hidden = graph.add("InvertMask", mask=left_half(graph))
            image = graph.add("JoinImageWithAlpha", image=inputs["image"], alpha=hidden)
            inputs |= {"image": [image.id, 0], "alpha": True}
        elif self.mask != "none":
            inputs["reference_mask"] = [self.made(graph).id, 0]
        return applied

    def made(self, graph: Graph) -> Node:
        """The mask."""
        if self.mask == "left":
            return left_half(graph)
        return graph.add("SolidMask", value=float(self.mask == "white"), width=24, height=40)


def run(server: Server, **choices: Any) -> Result:
    return server.run(text_to_image(InPart(**choices)))


WAYS = {
    **{kind: {"hook": Prompted(adapter=named(f"{kind}.safetensors"))} for kind in ("base", "plus", "full face")},
    "one node": {"hook": Simply(), "node": "simple"},
}


@pytest.mark.parametrize("way", WAYS)
def test_only_what_the_reference_mask_leaves_acts(stocked: Server, way: str) -> None:
    part, same, whole, other = (
        run(stocked, **WAYS[way], other=other, mask=mask)
        for mask, other in (("left", False), ("left", True), ("none", False), ("none", True))
    )
    assert np.array_equal(part.image(), same.image())
    assert difference(whole.image(), other.image()) > ACTS
    assert difference(part.image(), whole.image()) > ACTS


@pytest.mark.parametrize("way", WAYS)
def test_a_white_reference_mask_is_none_bit_for_bit(stocked: Server, way: str) -> None:
    white, none = (run(stocked, **WAYS[way], mask=mask).image() for mask in ("white", "none"))
    assert np.array_equal(white, none)


@pytest.mark.parametrize("way", WAYS)
def test_a_reference_of_which_nothing_is_left_is_refused(stocked: Server, way: str) -> None:
    with pytest.raises(ExecutionError, match=r"Make white in reference_mask.*picture 1 of 1") as failed:
        run(stocked, **WAYS[way], mask="black")
    assert failed.value.node_id == WAYS[way].get("node", "encode")


def test_the_alpha_of_a_picture_does_what_a_mask_does(stocked: Server) -> None:
    plus = WAYS["plus"]
    by_alpha, by_mask = run(stocked, **plus, by_alpha=True), run(stocked, **plus)
    assert np.array_equal(by_alpha.image(), by_mask.image())
    assert "look at no patch of it" in by_alpha.outputs["encode"]["text"][0]


def test_the_preview_shows_what_is_left(stocked: Server) -> None:
    found = []
    for other in (False, True):
        forget(stocked)  # hosts before 0.24 say nothing of what comes from the cache
        found.append(run(stocked, **WAYS["plus"], other=other).images("encode")[0])
    seen, same = found
    assert np.array_equal(seen, same)
    assert len(np.unique(seen[:, seen.shape[1] * 3 // 4 :].reshape(-1, 3), axis=0)) == 1


def test_a_face_is_read_in_part(stocked: Server) -> None:
    hook = Faced("FaceID-Plus v2")
    part, white, none = (run(stocked, hook=hook, mask=mask).image() for mask in ("left", "white", "none"))
    assert np.array_equal(white, none)
    assert difference(part, none) > 0
