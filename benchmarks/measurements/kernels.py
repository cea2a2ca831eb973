"""Goal 6: the kernels that image prompts add to a UNet call of SD1.5."""

from __future__ import annotations

from ..cases import FOUR, NULL, ONE, PLAIN, standard
from ..figures import Findings
from ..launches import launches
from ..settings import Settings
from ..sites import sites
from ..unets import hollow
from .added import ways

_SIZE = 256


def measure(settings: Settings) -> Findings:
    """Kernels and device reads of each case beyond the plain model's."""
    found = Findings()
    cases = standard(hollow("SD1.5"), ways(Findings()))
    where = sites("SD1.5", _SIZE)
    plain = launches(cases[PLAIN], where, _SIZE)
    counted = {name: launches(case, where, _SIZE) - plain for name, case in cases.items() if name not in (PLAIN, NULL)}
    how = "SD1.5, 16 layers, batch 2, torch.profiler on the CPU"
    found.add("kernels of one", counted[ONE].kernels, "", how)
    found.add("kernels of four", counted[FOUR].kernels, "", how)
    for name, more in counted.items():
        found.add(f"kernels added by {name}", more.kernels, "", f"{how}; reads of a device value: {more.reads}")
    return found
