"""Graphs that train an adapter, and the pictures they train on."""

from pathlib import Path
from typing import Any

from PIL import Image

from live.graphs import Graph, Node, text_to_image
from live.prompting import blobs, load
from live.published import ENCODER

SETTINGS: dict[str, Any] = {
    "dataset": "pictures",
    "name": "run",
    "kind": "base",
    "steps": 3,
    "batch": 2,
    "learning_rate": 1e-3,
    "resolution": 64,
    "seed": 0,
    "weight_decay": 0.01,
    "drop_text": 0.05,
    "drop_image": 0.05,
    "drop_both": 0.05,
    "accumulate": 1,
    "ema": 0.0,
    "precision": "fp32",
    "gradient_checkpointing": False,
    "save_every": 500,
}


def draw_pictures(folder: Path, count: int = 5) -> Path:
    """A folder of captioned pictures, not all of them square."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(blobs(number, 96, 64 + 32 * (number % 2))).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"coloured squares (number {number})")
    return folder


def training(checkpoint: str = "tiny.safetensors", encoder: str = ENCODER, **settings: Any) -> Graph:
    """A graph that trains ("train") and shows the curve ("curve")."""
    graph = Graph()
    loader = graph.add("CheckpointLoaderSimple", "loader", ckpt_name=checkpoint)
    tower = graph.add("IPA_LoadVision", "tower", file=encoder, activation="auto")
    models = {"model": loader, "clip": loader[1], "vae": loader[2], "clip_vision": tower}
    train = graph.add("IPA_Train", "train", **models, **(SETTINGS | settings))
    graph.add("PreviewImage", "curve", images=train[1])
    return graph


def saved(graph: Graph, prefix: str, dtype: str = "fp16") -> Graph:
    """The graph, with a node ("save") that writes what was trained."""
    graph.add("IPA_SaveAdapter", "save", ip_adapter=["train", 0], filename_prefix=prefix, dtype=dtype)
    return graph


def painted(graph: Graph, reference: str, seed: int = 1) -> Graph:
    """The graph, with a picture that follows a reference by what was trained."""

    def prompted(whole: Graph, model: Any) -> Node:
        inputs = {"ip_adapter": ["train", 0], "clip_vision": ["tower", 0], "image": load(whole, reference)}
        prompt = whole.add("IPA_Encode", "encode", fit="center crop", **inputs)
        span = {"weight": 1.0, "start": 0.0, "end": 1.0, "unit": "percent"}
        return whole.add("IPA_Apply", "apply", model=model, image_prompt=prompt, **span)

    painting = text_to_image(prompted, seed=seed)
    return Graph({**graph, **painting})
