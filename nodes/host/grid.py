"""A grid of samplings as a part of the graph: nodes that the host runs, and keeps, one by one."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.samplers
from comfy_execution.graph_utils import GraphBuilder

from ...ip_adapter_core.attention.application import check_acts, method_for
from ...ip_adapter_core.attention.projection import AUTO
from ...ip_adapter_core.faces.features import Faces
from ...ip_adapter_core.prompts.told import tell
from ...ip_adapter_core.settings.grid import REFERENCE, Cell, Grid
from ...ip_adapter_core.settings.instruction import Instruction
from ...ip_adapter_core.settings.layer_weights import from_weight_type
from ...ip_adapter_core.vision.preprocess import FITS
from . import models
from .adapters import LoadedAdapter

ENCODE, ENCODE_FACE, MODEL, SHEET = "IPA_Encode", "IPA_EncodeFace", "IPA_GridModel", "IPA_GridSheet"
"""The ids of the nodes of this package that a grid becomes."""

CELL = "cell"
"""What the names of the inputs of SHEET for pictures begin with; then comes a number from 0."""

SAMPLERS: list[str] = comfy.samplers.KSampler.SAMPLERS
SCHEDULERS: list[str] = comfy.samplers.KSampler.SCHEDULERS

Link = list[Any]
"""The id of a node, and the number of an output of it."""


class Prompting(NamedTuple):
    """How the image prompts of all cells are made and applied.

    fit: how references become square.
    method: of PuLID, a row of METHODS or AUTO.
    """

    fit: str = FITS[0]
    method: str = AUTO


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
    instruction: Link | None = None
    faces: Link | None = None

    @classmethod
    def of(cls, hidden: Any) -> Links:
        """Those of the node that runs; hidden: what the host tells it of itself."""
        inputs = hidden.dynprompt.get_node(hidden.unique_id)["inputs"]
        return cls(**{name: inputs[name] for name in cls._fields if inputs.get(name) is not None})


def check(model: Any, cells: list[list[Cell]], latent: dict[str, Any]) -> None:
    """Raises ValueError for what could only fail later, when others of the cells are sampled already."""
    pictures = len(latent["samples"])
    if pictures != 1:
        raise ValueError(f"Connect a latent of one picture: each cell of the grid is one; this has {pictures}.")
    of_model = models.layers(model)
    for weight_type in {cell.weight_type for row in cells for cell in row if cell.weight}:
        spread = from_weight_type(weight_type)
        check_acts(spread, spread.per_layer(of_model))


def check_prompting(
    adapter: LoadedAdapter, grid: Grid, faces: Faces | None, instruction: Instruction | None, method: str
) -> None:
    """Raises ValueError where no cell could be sampled with this adapter, before the first is."""
    identity = adapter.identity
    what = f"{adapter.name} is a {identity.variant.name} adapter, which reads"
    if identity.reads_faces and faces is None:
        raise ValueError(f"Connect Face Embedding to faces; {what} faces.")
    if faces is not None and not identity.reads_faces:
        raise ValueError(f"Disconnect faces; {what} pictures.")
    if faces is not None and REFERENCE in (grid.across.axis, grid.down.axis):
        raise ValueError(
            f"Set across and down to something else than {REFERENCE}; all faces together are one image prompt."
        )
    tell(identity, instruction)
    method_for(identity.variant, method)


def expand(
    grid: Grid, cells: list[list[Cell]], links: Links, prompting: Prompting, sampler: dict[str, Any]
) -> tuple[Any, Any]:
    """The nodes of a grid, and of these the one whose outputs are the grid's.

    sampler: what is the same for all cells, by the names of the host's KSampler.
    """
    graph = GraphBuilder()
    flat = [cell for row in cells for cell in row]
    different = {cell.sampled: cell for cell in reversed(flat)}  # the first of those that are alike
    made = {key: _picture(graph, cell, links, prompting, sampler) for key, cell in reversed(different.items())}
    pictures = {f"{CELL}{n}": made[cell.sampled].out(0) for n, cell in enumerate(flat)}
    words = {
        "across": grid.across.axis,
        "across_values": "\n".join(grid.across.words),
        "down": grid.down.axis,
        "down_values": "\n".join(grid.down.words),
    }
    sheet = graph.node(SHEET, "sheet", references=links.references, **words, **pictures)
    return graph.finalize(), sheet


def _picture(graph: GraphBuilder, cell: Cell, links: Links, prompting: Prompting, sampler: dict[str, Any]) -> Any:
    """The nodes of one cell, the last of which gives its picture."""
    prompted = graph.node(
        MODEL,
        model=links.model,
        image_prompt=_prompt(graph, cell.reference, links, prompting.fit).out(0),
        weight=cell.weight,
        weight_type=cell.weight_type,
        start=cell.start,
        end=cell.end,
        method=prompting.method,
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
    """The image prompt of one reference, of all together, or of the faces; cells that read the same share it."""
    inputs = {"ip_adapter": links.ip_adapter, "clip_vision": links.clip_vision}
    if links.faces is not None:
        return graph.node(ENCODE_FACE, "prompt of faces", **inputs, faces=links.faces, shortcut=1.0)
    image = links.references
    if reference is not None:
        chosen = graph.node("ImageFromBatch", f"image {reference}", image=image, batch_index=reference - 1, length=1)
        image = chosen.out(0)
    told = {"instruction": links.instruction} if links.instruction else {}
    return graph.node(ENCODE, f"prompt {reference or 'of all'}", **inputs, image=image, fit=fit, **told)
