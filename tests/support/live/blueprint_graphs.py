"""Blueprints in whole graphs: as a node of the editor, and drawn directly, which must give the same picture."""

from collections.abc import Callable
from itertools import count
from typing import Any

from live.blueprint_table import BLUEPRINTS
from live.graphs import Graph, Link
from live.pictures import FACE
from live.results import PICTURE
from live.ui_graphs import Described, as_saved, widgets

Parts = dict[str, Any]
Draw = Callable[[Graph, dict[str, Link]], dict[str, Any]]

FACES = "Face (IP-Adapter)"  # on a model of SD1.5's shapes
SIDE, STEPS = 256, 6
MODELS = {FACES: "v1-5-pruned-emaonly-fp16.safetensors"}
DEMO = "small_world.safetensors"
LOOK: Parts = {"texture": "plain", "background": "sky", "size": "large", "place": "center"}
runs = count()


def around(name: str, draw: Draw) -> Graph:
    """A graph from the model to the picture, with what `draw` adds between."""
    graph = Graph()
    loader = graph.add("CheckpointLoaderSimple", ckpt_name=MODELS.get(name, DEMO))
    texts = {side: graph.add("CLIPTextEncode", text="", clip=loader[1])[0] for side in ("positive", "negative")}
    given = {"model": loader[0], **texts, **pictures(graph, name)}
    made: Parts = texts | draw(graph, {key: given[key] for key in BLUEPRINTS[name].inputs if key in given})
    latent = graph.add("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=2)
    sampling: Parts = {
        "seed": 1,
        "steps": STEPS,
        "cfg": 4.0,
        "sampler_name": "ddim",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    samples = graph.add("KSampler", **made, latent_image=latent, **sampling)
    decoded = graph.add("VAEDecode", samples=samples, vae=loader[2])
    graph.add("SaveImage", PICTURE, images=decoded, filename_prefix=f"blueprint{next(runs)}")
    return graph


def pictures(graph: Graph, name: str) -> dict[str, Link]:
    """What goes into the inputs for pictures."""
    if name == FACES:
        return {"image": graph.add("LoadImage", image=FACE)[0]}
    one, other = (
        graph.add("IPA_SmallWorld", shape=shape, colour=colour, seed=seed, **LOOK)
        for seed, (shape, colour) in enumerate((("circle", "red"), ("star", "cyan")))
    )
    both = graph.add("ImageBatch", image1=one, image2=other)
    first, second = dict.fromkeys(("image", "style", "left image"), one[0]), ("composition", "right image")
    return {**first, **dict.fromkeys(second, other[0]), "images": both[0]}


def drawn(name: str, described: Described) -> Graph:
    """The graph with the blueprint's parts in it, and every value that is left open as the node has it."""

    def draw(graph: Graph, given: dict[str, Link]) -> dict[str, Any]:
        return BLUEPRINTS[name].draw(graph, Open(given))

    graph = around(name, draw)
    for node in graph.values():
        node["inputs"] = {key: value for key, value in node["inputs"].items() if value is not None}
        defaults = {w.name: w.options.get("default") for w in widgets(described[node["class_type"]])}
        node["inputs"] = {key: value for key, value in defaults.items() if value is not None} | node["inputs"]
    return graph


class Open(dict[str, Link]):
    """What is given; None for what is left open."""

    def __missing__(self, name: str) -> None:
        return None


def in_editor(name: str, blueprint: Parts, described: Described) -> Parts:
    """The graph with the blueprint as one node."""
    (node,) = blueprint["nodes"]
    sockets = {given["name"]: [given["type"]] for given in node["inputs"] if "widget" not in given}
    about = {"input": {"required": sockets}, "output": [made["type"] for made in node["outputs"]]}

    def draw(graph: Graph, given: dict[str, Link]) -> dict[str, Any]:
        linked: Parts = dict(given)
        one = graph.add(node["type"], **linked)
        return {made["name"]: one[slot] for slot, made in enumerate(node["outputs"])}

    graph = as_saved(around(name, draw), described | {node["type"]: about})
    (one,) = (other for other in graph["nodes"] if other["type"] == node["type"])
    one["inputs"] += [given for given in node["inputs"] if "widget" in given]
    return graph | {"definitions": blueprint["definitions"]}
