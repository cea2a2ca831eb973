"""Graphs in ComfyUI's API format, written so that a test reads as what it does."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from live.results import PICTURE

Link = list[Any]


@dataclass(frozen=True)
class Node:
    """A node that was added to a graph; as an input it stands for its first output, `node[n]` names another."""

    id: str

    def __getitem__(self, slot: int) -> Link:
        return [self.id, slot]


class Graph(dict[str, Any]):
    """The prompt that POST /prompt takes: nodes by id."""

    def add(self, node_type: str, id: str | None = None, **inputs: Any) -> Node:
        """Add a node; an input is a widget value, a Node (its first output) or a link such as `loader[1]`."""
        node = Node(id or str(len(self) + 1))
        links = {name: value[0] if isinstance(value, Node) else value for name, value in inputs.items()}
        self[node.id] = {"class_type": node_type, "inputs": links}
        return node


ModelHook = Callable[[Graph, Any], Any]
ConditioningHook = Callable[[Graph, Any, Any], tuple[Any, Any]]

runs = count()  # a name of its own per graph: before 0.30 a picture that comes from the cache is not reported
SAMPLER = {"seed": 1, "steps": 3, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


def text_to_image(
    model_hook: ModelHook = lambda graph, model: model,
    conditioning_hook: ConditioningHook = lambda graph, positive, negative: (positive, negative),
    checkpoint: str = "tiny.safetensors",
    text: str = "a red apple",
    size: int = 64,
    batch: int = 1,
    **sampler: Any,
) -> Graph:
    """The stock graph from a checkpoint to the picture `PICTURE`; `sampler` overrides inputs of KSampler ("sampler").

    `model_hook(graph, model)` returns the model to sample with; `conditioning_hook(graph, positive, negative)` a pair.
    """
    graph = Graph()
    loader = graph.add("CheckpointLoaderSimple", "loader", ckpt_name=checkpoint)
    positive = graph.add("CLIPTextEncode", "positive", text=text, clip=loader[1])
    negative = graph.add("CLIPTextEncode", "negative", text="bad", clip=loader[1])
    latent = graph.add("EmptyLatentImage", "latent", width=size, height=size, batch_size=batch)
    pair = conditioning_hook(graph, positive, negative)
    inputs = SAMPLER | {"model": model_hook(graph, loader), "positive": pair[0], "negative": pair[1]}
    samples = graph.add("KSampler", "sampler", **(inputs | {"latent_image": latent} | sampler))
    decoded = graph.add("VAEDecode", "decode", samples=samples, vae=loader[2])
    graph.add("SaveImage", PICTURE, images=decoded, filename_prefix=f"test{next(runs)}")
    return graph


def control(graph: Graph, positive: Any, negative: Any) -> tuple[Link, Link]:
    """A conditioning hook: a ControlNet that looks at a plain grey picture."""
    network = graph.add("ControlNetLoader", control_net_name="tiny.safetensors")
    hint = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0x808080)
    applied = graph.add(
        "ControlNetApplyAdvanced",
        positive=positive,
        negative=negative,
        control_net=network,
        image=hint,
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    return applied[0], applied[1]
