"""Prepare Reference in whole graphs on a running ComfyUI: pictures one by one, in lists of any sizes, and by a mask."""

from typing import Any

import numpy as np
import pytest

from live.graphs import Graph, Node, runs
from live.listening import run_listening
from live.results import ExecutionError, Result
from live.server import Server

SIZES = [(64, 48), (40, 90), (33, 33)]
COLOURS = [0xFF0000, 0x00FF00, 0x0000FF]


def pictures(graph: Graph) -> list[Node]:
    """Pictures of several sizes with a light square in each."""
    light = graph.add("EmptyImage", width=16, height=16, batch_size=1, color=0xFFFFFF)
    return [
        graph.add(
            "ImageCompositeMasked",
            destination=graph.add("EmptyImage", width=width, height=height, batch_size=1, color=colour),
            source=light,
            x=3,
            y=5,
            resize_source=False,
        )
        for (width, height), colour in zip(SIZES, COLOURS, strict=True)
    ]


def listed(graph: Graph, entries: list[Any]) -> Node:
    return graph.add("CreateList", **{f"inputs.input{number}": entry for number, entry in enumerate(entries)})


def prepared(graph: Graph, image: Any, **more: Any) -> Node:
    usual = {"crop": "top", "size": 32, "interpolation": "BICUBIC", "sharpen": 0.2}
    return graph.add("IPA_Prepare", "prepare", image=image, **(usual | more))


def saved(graph: Graph, image: Any) -> Graph:
    graph.add("SaveImage", "picture", images=image, filename_prefix=f"prepared{next(runs)}")
    return graph


def alone(server: Server, number: int, **more: Any) -> np.ndarray:
    graph = Graph()
    return server.run(saved(graph, prepared(graph, pictures(graph)[number], **more))).image()


def of_list(server: Server, then: Any = lambda graph, node: node, **more: Any) -> Result:
    graph = Graph()
    return server.run(saved(graph, then(graph, prepared(graph, listed(graph, pictures(graph)), **more))))


@pytest.mark.parametrize("one_batch", [False, True])
def test_a_list_of_pictures_of_any_sizes_comes_out_in_one_size(server: Server, one_batch: bool) -> None:
    found = of_list(server, one_batch=one_batch).images()
    assert len(found) == len(SIZES)
    for number, picture in enumerate(found):
        assert np.array_equal(picture, alone(server, number))


@pytest.mark.parametrize(("one_batch", "runs_after"), [(False, 3), (True, 1)])
def test_what_follows_runs_for_each_picture_of_a_list_and_once_for_one_batch(
    server: Server, one_batch: bool, runs_after: int
) -> None:
    def repeated(graph: Graph, node: Node) -> Node:
        """The batch behind itself, which shows how many batches there are by their order."""
        return graph.add("RepeatImageBatch", image=node, amount=2)

    found = of_list(server, repeated, one_batch=one_batch).images()
    order = [0, 1, 2, 0, 1, 2] if runs_after == 1 else [0, 0, 1, 1, 2, 2]
    singles = [alone(server, number) for number in range(len(SIZES))]
    assert [next(n for n, one in enumerate(singles) if np.array_equal(one, picture)) for picture in found] == order


def test_sizes_of_a_list_go_with_the_pictures(server: Server) -> None:
    graph = Graph()
    image = listed(graph, pictures(graph)[:2])
    sizes = listed(graph, [graph.add("PrimitiveInt", value=size) for size in (16, 32)])
    found = server.run(saved(graph, prepared(graph, image, size=sizes))).images()
    for number, (picture, size) in enumerate(zip(found, (16, 32), strict=True)):
        assert np.array_equal(picture, alone(server, number, size=size))


def test_the_node_shows_the_originals_with_their_cuts_on_one_sheet(server: Server) -> None:
    graph = Graph()
    saved(graph, prepared(graph, listed(graph, pictures(graph)), sharpen=0.25))
    assert len(run_listening(server, graph)["prepare"]["images"]) == 1


def test_a_mask_cuts_and_removes_what_is_outside(server: Server) -> None:
    graph = Graph()
    plain = graph.add("SolidMask", value=0.0, width=64, height=48)
    spot = graph.add("SolidMask", value=1.0, width=16, height=16)
    mask = graph.add("MaskComposite", destination=plain, source=spot, x=3, y=5, operation="add")
    more = {"crop": "mask", "mask": mask, "size": 16, "sharpen": 0.0}
    image = pictures(graph)[0]
    cut = server.run(saved(graph, prepared(graph, image, margin=0.0, **more))).image()
    assert (cut == 255).all()  # the light square, to the pixel
    del graph["prepare"], graph["picture"]
    more |= {"margin": 100.0, "background": "colour", "colour": "#0000ff", "soft_edge": 0.0, "size": 48}
    freed = server.run(saved(graph, prepared(graph, image, **more))).image()
    assert {tuple(pixel) for pixel in freed.reshape(-1, 3)} >= {(0, 0, 255), (255, 255, 255)}
    assert not (freed[..., 0].astype(int) > freed[..., 1].astype(int) + 8).any()  # nothing of the red


def test_an_empty_mask_is_told_before_anything_is_sampled(server: Server) -> None:
    graph = Graph()
    black = graph.add("SolidMask", value=0.0, width=64, height=64)
    saved(graph, prepared(graph, pictures(graph)[0], crop="mask", mask=black))
    with pytest.raises(ExecutionError, match=r"Make white in the mask what is to stay of picture 1 of 1; it is black"):
        server.run(graph)
