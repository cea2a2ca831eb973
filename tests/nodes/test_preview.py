"""Small pictures are shown large enough to see, as whole pixels; others as they are."""

import pytest
import torch

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.mark.parametrize(
    ("given", "shown"), [((32, 32), (224, 224)), ((30, 60), (120, 240)), ((224, 100), (224, 100)), ((9, 512), (9, 512))]
)
def test_a_small_picture_is_enlarged_by_a_whole_number(given: tuple[int, int], shown: tuple[int, int]) -> None:
    from comfyui_ip_adapter.nodes.preview import enlarged

    assert enlarged(torch.zeros(2, *given, 3)).shape == (2, *shown, 3)


def test_each_pixel_becomes_a_square() -> None:
    from comfyui_ip_adapter.nodes.preview import enlarged

    picture = torch.rand(1, 112, 112, 3)
    shown = enlarged(picture)
    assert all(torch.equal(shown[:, y::2, x::2], picture) for y in (0, 1) for x in (0, 1))
