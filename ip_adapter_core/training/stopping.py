"""How a training in a terminal is asked to stop: by a signal, for the end of the step it is in."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A terminal signals every process, and a launcher passes on what it receives: the same wish comes twice.
_ECHO = 3.0  # seconds


class StopRequest:
    """Catches Ctrl-C and the end that a launcher announces, between entering and leaving it, in the main thread.

    asked: whether the training is to stop. A later signal raises KeyboardInterrupt at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
        self._before: dict[int, Callable[..., Any] | int | None] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._received) for number in _SIGNALS}
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def check(self) -> None:
        """Raises KeyboardInterrupt when the training is to stop; ask at the end of a step."""
        if self.asked:
            raise KeyboardInterrupt

    def _received(self, *signalled: object) -> None:
        if self.asked and time.monotonic() - self._since > _ECHO:
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._since = True, time.monotonic()
