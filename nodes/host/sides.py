"""Which side each row of a batch is on: whether it is prompted with the images, or with their negatives.

A guider names its conds; the host numbers the lists of conds that are computed together, and says of each chunk of a
batch which list and which cond it is of. Names are all that tells sides: lists have other numbers in other guiders,
and the host hands conds from one list to another where areas need a partner.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ...ip_adapter_core.prompt import COND, UNCOND

Sides = tuple[int, ...]
Conds = Sequence[Mapping[str, Any]]
Named = Mapping[str, Conds | None]

LISTS = "ip_adapter_sides"
"""Where transformer_options hold the side of each list of conds that is computed."""


def of_lists(lists: Sequence[Conds | None], named: Named) -> Sides:
    """The side of each list of conds that are computed together; named: all conds of the guider.

    Lists that no guider named are a pack's own: one by itself is what guidance counts from, and several stand as the
    host's own do, the second being negative.
    """
    found = [_told(conds, named) if conds else UNCOND for conds in lists]
    if None in found:
        _tell_once()
    alone = len(lists) == 1
    return tuple(
        (UNCOND if alone else _by_position(number)) if side is None else side for number, side in enumerate(found)
    )


def of_chunks(options: Mapping[str, Any], named: Named) -> Sides:
    """The side of each chunk of a batch, from the options of its call; by position where nothing else tells."""
    positions = options.get("cond_or_uncond", [COND])
    uuids = options.get("uuids", [None] * len(positions))
    lists: Sides = options.get(LISTS, ())
    return tuple(
        lists[position] if position < len(lists) else _by_uuid(uuid, position, named)
        for position, uuid in zip(positions, uuids, strict=True)
    )


def _told(conds: Conds, named: Named) -> int | None:
    """The side of a list: of the name with just its conds, or on which all of them are that one side alone names."""
    whole = {_side(name) for name, others in named.items() if _uuids(others) == _uuids(conds)}
    if len(whole) == 1:
        return whole.pop()
    sides = [_named_sides(cond, named) for cond in conds]
    agreed = {side for found in sides if len(found) == 1 for side in found}
    return agreed.pop() if len(agreed) == 1 else None


def _named_sides(cond: Mapping[str, Any], named: Named) -> set[int]:
    """The sides of names that hold this cond, or else one of its uuid: the host copies conds with their uuids."""
    same = {_side(name) for name, conds in named.items() for other in conds or () if other is cond}
    uuid = cond.get("uuid")
    return same or {
        _side(name) for name, conds in named.items() for other in conds or () if uuid and other.get("uuid") == uuid
    }


def _uuids(conds: Conds | None) -> list[Any]:
    return [cond.get("uuid") for cond in conds or ()]


def _by_uuid(uuid: Any, position: int, named: Named) -> int:
    found = _named_sides({"uuid": uuid}, named)
    return found.pop() if len(found) == 1 else _by_position(position)


def _side(name: str) -> int:
    """Guiders name two, three or more conds: `negative`, `empty_negative_prompt`, and what is none."""
    return UNCOND if "negative" in name else COND


def _by_position(position: int) -> int:
    return UNCOND if position == 1 else COND


@lru_cache(maxsize=1)
def _tell_once() -> None:
    logging.warning(
        "IP-Adapter: another pack samples with a text that no guider named. Where it stands alone it counts as what "
        "guidance goes out from, and reads what the negative prompt reads."
    )
