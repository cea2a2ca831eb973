"""Image Prompt Grid on a server: its cells are the pictures of graphs written by hand, and what is known is kept."""

from typing import Any

import numpy as np
import pytest

from live import faces
from live.faces import Faced
from live.graphs import SAMPLER, Graph, Node, text_to_image
from live.listening import count_steps, run_listening
from live.prompting import OTHER, REFERENCE, Prompted, forget, load
from live.results import ExecutionError
from live.server import Server
from live.specimens import named

STEPS = 5  # as many as nothing else counts
CONSTANTS = {"weight": 1.0, "weight_type": "linear", "start": 0.0, "end": 1.0}
SHARED = SAMPLER | {"steps": STEPS}


def grid(across: tuple[str, str], down: tuple[str, str] = ("nothing", ""), batch: int = 1, **more: Any) -> Graph:
    """A graph with the node `grid`, whose sheet and cells are saved."""
    graph = text_to_image(Prompted(images=(REFERENCE, OTHER)), batch=batch)
    for name in ("apply", "encode", "sampler", "picture"):
        graph.pop(name)
    (decoder,) = (name for name, node in graph.items() if node["class_type"] == "VAEDecode")
    graph.pop(decoder)
    sockets: dict[str, Any] = {
        "model": Node("loader"),
        "ip_adapter": Node("adapter"),
        "clip_vision": Node("tower"),
        "references": load(graph, REFERENCE, OTHER),
        "positive": Node("positive"),
        "negative": Node("negative"),
        "latent": Node("latent"),
        "vae": ["loader", 2],
    }
    axes = {"across": across[0], "across_values": across[1], "down": down[0], "down_values": down[1]}
    made = graph.add("IPA_Grid", "grid", **sockets, **axes, **(CONSTANTS | SHARED | more))
    for slot, name in enumerate(("sheet", "cells")):
        graph.add("SaveImage", name, images=made[slot], filename_prefix=f"grid_{name}")
    return graph


def by_hand(weight: float, kind: str = "linear", images: tuple[str, ...] = (REFERENCE, OTHER), **span: float) -> Graph:
    """The same picture by the nodes that people use."""
    when = (span.get("start", 0.0), span.get("end", 1.0), "percent")

    def prompted(graph: Graph, model: Any) -> Node:
        applied = Prompted(weight, images=images, span=when)(graph, model)
        spread = graph.add("IPA_LayerWeights", weight_type=kind, weight=1.0, second_weight=1.0, custom="")
        graph["apply"]["inputs"]["layer_weights"] = spread[0]
        return applied

    return text_to_image(prompted, steps=STEPS)


def cells(server: Server, graph: Graph) -> list[np.ndarray]:
    return server.run(graph).images("cells")


