"""A warning in ComfyUI's log that is written once, however often its cause comes back."""

from __future__ import annotations

import logging
from functools import cache


@cache
def warn_once(text: str) -> None:
    """Log a warning, unless this process has logged the same text before."""
    logging.warning(text)
