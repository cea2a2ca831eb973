"""Goal 6: the kernels that image prompts add to a UNet call of SD1.5.

Counted in the form that GPUs get, where each kernel costs; and in the processor's own, which starts more and is faster
there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from comfy.model_patcher import ModelPatcher

from ...ip_adapter_core.attention.grouped import FORM_OF
from ..cases import FOUR, LOADS, MASKED, NULL, ONE, PLAIN, standard
from ..figures import Findings
from ..launches import Launches, launches
from ..settings import Settings
from ..sites import sites
from ..unets import hollow
from .added import ways

_SIZE = 256
_COUNTED = "SD1.5, 16 layers, batch 2, operators counted by torch.profiler on the processor"


def measure(settings: Settings) -> Findings:
    """Kernels and device reads of each case beyond the plain model's."""
    found = Findings()
    cases = standard(hollow("SD1.5"), ways(Findings()))
    with _as_on_a_gpu():
        counted = _counted(cases)
    found.add("kernels of one", counted[ONE].kernels, "", f"{_COUNTED}, in the form for GPUs")
    found.add("kernels of four", counted[FOUR].kernels, "", f"{_COUNTED}, in the form for GPUs")
    ours = (*LOADS, MASKED)
    for name, more in counted.items():
        _add(found, f"{name}, in the form for GPUs" if name in ours else name, more)
    for name, more in _counted({name: cases[name] for name in (PLAIN, *ours)}).items():
        _add(found, f"{name}, in the form for processors", more)
    return found


@contextmanager
def _as_on_a_gpu() -> Iterator[None]:
    """Image prompts take the form that they have where starting a kernel costs."""
    usual = dict(FORM_OF)
    FORM_OF["cpu"] = FORM_OF["cuda"]
    try:
        yield
    finally:
        FORM_OF.update(usual)


def _counted(cases: Mapping[str, ModelPatcher]) -> dict[str, Launches]:
    where = sites("SD1.5", _SIZE)
    plain = launches(cases[PLAIN], where, _SIZE)
    return {name: launches(case, where, _SIZE) - plain for name, case in cases.items() if name not in (PLAIN, NULL)}


def _add(found: Findings, name: str, more: Launches) -> None:
    found.add(f"kernels added by {name}", more.kernels, "", f"{_COUNTED}; reads of a device value: {more.reads}")
