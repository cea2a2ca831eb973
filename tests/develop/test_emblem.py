"""The icon and the banner have the shapes that the registry wants, and are what the script draws."""

import numpy as np
import pytest
from PIL import Image

from develop import emblem


@pytest.mark.parametrize("name", emblem.PICTURES)
def test_the_committed_picture_is_what_the_script_draws(name: str) -> None:
    with Image.open(emblem.IMAGES / name) as committed:
        drawn = np.asarray(emblem.PICTURES[name]()).astype(int)
        assert np.abs(drawn - np.asarray(committed.convert("RGB"))).mean() < 1, "run make emblem"


def test_the_icon_is_square_and_the_banner_21_to_9() -> None:
    icon, banner = (Image.open(emblem.IMAGES / name).size for name in ("icon.png", "banner.png"))
    assert icon[0] == icon[1] <= 400
    assert banner[0] * 9 == banner[1] * 21
