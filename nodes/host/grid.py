"""A grid of samplings as a part of the graph: nodes that the host runs, and keeps, one by one."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.samplers
from comfy_execution.graph_utils import GraphBuilder

from ...ip_adapter_core.attention.application import check_acts
from ...ip_adapter_core.settings.grid import Cell, Grid
from ...ip_adapter_core.settings.layer_weights import from_weight_type
from . import models

ENCODE, MODEL, SHEET = "IPA_Encode", "IPA_GridModel", "IPA_GridSheet"
"""The ids of the nodes of this package that a grid becomes."""

CELL = "cell"
"""What the names of the inputs of SHEET for pictures begin with; then comes a number from 0."""

SAMPLERS: list[str] = comfy.samplers.KSampler.SAMPLERS
SCHEDULERS: list[str] = comfy.samplers.KSampler.SCHEDULERS

Link = list[Any]
"""The id of a node, and the number of an output of it."""


class Links(NamedTuple):
    """Where the inputs of a grid come from in the graph, so that each node of it reads them there."""

    model: Link
    ip_adapter: Link
    clip_vision: Link
    references: Link
    positive: Link
    negative: Link
    latent: Link
    vae: Link

    @classmethod
    def of(cls, hidden: Any) -> Links:
        """Those of the node that runs; hidden: what the host tells it of itself."""
        inputs = hidden.dynprompt.get_node(hidden.unique_id)["inputs"]
        return cls(*(inputs[name] for name in cls._fields))


def check(model: Any, cells: list[list[Cell]], latent: dict[str, Any]) -> None:
    """Raises ValueError for what could only fail later, when others of the cells are sampled already."""
    pictures = len(latent["samples"])
    if pictures != 1:
        raise ValueError(f"Connect a latent of one picture: each cell of the grid is one; this has {pictures}.")
    of_model = models.layers(model)
    for weight_type in {cell.weight_type for row in cells for cell in row if cell.weight}:
        spread = from_weight_type(weight_type)
        check_acts(spread, spread.per_layer(of_model))


def expand(grid: Grid, cells: list[list[Cell]], links: Links, fit: str, sampler: dict[str, Any]) -> tuple[Any, Any]:
    """The nodes of a grid, and of these the one whose outputs are the grid's.

    fit: how references become square; sampler: what is the same for all cells, by the names of the host's KSampler.
    """
    graph = GraphBuilder()
    flat = [cell for row in cells for cell in row]
    pictures = {f"{CELL}{n}": _picture(graph, cell, links, fit, sampler).out(0) for n, cell in enumerate(flat)}
    words = {
        "across": grid.across.axis,
        "across_values": "\n".join(grid.across.words),
        "down": grid.down.axis,
        "down_values": "\n".join(grid.down.words),
    }
    sheet = graph.node(SHEET, "sheet", references=links.references, **words, **pictures)
    return graph.finalize(), sheet


def _picture(graph: GraphBuilder, cell: Cell, links: Links, fit: str, sampler: dict[str, Any]) -> Any:
    """The nodes of one cell, the last of which gives its picture."""
    prompted = graph.node(
        MODEL,
        model=links.model,
        image_prompt=_prompt(graph, cell.reference, links, fit).out(0),
        weight=cell.weight,
        weight_type=cell.weight_type,
        start=cell.start,
        end=cell.end,
    )
    sampled = graph.node(
        "KSampler",
        model=prompted.out(0),
        positive=links.positive,
        negative=links.negative,
        latent_image=links.latent,
        seed=cell.seed,
        cfg=cell.cfg,
        **sampler,
    )
    return graph.node("VAEDecode", samples=sampled.out(0), vae=links.vae)


def _prompt(graph: GraphBuilder, reference: int | None, links: Links, fit: str) -> Any:
    """The image prompt of one reference, or of all together; cells that read the same share it."""
    image = links.references
    if reference is not None:
        chosen = graph.node("ImageFromBatch", f"image {reference}", image=image, batch_index=reference - 1, length=1)
        image = chosen.out(0)
    inputs = {"ip_adapter": links.ip_adapter, "clip_vision": links.clip_vision, "image": image, "fit": fit}
    return graph.node(ENCODE, f"prompt {reference or 'of all'}", **inputs)
