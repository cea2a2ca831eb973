"""Prompts with nodes of packs that are not installed: what runs without them, with stand-ins where they gave something.

`Described` is what /object_info says. A prompt that needs nothing cut comes back as it was.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OTHER_IPADAPTER
from live.graphs import SAMPLER, Graph, Node
from live.pictures import EXAMPLE
from live.published import CHECKPOINT, CONTROLNET
from live.ui_graphs import WIDGETS, Described
from shared_graphs.disk import OLD, STEPS, UPSCALER, WITHOUT

Prompt = dict[str, Any]
NEEDED = {"IPAdapterWeights": ("image",), OTHER_IPADAPTER: ("image", "clip_vision")}
"""Inputs without which an old node does nothing, though it does not say so."""


class Cut(NamedTuple):
    """prompt: what is left, empty where nothing of IP-Adapter is. foreign: how many nodes were not installed."""

    prompt: Prompt
    foreign: int


def cut(prompt: Prompt, described: Described, lacking: bool = False) -> Cut:
    """Take away nodes that are not installed, give their takers stand-ins, and open ends something that runs them.

    lacking: whether some were taken away already.
    """
    graph = Graph(
        {id: node | {"inputs": dict(node["inputs"])} for id, node in prompt.items() if _runs(node, described)}
    )
    foreign = len(prompt) - len(graph)
    if foreign or lacking:
        _stand_in(graph, described)
        _end(graph, described)
    return Cut(_needed(graph, described), foreign)


def _runs(node: Any, described: Described) -> bool:
    """Whether a node has a class, and the files that it loads can be there."""
    return node.get("class_type") in described.keys() - WITHOUT


def _checkpoint(graph: Graph) -> Node:
    return _once(graph, "CheckpointLoaderSimple", ckpt_name=CHECKPOINT)


def _once(graph: Graph, kind: str, **inputs: Any) -> Node:
    return Node(f"stand-in {kind}") if f"stand-in {kind}" in graph else graph.add(kind, f"stand-in {kind}", **inputs)


def _pictures(graph: Graph) -> Node:
    """Two, as what fades from one to the other needs."""
    picture = STAND_INS["IMAGE"](graph)
    return _once(graph, "ImageBatch", image1=picture, image2=picture)


def _text(graph: Graph) -> Node:
    return _once(graph, "CLIPTextEncode", text="a picture", clip=_checkpoint(graph)[1])


STAND_INS: dict[str, Callable[[Graph], Any]] = {
    "MODEL": lambda graph: _checkpoint(graph)[0],
    "CLIP": lambda graph: _checkpoint(graph)[1],
    "VAE": lambda graph: _checkpoint(graph)[2],
    "CONDITIONING": lambda graph: _text(graph)[0],
    "IMAGE": lambda graph: _once(graph, "LoadImage", image=EXAMPLE)[0],
    "IPAdapterWeights.image": lambda graph: _pictures(graph)[0],
    "MASK": lambda graph: _once(graph, "SolidMask", value=1.0, width=64, height=64)[0],
    "LATENT": lambda graph: _once(graph, "EmptyLatentImage", width=64, height=64, batch_size=1)[0],
    "CLIP_VISION": lambda graph: _once(graph, "CLIPVisionLoader")[0],
    "CONTROL_NET": lambda graph: _once(graph, "ControlNetLoader", control_net_name=CONTROLNET)[0],
    "UPSCALE_MODEL": lambda graph: _once(graph, "UpscaleModelLoader", model_name=UPSCALER)[0],
    "SAMPLER": lambda graph: _once(graph, "KSamplerSelect", sampler_name="euler")[0],
    "NOISE": lambda graph: _once(graph, "RandomNoise", noise_seed=1)[0],
    "SIGMAS": lambda graph: _once(
        graph, "BasicScheduler", model=_checkpoint(graph), scheduler="normal", steps=STEPS, denoise=1.0
    )[0],
}
"""What a socket gets instead of a node that is not installed: by node and name, or by type."""


def _stand_in(graph: Graph, described: Described) -> None:
    """Give every input that a foreign node fed, or that is missing, a stand-in or its default; drop what has none."""
    while lacking := [
        id for id in list(graph) if not all(_fill(graph, id, *given) for given in _given(graph, id, described))
    ]:
        for id in lacking:
            del graph[id]


def _given(graph: Graph, id: str, described: Described) -> list[tuple[str, Any, bool]]:
    """The inputs of a node: name, definition, whether it must be there."""
    kind = graph[id]["class_type"]
    groups = described[kind]["input"]
    return [
        (name, spec, group == "required" or name in NEEDED.get(kind, ()))
        for group in ("required", "optional")
        for name, spec in groups.get(group, {}).items()
    ]


def _fill(graph: Graph, id: str, name: str, spec: Any, required: bool) -> bool:
    """Whether an input has what it needs, after it got that from a stand-in or by default if it did not."""
    inputs = graph[id]["inputs"]
    is_broken = is_link(inputs.get(name)) and inputs[name][0] not in graph
    if (name in inputs and not is_broken) or not (required or is_broken):
        return True
    inputs.pop(name, None)
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    if isinstance(kind, list) or kind in WIDGETS:
        choices = kind if isinstance(kind, list) else options.get("options", [])
        inputs[name] = options.get("default", choices[0] if choices else _EMPTY.get(kind))
    elif stand_in := STAND_INS.get(f"{graph[id]['class_type']}.{name}") or STAND_INS.get(kind):
        inputs[name] = stand_in(graph)
    return name in inputs or not required


_EMPTY = {"INT": 1, "FLOAT": 1.0, "STRING": ""}


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def _end(graph: Graph, described: Described) -> None:
    """Let what the last old nodes give be used, where all that used it was cut away."""
    used = {id for end in _outputs(graph, described) for id in _before(graph, end)}
    dead = [id for id, node in graph.items() if node["class_type"] in OLD and id not in used]
    inner = {before for id in dead for before in _before(graph, id) if before != id}
    for id in dead:
        kinds = described[graph[id]["class_type"]]["output"]
        if id not in inner and kinds and kinds[0] in ENDS:
            ENDS[kinds[0]](graph, Node(id)[0])


def _sample(graph: Graph, model: Any) -> None:
    text = _text(graph)
    values = SAMPLER | {"steps": STEPS}
    latent = STAND_INS["LATENT"](graph)
    end = len(graph)
    samples = graph.add(
        "KSampler", f"end {end}", model=model, positive=text, negative=text, latent_image=latent, **values
    )
    _look(graph, graph.add("VAEDecode", f"end {end} decoded", samples=samples, vae=_checkpoint(graph)[2]))


def _look(graph: Graph, images: Any) -> None:
    graph.add("PreviewImage", f"end {len(graph)}", images=images)


ENDS: dict[str, Callable[[Graph, Any], None]] = {"MODEL": _sample, "IMAGE": _look}


def _needed(graph: Graph, described: Described) -> Prompt:
    """The nodes that an output node which an old node leads to needs."""
    kept: set[str] = set()
    for end in _outputs(graph, described):
        before = set(_before(graph, end))
        if any(graph[id]["class_type"] in OLD for id in before):
            kept |= before
    return {id: node for id, node in graph.items() if id in kept}


def _outputs(graph: Graph, described: Described) -> list[str]:
    return [id for id, node in graph.items() if described[node["class_type"]]["output_node"]]


def _before(graph: Graph, end: str) -> Iterator[str]:
    """A node and all that it needs."""
    seen, waiting = set(), [end]
    while waiting:
        id = waiting.pop()
        if id not in seen and id in graph:
            seen.add(id)
            yield id
            waiting += [value[0] for value in graph[id]["inputs"].values() if is_link(value)]
