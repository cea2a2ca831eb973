"""Goals 1 to 4: the time that image prompts add to a UNet call of SD1.5, within the call."""

from __future__ import annotations

import logging

from .. import pack
from ..cases import FOUR, LOADS, MANY, MASKED, NULL, ONE, PEERS, WAYS, Apply, beside, standard
from ..cost import Cost, conditions, cost
from ..figures import Findings
from ..settings import Settings
from ..timing import ratios
from ..unets import unet

_log = logging.getLogger(__name__)

# goal: the case and the one it is held against
_RATIOS = {
    "one to peers": (ONE, beside(ONE, PEERS)),
    "four to one": (FOUR, ONE),
    "four to peers": (FOUR, beside(FOUR, PEERS)),
    "many to peers": (MANY, beside(MANY, PEERS)),
    "mask to none": (MASKED, ONE),
}


def measure(settings: Settings) -> Findings:
    """Ratios of added times, each case's share of the call, and the method's zero."""
    found = Findings()
    others = ways(found)
    model = unet("SD1.5")
    measured = cost(model, standard(model, others), settings)
    how = conditions(settings)
    compare(found, measured, how)
    against(found, measured, [way for way in others if way != PEERS], how)
    found.add("UNet call", measured.calls, "s", how)
    found.add(f"of it around the network: {ONE}", 1000 * measured.around[ONE], "ms", how)
    return found


def ways(found: Findings) -> dict[str, Apply]:
    """The peers' method, and another pack's where one is named and can be run."""
    try:
        return WAYS | pack.named()
    except ValueError as error:
        _log.warning("%s", error)
        found.lack(["PEER"], str(error))
        return WAYS


def compare(found: Findings, measured: Cost, how: str) -> None:
    """The goals, and the share of the call that each case adds."""
    for goal, (this, that) in _RATIOS.items():
        found.add(goal, ratios(measured.added[this], measured.added[that]), "×", how)
    found.add("one of call", measured.shares[ONE], "%", how)
    for name, values in measured.shares.items():
        what = "the method's zero: the plain model against itself" if name == NULL else f"added by {name}"
        found.add(what, values, "%", how)


def against(found: Findings, measured: Cost, packs: list[str], how: str) -> None:
    """Our added time against that of other packs, for the same loads."""
    for pack_name in packs:
        for load in LOADS:
            theirs = measured.added[beside(load, pack_name)]
            found.add(f"{load}: added time, against {pack_name}", ratios(measured.added[load], theirs), "×", how)