def same(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    assert len(found) == len(wanted)
    assert all(not np.array_equal(found[0], other) for other in found[1:])
    return all(np.array_equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_each_cell_is_the_picture_of_the_graph_by_hand(stocked: Server) -> None:
    found = cells(stocked, grid(("weight", "0.5, 1"), ("weight type", "linear, ease in")))
    graphs = [by_hand(weight, kind) for kind in ("linear", "ease in") for weight in (0.5, 1.0)]
    assert same(found, [stocked.run(graph).image() for graph in graphs])


def test_references_are_taken_one_by_one_and_start_and_end_too(stocked: Server) -> None:
    found = cells(stocked, grid(("reference", ""), ("end", "0.5, 1"), weight=0.8))
    graphs = [by_hand(0.8, images=(image,), end=end) for end in (0.5, 1.0) for image in (REFERENCE, OTHER)]
    assert same(found, [stocked.run(graph).image() for graph in graphs])


def test_weight_0_is_the_model_alone(stocked: Server) -> None:
    (found, _) = cells(stocked, grid(("weight", "0, 1")))
    assert np.array_equal(found, stocked.run(text_to_image(steps=STEPS)).image())


def test_the_sheet_is_what_the_node_shows_and_holds_the_cells(stocked: Server) -> None:
    graph = grid(("cfg", "2, 6"), ("seed", "1, 2"))
    shown = run_listening(stocked, graph)["grid"]["images"]
    assert len(shown) == 1
    sheet = stocked.run(grid(("cfg", "2, 6"), ("seed", "1, 2"), weight=0.9)).image("sheet")
    assert sheet.shape[0] > 2 * 384 and sheet.shape[1] > 2 * 384 + 200 + 168


def test_an_instructed_adapter_reads_what_the_grid_is_told(stocked: Server) -> None:
    file, said = named("Instruct.safetensors"), ("use the style", "a red apple", "")
    graph = grid(("weight", "0.5, 1"))
    graph["adapter"]["inputs"]["file"] = file
    texts = {"instruction": said[0], "prompt": said[1]}
    graph["grid"]["inputs"]["instruction"] = graph.add("IPA_Instruction", clip=["loader", 1], **texts)[0]
    hooks = [Prompted(weight, adapter=file, images=(REFERENCE, OTHER), told=said) for weight in (0.5, 1.0)]
    wanted = [stocked.run(text_to_image(hook, steps=STEPS)).image() for hook in hooks]
    assert same(cells(stocked, graph), wanted)


def test_faces_are_sampled_with_the_method_of_the_grid(stocked: Server) -> None:
    def with_face(graph: Graph, model: Any) -> Node:
        applied = faced(graph, model)
        graph["apply"]["inputs"]["method"] = "style"
        return applied

    def of_grid(**more: Any) -> Graph:
        graph = grid(("weight", "0.5, 1"), **more)
        apart = Graph()
        faced(apart, None)
        graph |= {id: node for id, node in apart.items() if id not in ("encode", "apply", "adapter")}
        graph["adapter"] = apart["adapter"]
        read = apart["encode"]["inputs"]
        graph["grid"]["inputs"] |= {name: read[name] for name in ("clip_vision", "faces")}
        return graph

    faces.stock(stocked)
    faced = Faced("PuLID v1")
    found = cells(stocked, of_grid(method="style"))
    graph = text_to_image(with_face, steps=STEPS)
    assert np.array_equal(found[1], stocked.run(graph).image())
    assert not np.array_equal(found[1], cells(stocked, of_grid())[1])


def samplings(server: Server, graph: Graph) -> int:
    """How often a graph samples."""
    return sum(steps == STEPS for steps in count_steps(server, graph).values())


def test_another_value_samples_only_its_own_cells(stocked: Server) -> None:
    """As the host's cache allows, which is its default one here."""
    forget(stocked)
    assert samplings(stocked, grid(("weight", "0.3, 0.6"), ("seed", "1, 2"))) == 4
    assert samplings(stocked, grid(("weight", "0.3, 0.45, 0.6"), ("seed", "1, 2"))) == 2
    assert samplings(stocked, grid(("weight", "0.6, 0.3"), ("seed", "1, 2"))) == 0
    assert samplings(stocked, grid(("weight", "0.6, 0.3"), ("seed", "1, 2"))) == 0


REFUSED: dict[str, tuple[Graph, str]] = {
    "a weight that is none": (grid(("weight", "0.5, much")), "Write the weights as numbers"),
    "a weight type that is none": (grid(("weight type", "baroque")), "Write the weight types as in linear"),
    "a reference that is not there": (grid(("reference", "3")), "Write the references as numbers from 1 to 2"),
    "the same thing twice": (grid(("weight", "1"), ("weight", "2")), "Set across and down to different things"),
    "a start after its end": (grid(("start", "0, 0.7"), end=0.5), "Set start to at most end"),
    "a latent of several pictures": (grid(("weight", "0, 1"), batch=2), "Connect a latent of one picture"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_grid_is_told_before_anything_is_sampled(stocked: Server, case: str) -> None:
    graph, words = REFUSED[case]
    with pytest.raises(ExecutionError) as failure:
        stocked.run(graph)
    assert failure.value.node_id == "grid"
    assert failure.value.message.startswith(words)


def test_the_parts_of_a_grid_are_for_developers_alone(stocked: Server) -> None:
    described = stocked.object_info()
    assert described["IPA_GridModel"]["dev_only"] and described["IPA_GridSheet"]["dev_only"]
    assert not described["IPA_Grid"].get("dev_only")
