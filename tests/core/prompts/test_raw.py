"""Embeds of several sources as one, against formulas of their own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from comfyui_ip_adapter.ip_adapter_core.prompts.raw import METHODS, combine_embeds
from drawn import draw

Array = NDArray[np.float64]

OLD_NORM = "norm average (IPAdapter Plus)"
FORMULAS: dict[str, Callable[[Array], Array]] = {
    "concat": lambda images: images,
    "add": lambda images: images.sum(0, keepdims=True),
    "subtract": lambda images: images[:1] - images[1:].mean(0, keepdims=True),
    "average": lambda images: images.mean(0, keepdims=True),
    "norm average": lambda images: (
        (images / np.linalg.norm(images, axis=-1, keepdims=True)).mean(0, keepdims=True)
        * np.linalg.norm(images, axis=-1, keepdims=True).mean(0, keepdims=True)
    ),
    "max": lambda images: images.max(0, keepdims=True),
    "min": lambda images: images.min(0, keepdims=True),
    OLD_NORM: lambda images: (images / np.sqrt((images**2).sum(0, keepdims=True))).mean(0, keepdims=True),
}
SHAPES = [(32,), (5, 16)]


@pytest.mark.parametrize("shape", SHAPES, ids=["embeds", "hidden"])
@pytest.mark.parametrize("sources", [2, 3, 5])
@pytest.mark.parametrize("how", METHODS)
def test_every_method_follows_its_formula_over_all_images(how: str, sources: int, shape: tuple[int, ...]) -> None:
    parts = [draw(1 + number % 2, *shape, seed=number) for number in range(sources)]
    images = np.concatenate([part.double().numpy() for part in parts])
    assert np.allclose(combine_embeds(parts, how).numpy(), FORMULAS[how](images), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=["embeds", "hidden"])
@pytest.mark.parametrize("how", [how for how in METHODS if how != OLD_NORM])
def test_one_image_stays_as_it_is(how: str, shape: tuple[int, ...]) -> None:
    part = draw(1, *shape)
    assert torch.allclose(combine_embeds([part], how), part, atol=1e-6)


def test_the_old_norm_average_leaves_of_one_image_its_signs() -> None:
    part = draw(1, 32)
    assert torch.allclose(combine_embeds([part], OLD_NORM), part.sign())


@pytest.mark.parametrize("how", METHODS)
def test_no_number_is_lost_where_all_images_have_a_zero(how: str) -> None:
    assert combine_embeds([torch.zeros(1, 4), torch.zeros(1, 4)], how).isfinite().all()


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([torch.zeros(1, 32), torch.zeros(1, 64)], r"found embeds of \[32\] and of \[64\] numbers"),
        ([torch.zeros(1, 32), torch.zeros(2, 32), torch.zeros(1, 5, 32)], r"of \[32\] and of \[5, 32\] numbers"),
        ([], "found none"),
    ],
)
@pytest.mark.parametrize("how", METHODS)
def test_embeds_that_do_not_go_together_are_refused(how: str, parts: list[torch.Tensor], says: str) -> None:
    with pytest.raises(ValueError, match=rf"^(Combine|Connect) embeds .*{says}"):
        combine_embeds(parts, how)


@pytest.mark.parametrize("how", ["separate", "one per frame", "median"])
def test_a_method_that_means_nothing_here_is_refused(how: str) -> None:
    with pytest.raises(ValueError, match=rf"^Set method to one of concat, .*; found .{how}"):
        combine_embeds([torch.zeros(1, 4)], how)
