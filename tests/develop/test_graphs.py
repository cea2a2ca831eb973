"""What `make graphs` cuts away of graphs that need other packs, and what it says of them."""

from typing import Any

import pytest

from live.graphs import Graph
from live.ui_graphs import as_saved, to_prompt
from shared_graphs.cut import cut
from shared_graphs.disk import miniature
from shared_graphs.table import line, page, summary
from shared_graphs.trial import Trial

NODES: dict[str, Any] = {
    "CheckpointLoaderSimple": ({"ckpt_name": (["a.safetensors"],)}, ["MODEL", "CLIP", "VAE"]),
    "LoadImage": ({"image": (["a.png"],)}, ["IMAGE", "MASK"]),
    "IPAdapterAdvanced": ({"model": ("MODEL",), "image": ("IMAGE",), "weight": ("FLOAT", {"default": 1.0})}, ["MODEL"]),
    "KSampler": ({"model": ("MODEL",), "seed": ("INT", {"control_after_generate": True})}, ["LATENT"]),
    "VAEDecode": ({"samples": ("LATENT",), "vae": ("VAE",)}, ["IMAGE"]),
    "PreviewImage": ({"images": ("IMAGE",)}, []),
}
DESCRIBED = {
    kind: {"input": {"required": required}, "output": outputs, "output_node": not outputs}
    for kind, (required, outputs) in NODES.items()
}


def whole() -> Graph:
    """A graph that needs no other pack."""
    graph = Graph()
    loader = graph.add("CheckpointLoaderSimple", "loader", ckpt_name="b.safetensors")
    image = graph.add("LoadImage", "image", image="b.png")
    applied = graph.add("IPAdapterAdvanced", "applied", model=loader, image=image, weight=0.5)
    samples = graph.add("KSampler", "sampler", model=applied, seed=3)
    graph.add("PreviewImage", "seen", images=graph.add("VAEDecode", "decoded", samples=samples, vae=loader[2]))
    return graph


def test_a_graph_that_needs_nothing_else_is_left_as_it_is() -> None:
    assert cut(whole(), DESCRIBED) == (whole(), 0)


def test_what_leads_to_no_image_prompt_is_left_out() -> None:
    graph = whole()
    graph.add("PreviewImage", "aside", images=graph.add("LoadImage", "other", image="c.png"))
    assert cut(graph, DESCRIBED).prompt == whole()


def test_a_picture_stands_in_for_that_of_a_node_that_is_not_there() -> None:
    graph = whole()
    graph["image"]["class_type"] = "PictureOfAnotherPack"
    left = cut(graph, DESCRIBED)
    assert left.foreign == 1
    assert left.prompt[left.prompt["applied"]["inputs"]["image"][0]]["class_type"] == "LoadImage"
    assert left.prompt["applied"]["inputs"]["weight"] == 0.5


def test_a_value_that_came_from_elsewhere_is_the_default() -> None:
    graph = whole()
    graph["applied"]["inputs"]["weight"] = graph.add("NumberOfAnotherPack", "number")[0]
    assert cut(graph, DESCRIBED).prompt["applied"]["inputs"]["weight"] == 1.0


def test_an_image_prompt_whose_sampler_is_not_there_gets_another_one() -> None:
    graph = whole()
    graph["sampler"]["class_type"] = "SamplerOfAnotherPack"
    kinds = {"CLIPTextEncode": ({"text": ("STRING",)}, ["CONDITIONING"]), "EmptyLatentImage": ({}, ["LATENT"])}
    more = {kind: {"input": {}, "output": outputs, "output_node": False} for kind, (_, outputs) in kinds.items()}
    left = cut(graph, DESCRIBED | more).prompt
    samplers = [node for node in left.values() if node["class_type"] == "KSampler"]
    assert [sampler["inputs"]["model"] for sampler in samplers] == [["applied", 0]]


def test_old_nodes_keep_their_values_and_core_nodes_get_miniatures() -> None:
    old = whole()["applied"]
    assert miniature(old, False) == old
    assert miniature(whole()["image"], True)["inputs"]["image"] == "face.png"


def test_a_preset_that_was_left_open_is_chosen() -> None:
    node = {"class_type": "IPAdapterUnifiedLoader", "inputs": {"preset": "None"}}
    assert miniature(node, False)["inputs"]["preset"].startswith("PLUS")


def test_a_prompt_as_the_editor_saves_it_is_the_same_prompt() -> None:
    read = to_prompt(as_saved(whole(), DESCRIBED), DESCRIBED)
    order = {str(number): id for number, id in enumerate(whole(), 1)}
    back = {
        order[id]: node["inputs"]
        | {name: [order[value[0]], value[1]] for name, value in node["inputs"].items() if isinstance(value, list)}
        for id, node in read.items()
    }
    assert back == {id: node["inputs"] for id, node in whole().items()}


GOOD = Trial(foreign=0, wrong=[], failure="", old=3, converted=2, unlike="")


@pytest.mark.parametrize(
    ("changed", "counted"),
    [
        ({}, "opened 1 of 1, ran 1 of 1; converted 2 of 3 nodes, same picture 1 of 1"),
        ({"wrong": ["IPAdapter is red"]}, "opened 0 of 1, ran 1 of 1"),
        ({"failure": "no"}, "opened 1 of 1, ran 0 of 1; converted 0 of 0"),
        ({"failure": "it is InstantCharacter for Flux (a.b)"}, "ran 0 of 0 (1 refused with a reason)"),
        (
            {"failure": "Load it: this InstantX Flux adapter reads embeds of 9"},
            "ran 0 of 0 (1 refused with a reason)",
        ),
        ({"unlike": "another picture"}, "same picture 0 of 1"),
    ],
)
def test_counts_are_of_what_happened(changed: dict[str, Any], counted: str) -> None:
    trial = GOOD._replace(**changed)
    assert counted in summary({"a": trial})
    assert all(str(reason) in line("a", trial) for reason in changed.values() if isinstance(reason, str))
    assert counted in page({"a": trial})
