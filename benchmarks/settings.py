"""How thoroughly to measure: two rows, `make bench` and `make bench QUICK=1`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Settings(NamedTuple):
    """size: pixels of a side, of the UNet calls; repeats: of them; brief: of what takes seconds or less; encoded: of
    the encoder; started: of ComfyUI; sweep: of each point of a curve, which sweep_size is drawn at; thorough: every
    point of it."""

    size: int
    repeats: int
    brief: int
    encoded: int
    started: int
    sweep: int
    sweep_size: int
    thorough: bool = True


THOROUGH = Settings(size=512, repeats=15, brief=15, encoded=5, started=7, sweep=9, sweep_size=512)
QUICK = Settings(size=256, repeats=7, brief=7, encoded=2, started=3, sweep=3, sweep_size=256, thorough=False)


def is_quick() -> bool:
    """Whether QUICK asks for less."""
    return os.environ.get("QUICK", "0") not in ("", "0")


def chosen() -> Settings:
    """What QUICK asks for."""
    return QUICK if is_quick() else THOROUGH


def peer() -> Path | None:
    """The folder of another pack to measure beside this one, as PEER names it."""
    named = os.environ.get("PEER")
    return Path(named).expanduser().absolute() if named else None
