"""Graphs with a moodboard: a hook for `text_to_image`, and what it is made of."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from live import specimens
from live.graphs import Graph, Node
from live.prompting import OTHER, load


class Use(NamedTuple):
    """A picture of a board.

    mask: the picture whose red is the part of it that is read. more: other inputs of its node.
    """

    image: str
    role: str = "all"
    strength: float = 1.0
    mask: str | None = None
    more: tuple[tuple[str, float | str], ...] = ()

    def read(self, graph: Graph) -> dict[str, Any]:
        """Inputs for the picture, and for what is read of it."""
        mask = graph.add("LoadImageMask", image=self.mask, channel="red") if self.mask else None
        return {"image": load(graph, self.image)} | ({"reference_mask": mask} if mask else {})


@dataclass(frozen=True)
class Board:
    """A model hook: the model follows a moodboard with these pictures."""

    uses: tuple[Use, ...]
    weight: float = 1.0
    span: tuple[float, float, str] = (0.0, 1.0, "percent")
    placed: bool = False

    def __call__(self, graph: Graph, model: Any) -> Node:
        adapter, tower = loaders(graph)
        start, end, unit = self.span
        cards = {
            f"pictures.picture{number}": graph.add(
                "IPA_MoodboardPicture",
                f"card {number}",
                role=use.role,
                strength=use.strength,
                **use.read(graph),
                **dict(use.more),
            )
            for number, use in enumerate(self.uses, 1)
        }
        inputs = {"model": model, "ip_adapter": adapter, "clip_vision": tower, "weight": self.weight}
        inputs |= place_and_time(graph) if self.placed else {}
        return graph.add("IPA_Moodboard", "board", **inputs, start=start, end=end, unit=unit, **cards)


def loaders(graph: Graph, file: str = specimens.named("base.safetensors")) -> tuple[Node, Node]:
    adapter = graph.add("IPA_LoadAdapter", "adapter", file=file)
    return adapter, graph.add("IPA_LoadVision", "tower", file=specimens.named("tower.safetensors"), activation="auto")


def place_and_time(graph: Graph) -> dict[str, Any]:
    """A mask and a schedule for everything."""
    shape = {"shape": "linear", "start_value": 1.0, "end_value": 0.2, "unit": "steps", "points": "", "n": 1}
    mask = graph.add("LoadImageMask", image=OTHER, channel="green")
    return {"mask": mask, "schedule": graph.add("IPA_Schedule", "schedule", **shape)}
