"""Prepare Reference takes lists: what it does with each entry it does with that alone, and it may join the squares."""

from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.vision.borders import Border
from comfyui_ip_adapter.ip_adapter_core.vision.colours import BLACK, WHITE
from comfyui_ip_adapter.ip_adapter_core.vision.cutout import Background
from comfyui_ip_adapter.ip_adapter_core.vision.prepare import Square, boxes, sharpen, square

pytestmark = pytest.mark.usefixtures("comfy")

BEFORE = {"crop": "center", "size": 24, "interpolation": "LANCZOS", "sharpen": 0.0}


def photos(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(height + width))


MIXED = [photos(30, 50), photos(50, 30, 2), photos(9, 9), photos(64, 20)]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the node draws, instead of files in ComfyUI's folder."""
    from comfyui_ip_adapter.nodes import prepare

    seen: list[Any] = []
    monkeypatch.setattr(prepare.cut_sheet, "draw", lambda cuts: seen.append(cuts))
    monkeypatch.setattr(prepare, "to_image", lambda drawn: drawn)
    monkeypatch.setattr(prepare, "preview", lambda images, cls: None)
    return seen


def run(**lists: list[Any]) -> list[Tensor]:
    """What comes out of lists of inputs, as ComfyUI hands them to the node."""
    from comfyui_ip_adapter.nodes.prepare import Prepare

    usual = {name: [value] for name, value in BEFORE.items()}
    (found,) = Prepare.execute(**(usual | lists)).args
    return list(found)


def notices(**lists: list[Any]) -> tuple[str, ...]:
    from comfyui_ip_adapter.nodes.prepare import Prepare

    usual = {name: [value] for name, value in BEFORE.items()}
    return tuple((Prepare.execute(**(usual | lists)).ui or {}).get("text", ()))


def same(found: list[Tensor], wanted: list[Tensor]) -> bool:
    return len(found) == len(wanted) and all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("crop", ["center", "top", "right", "pad", "point"])
def test_a_graph_of_before_gives_what_it_gave(shown: list[Any], crop: str) -> None:
    how = Square(crop, 24, "BOX", (0.2, 0.9))
    more = {"point_x": [0.2], "point_y": [0.9], "interpolation": ["BOX"], "crop": [crop], "sharpen": [0.3]}
    for image in MIXED:
        assert same(run(image=[image], **more), [sharpen(square(image, how), 0.3)])


def test_each_entry_of_a_list_comes_out_as_it_does_alone(shown: list[Any]) -> None:
    assert same(run(image=MIXED), [run(image=[image])[0] for image in MIXED])


def test_lists_of_other_inputs_go_with_the_pictures_and_their_last_entry_with_all_later_ones(shown: list[Any]) -> None:
    found = run(image=MIXED, crop=["top", "left"], size=[8, 16, 24])
    hows = [Square("top", 8), Square("left", 16), Square("left", 24), Square("left", 24)]
    assert same(found, [square(image, how) for image, how in zip(MIXED, hows, strict=True)])
    assert same(run(image=MIXED[:1], size=[8, 16]), [square(MIXED[0], Square(size=size)) for size in (8, 16)])


def test_one_batch_joins_pictures_of_any_sizes(shown: list[Any]) -> None:
    (batch,) = run(image=MIXED, one_batch=[True])
    assert torch.equal(batch, torch.cat(run(image=MIXED)))
    assert batch.shape == (5, 24, 24, 3)


def test_one_batch_of_several_sizes_is_told(shown: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"^Give all pictures one size, or switch one_batch off: .* found 8, 16"):
        run(image=MIXED, size=[8, 16], one_batch=[True])


def test_masks_go_with_their_pictures(shown: list[Any]) -> None:
    masks = [torch.ones(1, 5, 5), torch.eye(30)[None], None, torch.eye(9)[None]]
    with pytest.raises(ValueError, match="found no mask"):
        run(image=MIXED, mask=masks, crop=["mask"])
    masks[2] = torch.eye(4)[None]
    found = run(image=MIXED, mask=masks, crop=["mask"], margin=[0.0])
    assert same(found, [square(image, Square("mask", 24), mask) for image, mask in zip(MIXED, masks, strict=True)])


