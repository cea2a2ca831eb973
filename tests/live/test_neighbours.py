"""Image prompts beside every node of core that patches a model, taken from the server's own list."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from live.graphs import SAMPLER, Graph, Node, runs, text_to_image
from live.prompting import REFERENCE, Prompted, difference
from live.results import ExecutionError, ValidationError
from live.server import Server

NEAR = 0.2  # mean difference in levels: rounding of another order of sums
NOTHING_LEFT = {"ModelMergeSubtract", "FreeU_V2"}  # the model without itself; a division by nothing at this size
SPECIFIC = "comfy_extras.nodes_model_merging_model_specific"  # one for each construction; SD1's stands for all
COMPILERS = {"TorchCompileModel"}  # minutes each; host/sampling/test_compile.py has a backend that takes none
KNOWN = {
    *("FreeU_V2", "HyperTile", "PatchModelAddDownscale", "PerpNeg", "PerturbedAttentionGuidance", "RescaleCFG"),
    *("TomePatchModel", "LazyCache", "EasyCache", "ModelSamplingDiscrete", "SkipLayerGuidanceDiT"),
}
"""Some that must be among those that were tried: the list is the server's, and must not be empty by a mistake."""


@pytest.fixture(scope="module")
def described(stocked: Server) -> dict[str, Any]:
    """Every node of core that takes a model and gives one, and can be filled in from a stock graph."""
    listed = stocked.object_info().items()
    nodes = {name: node for name, node in listed if patches_models(node) and name not in COMPILERS}
    return {name: node for name, node in nodes.items() if None not in filled(node, supplies(Graph(), None)).values()}


def patches_models(node: dict[str, Any]) -> bool:
    of_core = node.get("python_module", "").split(".")[0] in ("nodes", "comfy_extras")
    takes = [spec[0] for spec in node["input"].get("required", {}).values()]
    if node.get("python_module") == SPECIFIC and node["name"] != "ModelMergeSD1":
        return False
    return of_core and "MODEL" in takes and node["output"][:1] == ["MODEL"]


def supplies(graph: Graph, model: Any) -> dict[str, Any]:
    """What a stock graph has for the sockets of a node, by type."""
    positive, loader = Node("positive"), Node("loader")
    return {
        "MODEL": loader if model is None else model,
        "CLIP": loader[1],
        "VAE": loader[2],
        "CONDITIONING": positive,
        "LATENT": Node("latent"),
        "IMAGE": Node("reference"),
        "INT": 0,
        "FLOAT": 0.0,
        "BOOLEAN": False,
        "STRING": "",
    }


def filled(node: dict[str, Any], supplied: dict[str, Any]) -> dict[str, Any]:
    """Required inputs of a node: supplies, its own defaults, the first of a list; None for what lacks."""
    return {name: value(spec, supplied) for name, spec in node["input"].get("required", {}).items()}


def value(spec: list[Any], supplied: dict[str, Any]) -> Any:
    kind, more = spec[0], spec[1] if len(spec) > 1 else {}
    if "default" in more:
        return more["default"]
    options = kind if isinstance(kind, list) else more.get("options") or []
    return options[0] if options else supplied.get(kind) if isinstance(kind, str) else None


def pictures(server: Server, name: str, node: dict[str, Any], prompted: bool = True) -> list[np.ndarray]:
    """The neighbour alone; and beside a prompt at weight 0, after one at weight 1, and before it."""
    graph = text_to_image()
    for unused in ("sampler", "decode", "picture"):
        graph.pop(unused, None)
    graph.add("LoadImage", "reference", image=REFERENCE)

    def beside(model: Any) -> Node:
        return graph.add(name, **filled(node, supplies(graph, model)))

    models: list[Any] = [beside(Node("loader"))]
    if prompted:
        hook = Prompted()
        once = hook(graph, Node("loader"))
        nothing = graph.add("IPA_Apply", **(graph["apply"]["inputs"] | {"weight": 0.0}))
        after = graph.add("IPA_Apply", **(graph["apply"]["inputs"] | {"model": models[0]}))
        models += [beside(nothing), beside(once), after]
    for number, model in enumerate(models):
        links = {"positive": Node("positive"), "negative": Node("negative"), "latent_image": Node("latent")}
        inputs: dict[str, Any] = SAMPLER | links | {"model": model, "steps": 2}
        samples = graph.add("KSampler", **inputs)
        decoded = graph.add("VAEDecode", samples=samples, vae=Node("loader")[2])
        graph.add("SaveImage", f"picture{number}", images=decoded, filename_prefix=f"neighbour{next(runs)}")
    result = server.run(graph)
    return [result.image(f"picture{number}") for number in range(len(models))]


def refused(server: Server, name: str, node: dict[str, Any]) -> bool:
    """Whether a neighbour does not go with this model by itself."""
    try:
        pictures(server, name, node, prompted=False)
    except (ExecutionError, ValidationError):
        return True
    return False


def wrong(found: list[np.ndarray], acts: bool) -> Iterator[str]:
    alone, nothing, before, after = found
    if not np.array_equal(nothing, alone):
        yield f"weight 0 is not the neighbour alone ({difference(nothing, alone):.3g})"
    if difference(before, after) > NEAR:
        yield f"order matters ({difference(before, after):.3g})"
    if acts and difference(before, alone) <= NEAR:
        yield "the prompt does not act"


@pytest.mark.timeout(900)
def test_every_model_patch_of_core_goes_with_an_image_prompt(stocked: Server, described: dict[str, Any]) -> None:
    tried, faults = set(), {}
    for name, node in described.items():
        try:
            found = list(wrong(pictures(stocked, name, node), acts=name not in NOTHING_LEFT))
        except (ExecutionError, ValidationError) as error:
            if refused(stocked, name, node):
                continue  # made for other models
            found = [str(error)]
        tried.add(name)
        if found:
            faults[name] = found
    assert not faults
    assert len(tried) >= 25
    assert tried >= KNOWN & described.keys()


def test_a_pack_that_couples_texts_of_regions_goes_with_an_image_prompt(stocked: Server) -> None:
    """The whole way over the server, whose list of manners this is."""
    manners = stocked.object_info("TestNeighbour")["TestNeighbour"]["input"]["required"]["manner"]
    options = manners[1]["options"] if manners[0] == "COMBO" else manners[0]
    assert "3 equal regions" in options

    def coupled(graph: Graph, model: Any) -> Node:
        return graph.add("TestNeighbour", model=Prompted()(graph, model), manner="3 equal regions")

    found = stocked.run(text_to_image(coupled)).image()
    assert difference(found, stocked.run(text_to_image(Prompted())).image()) < NEAR
