"""What users write on nodes, checked before a graph runs."""

from __future__ import annotations

from collections.abc import Callable


def readable(read: Callable[..., object], *given: object) -> bool | str:
    """Whether what was written can be read, or the reason why not, as `validate_inputs` gives it.

    An input that is wired in is None: it is known only when the graph runs.
    """
    if None in given:
        return True
    try:
        read(*given)
    except ValueError as mistake:
        return str(mistake)
    return True
