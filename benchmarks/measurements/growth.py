"""How cost grows with references, tokens, resolution, frames and adapters, at the attention sites of SD1.5 alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from comfy.model_patcher import ModelPatcher

from ..adapters import RandomAdapter, adapter
from ..cases import PEERS, PLAIN, WAYS, ours
from ..figures import Findings
from ..sampling import observed
from ..settings import Settings
from ..sites import alone, sites
from ..timing import differences, spread
from ..unets import hollow

OURS = "ours"
_TOKENS = 4
_FRAMES_SIZE = 128  # pixels, so that 256 frames fit into the memory of a small machine


class Point(NamedTuple):
    """What is measured: adapters as random ones are made, the size of the pictures, and how many there are."""

    adapters: Callable[[ModelPatcher], list[RandomAdapter]]
    size: int
    frames: int = 1


class Sweep(NamedTuple):
    """One thing that grows: its values, the point of each at the usual size, and how many repeats are enough."""

    values: Sequence[int]
    point: Callable[[int, int], Point]
    enough: int = 99


def _single(**how: int) -> Callable[[ModelPatcher], list[RandomAdapter]]:
    return lambda model: [adapter(model, **{"tokens": _TOKENS, **how})]


def _several(count: int) -> Callable[[ModelPatcher], list[RandomAdapter]]:
    return lambda model: [adapter(model, _TOKENS, seed) for seed in range(count)]


SWEEPS = {
    "references": Sweep((1, 2, 4, 8, 16, 32, 64), lambda n, size: Point(_single(references=n), size)),
    "tokens": Sweep((4, 8, 16, 32, 64, 128, 257), lambda n, size: Point(_single(tokens=n), size)),
    "pixels of a side": Sweep((256, 384, 512, 640, 768, 896, 1024), lambda n, size: Point(_single(), n)),
    "frames": Sweep((1, 4, 16, 64, 256), lambda n, size: Point(_single(frames=n), _FRAMES_SIZE, n), enough=3),
    "adapters": Sweep((1, 2, 3, 4, 5, 6, 8), lambda n, size: Point(_several(n), size)),
}


def measure(settings: Settings) -> Findings:
    """Milliseconds that each point adds to a call, in our way and in the peers'."""
    found = Findings()
    model = hollow("SD1.5")
    step = 1 if settings.thorough else 3
    for name, sweep in SWEEPS.items():
        curves: dict[str, list[tuple[float, float]]] = {OURS: [], PEERS: []}
        for value in sweep.values[::step]:
            repeats = min(settings.sweep, sweep.enough)
            for way, milliseconds in added(model, sweep.point(value, settings.sweep_size), repeats).items():
                curves[way].append((float(value), milliseconds))
        found.growth[name] = curves
    return found


def added(model: ModelPatcher, point: Point, repeats: int) -> dict[str, float]:
    """Milliseconds that each way adds to the text's attention, all sites of a call together."""
    adapters = point.adapters(model)
    models = {
        PLAIN: model,
        OURS: ours(model, [one.prompt for one in adapters]),
        PEERS: WAYS[PEERS](model, adapters),
    }
    told = {name: observed(one, point.size, point.frames) for name, one in models.items()}
    taken = alone(sites("SD1.5", point.size, 2 * point.frames), told, repeats)
    return {way: 1000 * spread(differences(taken[way], taken[PLAIN])).median for way in (OURS, PEERS)}
