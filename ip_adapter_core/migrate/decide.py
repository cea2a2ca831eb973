"""Which old nodes become ours, and which stay: those that cannot be carried over, and what their sockets hold back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from . import rows
from .loaders import UNIFIED
from .sheet import OLD_SOCKETS, Key, Made, Node, Plan, Sheet, Source, Stays, Way

_CHAIN = "ipadapter"  # of the unified loaders: it only spared the old pack to load twice


class Decided(NamedTuple):
    """plans: of the nodes that become ours. stay: of the others, why. Both by node."""

    plans: dict[Key, Plan]
    stay: dict[Key, str]


def decide(sheet: Sheet, way: Way) -> Decided:
    """What becomes of all old nodes of a graph."""
    stay: dict[Key, str] = {}
    while True:
        plans, refused = _plans(sheet, way, stay)
        stay |= refused
        held = _held(sheet, plans, stay)
        if not refused and not held:
            return Decided(plans, stay)
        stay |= held


def _plans(sheet: Sheet, way: Way, stay: Mapping[Key, str]) -> tuple[dict[Key, Plan], dict[Key, str]]:
    plans, refused = {}, {}
    for node in sheet.old():
        if node.key not in stay:
            try:
                plans[node.key] = rows.plan(node, sheet, way)
            except Stays as why:
                refused[node.key] = str(why)
    return plans, refused


def _held(sheet: Sheet, plans: Mapping[Key, Plan], stay: Mapping[Key, str]) -> dict[Key, str]:
    """Further nodes that stay: their neighbours by sockets that are not ours do, or a link would lead nowhere."""
    used = {source for plan in plans.values() for source in _used(plan)}
    held = {}
    for node in sheet.old():
        if node.key in plans:
            whys = (*_by_neighbours(node, sheet, stay), *_by_outputs(node, sheet, plans[node.key]))
            why = next(iter((*whys, *_by_inputs(node, sheet, plans[node.key], used))), None)
            if why:
                held[node.key] = why
    return held


def _by_neighbours(node: Node, sheet: Sheet, stay: Mapping[Key, str]) -> Iterator[str]:
    for output in _old_outputs(node):
        for taker, _ in sheet.takers(output):
            if taker.key in stay:
                yield f"{taker.row.name} (node {taker.key}), which takes its {output_name(node, output)}, stays"
    for name, source in node.sources.items():
        giver = sheet.giver(source)
        is_chain = name == _CHAIN and node.id in UNIFIED
        if giver and giver.key in stay and not is_chain and sheet.origin(source) in _old_outputs(giver):
            yield f"{giver.row.name} (node {giver.key}), which its {name} comes from, stays"


def _by_outputs(node: Node, sheet: Sheet, plan: Plan) -> Iterator[str]:
    """Outputs that others take and that are no longer there."""
    for slot, output in enumerate(node.row.outputs):
        source = Source(node.key, slot)
        takers = sheet.takers(source)
        if output.type in OLD_SOCKETS:
            lost = sheet.leaves(source) or any(not taker.id for taker, _ in takers)
        else:
            lost = plan.outputs.get(slot) is None and sheet.is_taken(source)
        if lost:
            yield f"a node of others takes its {output.name}, or it leaves the subgraph"


def _by_inputs(node: Node, sheet: Sheet, plan: Plan, used: set[Source]) -> Iterator[str]:
    """Links from nodes of others that would be lost. used: outputs that any plan takes."""
    stands_elsewhere = not plan.parts or node.id in UNIFIED
    taken = used if stands_elsewhere else set(_used(plan))
    for name, source in node.sources.items():
        if not sheet.giver(source) and source not in taken and name not in plan.needless:
            yield f"its {name} is connected, and no node of ours takes that"


def output_name(node: Node, output: Source) -> str:
    """What an old node's output is called."""
    return node.row.outputs[output.slot].name


def _old_outputs(node: Node) -> list[Source]:
    return [Source(node.key, slot) for slot, output in enumerate(node.row.outputs) if output.type in OLD_SOCKETS]


def _used(plan: Plan) -> Iterator[Source]:
    given = [value for part in plan.parts for value in part.inputs.values()]
    for value in (*given, *plan.outputs.values()):
        if isinstance(value, Source) and not isinstance(value, Made):
            yield value
