"""Which side is each row of a batch on: is it prompted with the images (COND), or with their negatives (UNCOND)?

What the host says: a guider keeps its lists of conds under names such as `positive`; of each chunk of a batch the host
gives the number of the list and the uuid of the cond that it is computed for. Names decide, because lists have other
numbers in other guiders, and because the host moves conds from one list to another where areas need a partner.

Where names say nothing, the number decides: list 1 is negative, any other is positive. A list that no guider named and
that is computed alone counts as negative, with a warning: it is what guidance goes out from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ....ip_adapter_core.prompts.prompt import COND, UNCOND
from ..warn import warn_once

Sides = tuple[int, ...]
"""COND or UNCOND for each of several rows, chunks or lists."""
Conds = Sequence[Mapping[str, Any]]
CondsByName = Mapping[str, Conds | None]
"""All conds of a guider, by the names that it gives to its lists."""

LISTS = "ip_adapter_sides"
"""The key of transformer_options that holds the side of each list of conds that is computed."""

# How words in names begin; the first one decides: `negative`, `empty_negative_prompt`, `uncond`, `positive`, `middle`.
_SIDE_OF_WORD = {"neg": UNCOND, "uncond": UNCOND, "empty": UNCOND, "pos": COND, "cond": COND, "middle": COND}
_WORD = re.compile(rf"(?<![a-z])({'|'.join(_SIDE_OF_WORD)})")

_UNNAMED = (
    "IP-Adapter: another pack samples with a text that no guider named. Where it stands alone it counts as what "
    "guidance goes out from, and reads what the negative prompt reads."
)


def of_lists(lists: Sequence[Conds | None], guider_conds: CondsByName) -> Sides:
    """The side of each list of conds that are computed together.

    Lists that no guider named are a pack's own: one by itself is what guidance counts from, and several stand as the
    host's own do, the second being negative.
    """
    alone = len(lists) == 1
    return tuple(_of_list(number, conds or (), guider_conds, alone) for number, conds in enumerate(lists))


def of_chunks(options: Mapping[str, Any], guider_conds: CondsByName) -> Sides:
    """The side of each chunk of a batch, from the options of its call; by position where nothing else tells."""
    positions = options.get("cond_or_uncond", [COND])
    uuids = options.get("uuids", ())
    if len(uuids) != len(positions):  # a pack took a batch apart, and said only of which list its piece is
        uuids = [None] * len(positions)
    lists: Sides = options.get(LISTS, ())
    return tuple(
        lists[position] if position < len(lists) else _by_uuid(uuid, position, guider_conds)
        for position, uuid in zip(positions, uuids, strict=True)
    )


def by_text(texts: Tensor | None, guider_conds: CondsByName) -> Sides | None:
    """The side of each row of a batch by its text (rows, tokens, width); None where texts do not tell."""
    if texts is None:
        return None
    named = [(_of_name(name), _text(cond)) for name, conds in guider_conds.items() for cond in conds or ()]
    by_row = [_of_text(text, named) for text in texts]
    sides = tuple(side for side in by_row if side is not None)
    return sides if sides and len(sides) == len(by_row) else None


def _of_text(text: Tensor, named: Sequence[tuple[int | None, Tensor | None]]) -> int | None:
    """The one side that has this text (tokens, width), which may be repeated to as many tokens as others have."""
    sides = {side for side, other in named if other is not None and torch.equal(text[: len(other)], other.to(text))}
    return sides.pop() if len(sides) == 1 else None


def _text(cond: Mapping[str, Any]) -> Tensor | None:
    """What the host has made of a cond's text for the model, (tokens, width)."""
    context = getattr(cond.get("model_conds", {}).get("c_crossattn"), "cond", None)
    return context[0] if isinstance(context, Tensor) else None


def _of_list(number: int, conds: Conds, guider_conds: CondsByName, alone: bool) -> int:
    if not conds:
        return UNCOND
    named = _by_names(conds, guider_conds)
    if named is not None:
        return named
    if any(_names(cond, guider_conds) for cond in conds):
        return _by_position(number)
    warn_once(_UNNAMED)
    return UNCOND if alone else _by_position(number)


def _by_names(conds: Conds, guider_conds: CondsByName) -> int | None:
    """The side of a list: of the name with just its conds, or on which all of them are that one side alone names."""
    of_same_list = {_of_name(name) for name, others in guider_conds.items() if _uuids(others) == _uuids(conds)} - {None}
    if len(of_same_list) == 1:
        return of_same_list.pop()
    sides_of_conds = [{_of_name(name) for name in _names(cond, guider_conds)} - {None} for cond in conds]
    agreed = {side for sides in sides_of_conds if len(sides) == 1 for side in sides}
    return agreed.pop() if len(agreed) == 1 else None


def _names(cond: Mapping[str, Any], guider_conds: CondsByName) -> set[str]:
    """The names that hold this cond, or else one of its uuid: the host copies conds with their uuids."""
    same = {name for name, conds in guider_conds.items() for other in conds or () if other is cond}
    uuid = cond.get("uuid")
    copies = {name for name, conds in guider_conds.items() for other in conds or () if other.get("uuid") == uuid}
    return same or (copies if uuid else set())


def _uuids(conds: Conds | None) -> list[Any]:
    return [cond.get("uuid") for cond in conds or ()]


def _by_uuid(uuid: Any, position: int, guider_conds: CondsByName) -> int:
    sides = {_of_name(name) for name in _names({"uuid": uuid}, guider_conds)} - {None}
    side = sides.pop() if len(sides) == 1 else None
    return _by_position(position) if side is None else side


def _of_name(name: str) -> int | None:
    """The side that a name means; None where it says nothing."""
    word = _WORD.search(name.lower())
    return _SIDE_OF_WORD[word[1]] if word else None


def _by_position(position: int) -> int:
    return UNCOND if position == 1 else COND
