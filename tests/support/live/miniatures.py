"""TABLE of graphs for published models that `make demo` runs on random weights in the published layouts.

No small model draws with them, so what comes out is noise; that it comes out is what such a run shows, as the graph is
the published one but for sizes and the reference.
"""

from pathlib import Path
from typing import Any

from live.published import PUBLISHED
from live.small_world_graphs import needed, subject, wired

MINIATURES: dict[str, dict[str, int]] = {"flux_image_prompt": {"width": 256, "height": 256, "steps": 8}}
"""Plain name of a graph -> the inputs that are smaller there."""

NOISE = "The picture is noise, as the weights here are random; ComfyUI's templates have the graph for real ones."


def stock(base: Path, graph: dict[str, Any]) -> None:
    """Make each model file that a graph names and that a server's folder does not have yet."""
    for name in sorted(needed(graph)):
        (place,) = (place for place in PUBLISHED if Path(place).name == name)
        if not (base / "models" / place).exists():
            PUBLISHED[place](base / "models" / place)


def drawn(graph: dict[str, Any], name: str) -> dict[str, Any]:
    """A graph whose reference is drawn, as in the small world, so that there is nothing to upload."""
    nodes = [subject(node, name) if node["type"] == "LoadImage" else node for node in graph["nodes"]]
    return {**graph, "nodes": [wired(node, graph["links"]) for node in nodes]}


def shrunk(prompt: dict[str, Any], inputs: dict[str, int]) -> dict[str, Any]:
    """A prompt with these inputs wherever a node has them."""
    return {
        number: {**node, "inputs": node["inputs"] | {key: inputs[key] for key in inputs.keys() & node["inputs"].keys()}}
        for number, node in prompt.items()
    }
