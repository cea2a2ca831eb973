"""Which side each row of a batch is on: whether it is prompted with the images, or with their negatives.

A guider names its conds; the host numbers the lists of conds that are computed together, and says of each chunk of a
batch which list and which cond it is of. Names tell sides: lists have other numbers in other guiders, and the host
hands conds from one list to another where areas need a partner. Names that say nothing leave it to the numbers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ....ip_adapter_core.prompts.prompt import COND, UNCOND

Sides = tuple[int, ...]
Conds = Sequence[Mapping[str, Any]]
Named = Mapping[str, Conds | None]

LISTS = "ip_adapter_sides"
"""Where transformer_options hold the side of each list of conds that is computed."""


# How words in names begin; the first one decides: `negative`, `empty_negative_prompt`, `uncond`, `positive`, `middle`.
_WORDS = {"neg": UNCOND, "uncond": UNCOND, "empty": UNCOND, "pos": COND, "cond": COND, "middle": COND}
_WORD = re.compile(rf"(?<![a-z])({'|'.join(_WORDS)})")


def of_lists(lists: Sequence[Conds | None], named: Named) -> Sides:
    """The side of each list of conds that are computed together; named: all conds of the guider.

    Lists that no guider named are a pack's own: one by itself is what guidance counts from, and several stand as the
    host's own do, the second being negative.
    """
    return tuple(_of_list(number, conds or (), named, alone=len(lists) == 1) for number, conds in enumerate(lists))


def of_chunks(options: Mapping[str, Any], named: Named) -> Sides:
    """The side of each chunk of a batch, from the options of its call; by position where nothing else tells."""
    positions = options.get("cond_or_uncond", [COND])
    uuids = options.get("uuids", ())
    if len(uuids) != len(positions):  # a pack took a batch apart, and said only of which list its piece is
        uuids = [None] * len(positions)
    lists: Sides = options.get(LISTS, ())
    return tuple(
        lists[position] if position < len(lists) else _by_uuid(uuid, position, named)
        for position, uuid in zip(positions, uuids, strict=True)
    )


def by_text(texts: Tensor | None, named: Named) -> Sides | None:
    """The side of each row of a batch by its text (rows, tokens, width); None where texts do not tell."""
    known = [(_side(name), _text(cond)) for name, conds in named.items() for cond in conds or ()]
    found = [_of_text(text, known) for text in (() if texts is None else texts)]
    sides = tuple(side for side in found if side is not None)
    return sides if sides and len(sides) == len(found) else None


def _of_text(text: Tensor, known: Sequence[tuple[int | None, Tensor | None]]) -> int | None:
    """The one side that has this text (tokens, width), which may be repeated to as many tokens as others have."""
    sides = {side for side, own in known if own is not None and torch.equal(text[: len(own)], own.to(text))}
    return sides.pop() if len(sides) == 1 else None


def _text(cond: Mapping[str, Any]) -> Tensor | None:
    """What the host has made of a cond's text for the model, (tokens, width)."""
    made = getattr(cond.get("model_conds", {}).get("c_crossattn"), "cond", None)
    return made[0] if isinstance(made, Tensor) else None


def _of_list(number: int, conds: Conds, named: Named, alone: bool) -> int:
    if not conds:
        return UNCOND
    told = _told(conds, named)
    if told is not None:
        return told
    if any(_names(cond, named) for cond in conds):
        return _by_position(number)
    _warn_once()
    return UNCOND if alone else _by_position(number)


def _told(conds: Conds, named: Named) -> int | None:
    """The side of a list: of the name with just its conds, or on which all of them are that one side alone names."""
    whole = {_side(name) for name, others in named.items() if _uuids(others) == _uuids(conds)} - {None}
    if len(whole) == 1:
        return whole.pop()
    sides = [{_side(name) for name in _names(cond, named)} - {None} for cond in conds]
    agreed = {side for found in sides if len(found) == 1 for side in found}
    return agreed.pop() if len(agreed) == 1 else None


def _names(cond: Mapping[str, Any], named: Named) -> set[str]:
    """The names that hold this cond, or else one of its uuid: the host copies conds with their uuids."""
    same = {name for name, conds in named.items() for other in conds or () if other is cond}
    uuid = cond.get("uuid")
    alike = {name for name, conds in named.items() for other in conds or () if other.get("uuid") == uuid}
    return same or (alike if uuid else set())


def _uuids(conds: Conds | None) -> list[Any]:
    return [cond.get("uuid") for cond in conds or ()]


def _by_uuid(uuid: Any, position: int, named: Named) -> int:
    found = {_side(name) for name in _names({"uuid": uuid}, named)} - {None}
    side = found.pop() if len(found) == 1 else None
    return _by_position(position) if side is None else side


def _side(name: str) -> int | None:
    found = _WORD.search(name.lower())
    return _WORDS[found[1]] if found else None


def _by_position(position: int) -> int:
    return UNCOND if position == 1 else COND


@lru_cache(maxsize=1)
def _warn_once() -> None:
    logging.warning(
        "IP-Adapter: another pack samples with a text that no guider named. Where it stands alone it counts as what "
        "guidance goes out from, and reads what the negative prompt reads."
    )
