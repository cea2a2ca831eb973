"""The fixtures that the tests on a server share: what it has to work on, and the pictures to compare with.

A file that needs other models, or a server of its own, has a `stocked` of its own; `plain` and `prompted` follow it.
"""

import numpy as np
import pytest

from live.prompting import Prompted, picture, stock
from live.server import Server


@pytest.fixture(scope="module")
def stocked(server: Server) -> Server:
    """The shared server with the specimens and reference pictures."""
    return stock(server)


@pytest.fixture(scope="module")
def plain(stocked: Server) -> np.ndarray:
    """The picture without image prompts."""
    return picture(stocked)


@pytest.fixture(scope="module")
def prompted(stocked: Server) -> np.ndarray:
    """The picture with one image prompt."""
    return picture(stocked, Prompted())
