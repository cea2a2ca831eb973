"""How a user stops a training in a terminal: a signal ends it after the current step."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A terminal signals every process, and a launcher passes the signal on: one Ctrl-C arrives twice.
_ECHO = 3.0  # seconds


class StopRequest:
    """A context that catches Ctrl-C and a launcher's SIGTERM in the main thread.

    asked: whether the training must stop. A second signal raises KeyboardInterrupt at once.
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
        """Raises KeyboardInterrupt when the training must stop; it is called at the end of a step."""
        if self.asked:
            raise KeyboardInterrupt

    def _received(self, *signalled: object) -> None:
        if self.asked and time.monotonic() - self._since > _ECHO:
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._since = True, time.monotonic()
