"""How plans are put into effect: ids of the new nodes, and where every output is afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .sheet import Key, Made, Part, Plan, Source

Ids = dict[tuple[Key, str], Key]
"""Ids of new nodes, by the old node and the part."""


def new_ids(plans: Mapping[Key, Plan], fresh: Callable[[], Key]) -> Ids:
    """An id for each new node: the last part of an old node keeps its id. fresh: makes one that is not used."""
    ids: Ids = {}
    for key, plan in plans.items():
        *others, last = plan.parts or (None,)
        if last is not None:
            ids |= {(key, part.name): fresh() for part in others if part} | {(key, last.name): key}
    return ids


def where(output: Source | Made | None, plans: Mapping[Key, Plan], ids: Ids) -> Source | None:
    """Where an output is once all plans are in effect; None where it is no more."""
    if isinstance(output, Made):
        return Source(ids[output.owner, output.part], output.slot)
    if output is None or output.node not in plans:
        return output
    return where(plans[output.node].outputs.get(output.slot), plans, ids)


def is_link(given: object) -> bool:
    """Whether an input of a new node is given by a link."""
    return isinstance(given, Source | Made)


def links_of(part: Part) -> dict[str, Source | Made]:
    """The inputs of a new node that are linked."""
    return {name: given for name, given in part.inputs.items() if isinstance(given, Source | Made)}
