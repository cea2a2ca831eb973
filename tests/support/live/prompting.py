"""Graphs that use this package: hooks for `text_to_image`, and the pictures they refer to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from live import specimens
from live.graphs import Graph, Link, Node, text_to_image
from live.server import Server

REFERENCE, OTHER, WIDE = "reference.png", "other.png", "wide.png"
SIZES = {REFERENCE: (64, 64), OTHER: (64, 64), WIDE: (48, 96)}


def forget(server: Server) -> None:
    """Empty the server's cache and unload its models; it does so after the graph that runs next."""
    server.opener.open(f"{server.address}/free", b'{"unload_models": true, "free_memory": true}').close()
    graph = Graph()
    graph.add("PreviewImage", images=graph.add("EmptyImage", width=8, height=8, batch_size=1, color=0))
    server.run(graph)


def stock(server: Server) -> Server:
    """Give a server the specimens and reference pictures that these graphs name."""
    specimens.add(server.base / "models", specimens.GOOD)
    for name, picture in drawn_inputs():
        picture.save(server.base / "input" / name)
    return server


def drawn_inputs() -> Iterator[tuple[str, Image.Image]]:
    """The reference pictures, by file name."""
    for seed, (name, size) in enumerate(SIZES.items()):
        yield name, Image.fromarray(blobs(seed, *size))


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    """A picture of coloured squares, as good as any other for a random encoder."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return coarse.repeat(16, axis=0).repeat(16, axis=1)


@dataclass(frozen=True)
class Prompted:
    """A model hook: the model follows an image prompt, by one node per step."""

    weight: float = 1.0
    adapter: str = specimens.named("base.safetensors")
    tower: str = specimens.named("tower.safetensors")
    images: tuple[str, ...] = (REFERENCE,)
    negative: str | None = None
    fit: str = "center crop"
    span: tuple[float, float, str] = (0.0, 1.0, "percent")
    told: tuple[str, str, str] | None = None  # instruction, prompt, negative prompt

    def __call__(self, graph: Graph, model: Any) -> Node:
        adapter = graph.add("IPA_LoadAdapter", "adapter", file=self.adapter)
        tower = graph.add("IPA_LoadVision", "tower", file=self.tower, activation="auto")
        inputs = {"ip_adapter": adapter, "clip_vision": tower, "image": load(graph, *self.images), "fit": self.fit}
        if self.negative:
            inputs["negative_image"] = load(graph, self.negative)
        if self.told:
            texts = dict(zip(("instruction", "prompt", "negative_prompt"), self.told, strict=True))
            inputs["instruction"] = graph.add("IPA_Instruction", "told", clip=["loader", 1], **texts)
        return self.applied(graph, model, graph.add("IPA_Encode", "encode", **inputs))

    def applied(self, graph: Graph, model: Any, prompt: Any) -> Node:
        """The last step alone."""
        start, end, unit = self.span
        inputs = {"weight": self.weight, "start": start, "end": end, "unit": unit}
        return graph.add("IPA_Apply", "apply", model=model, image_prompt=prompt, **inputs)


@dataclass(frozen=True)
class Simply:
    """A model hook: the model follows an image prompt, by the one node that does everything."""

    weight: float = 1.0
    kind: str = "any"
    image: str = REFERENCE

    def __call__(self, graph: Graph, model: Any) -> Node:
        wishes = {"start": 0.0, "end": 1.0, "unit": "percent", "kind": self.kind, "fit": "center crop"}
        image = load(graph, self.image)
        return graph.add("IPA_Simple", "simple", model=model, image=image, weight=self.weight, **wishes)


def load(graph: Graph, first: str, *others: str) -> Node:
    """Uploaded pictures as one batch."""
    batch = graph.add("LoadImage", image=first)
    for other in others:
        batch = graph.add("ImageBatch", image1=batch, image2=graph.add("LoadImage", image=other))
    return batch


def picture(server: Server, *hooks: Any, **options: Any) -> np.ndarray:
    """The picture that a server makes with these hooks on its model."""
    return server.run(text_to_image(*hooks, **options)).image()


def bypass(graph: Graph, id: str) -> Graph:
    """The graph as the editor sends it when a node is bypassed: what read it reads its model instead."""
    kept = {name: node for name, node in graph.items() if name != id}
    return Graph({name: node | {"inputs": _past(id, node["inputs"], graph)} for name, node in kept.items()})


def _past(id: str, inputs: dict[str, Any], graph: Graph) -> dict[str, Any]:
    model: Link = graph[id]["inputs"]["model"]
    return {name: model if value == [id, 0] else value for name, value in inputs.items()}


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """How far two pictures are apart: the mean over their values, in levels of 256."""
    return float(np.abs(one.astype(int) - other).mean())
