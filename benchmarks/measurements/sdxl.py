"""What image prompts add to a UNet call of SDXL, which has 70 layers: beside the goals. It needs 16 GB of memory."""

from __future__ import annotations

from ..cases import LOADS, MANY, NULL, ONE, PEERS, WAYS, beside, standard
from ..cost import conditions, cost
from ..figures import Findings
from ..settings import Settings
from ..timing import ratios
from ..unets import unet

_LOADS = {name: LOADS[name] for name in (ONE, MANY)}  # the peers' method holds 1.4 GB of weights for each adapter


def measure(settings: Settings) -> Findings:
    """Shares of a call, and ratios to the peers' method."""
    found = Findings()
    model = unet("SDXL")
    measured = cost(model, standard(model, WAYS, _LOADS), settings._replace(repeats=settings.sweep))
    how = conditions(settings, "SDXL")
    for name in _LOADS:
        ratio = ratios(measured.added[name], measured.added[beside(name, PEERS)])
        found.add(f"SDXL, {name}: added time, against {PEERS}", ratio, "×", how)
    for name, shares in measured.shares.items():
        if name != NULL:
            found.add(f"SDXL: added by {name}", shares, "%", how)
    found.add("SDXL: UNet call", measured.calls, "s", how)
    return found