def test_every_word_of_the_menus_is_what_it_says(shown: list[Any]) -> None:
    from comfyui_ip_adapter.nodes.prepare import _BACKGROUNDS, _BORDERS

    borders = {"grey": Border(), "black": Border(colour=BLACK), "white": Border(colour=WHITE)}
    borders |= {"colour": Border(colour=(1, 0, 0)), "mirrored": Border("mirrored"), "blurred": Border("blurred")}
    assert tuple(borders) == _BORDERS
    for word, border in borders.items():
        found = run(image=MIXED[:1], crop=["pad"], border=[word], colour=["#ff0000"])
        assert same(found, [square(MIXED[0], Square("pad", 24, border=border))])
    mask, backgrounds = torch.eye(30), {"keep": None, "grey": Background(soft_edge=0.0)}
    colours = {"black": BLACK, "white": WHITE, "colour": (1.0, 0.0, 0.0)}
    backgrounds |= {word: Background(colour, 0.0) for word, colour in colours.items()}
    assert tuple(backgrounds) == _BACKGROUNDS
    for word, background in backgrounds.items():
        found = run(image=MIXED[:1], mask=[mask], background=[word], soft_edge=[0.0], colour=["#f00"])
        assert same(found, [square(MIXED[0], Square(size=24, background=background), mask)])


def test_a_colour_is_read_only_where_it_counts(shown: list[Any]) -> None:
    assert same(run(image=MIXED[:1], border=["colour"], colour=["none"]), run(image=MIXED[:1]))
    for more in ({"crop": ["pad"], "border": ["colour"]}, {"mask": [torch.eye(9)], "background": ["colour"]}):
        with pytest.raises(ValueError, match=r"^Write colour as #rrggbb"):
            run(image=MIXED[:1], colour=["none"], **more)


def test_the_sheet_shows_each_picture_with_its_cut_and_its_square(shown: list[Any]) -> None:
    found = run(image=MIXED, crop=["top"])
    (cuts,) = shown
    assert same([cut.picture for cut in cuts], [picture for image in MIXED for picture in image])
    assert same([cut.square for cut in cuts], [one for squares in found for one in squares])
    assert [cut.box for cut in cuts] == [box for image in MIXED for box in boxes(image, Square("top"))]


def test_a_mask_that_no_choice_reads_is_told(shown: list[Any]) -> None:
    mask = [torch.eye(9)]
    (said,) = notices(image=MIXED, mask=mask)
    assert said.startswith("Set crop to mask, or background to a colour")
    assert notices(image=MIXED) == notices(image=MIXED, mask=mask, crop=["mask"]) == ()
    assert notices(image=MIXED, mask=mask, background=["grey"]) == ()


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"image": []}, "^Connect image to a node that gives something; found an empty list"),
        ({"image": [MIXED[0], "text"]}, "^Connect image to a node that gives IMAGE; found 'text'"),
        ({"image": MIXED, "size": [24, float("nan")]}, "^Set size to a finite number such as 3; found nan"),
        ({"image": MIXED, "crop": ["center", "middle"]}, "^Set crop to one of center, .*; found 'middle'"),
        ({"image": MIXED, "border": ["green"]}, "^Set border to one of grey, .*; found 'green'"),
        ({}, "^Connect image to a node that gives IMAGE; found nothing"),
    ],
)
def test_what_is_wrong_in_any_entry_is_told(shown: list[Any], lists: dict[str, list[Any]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run(**lists)


def test_null_for_an_optional_input_is_its_default(shown: list[Any]) -> None:
    nulls = {name: [None] for name in ("mask", "margin", "border", "background", "soft_edge", "colour", "one_batch")}
    assert same(run(image=MIXED, **nulls), run(image=MIXED))
