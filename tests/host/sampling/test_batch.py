"""Whose rows a batch holds: what the host says, windows of frames, tiles, and batches of which nothing is known."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND

pytestmark = pytest.mark.usefixtures("comfy")
BOTH = {"cond_or_uncond": [1, 0]}
NAMED: dict[str, Any] = {"positive": [{"uuid": 1}], "negative": [{"uuid": 2}]}


def batch(rows: int, options: dict[str, Any], pictures: int = 1, framed: bool = False, texts: Any = None) -> Any:
    """The batch of so many rows of small pictures."""
    from comfyui_ip_adapter.nodes.host.sampling.batch import Batch, StepScene

    scene = StepScene(pictures, texts or NAMED, framed, None)
    given = (
        None if texts is None else torch.cat([cond["model_conds"]["c_crossattn"].cond for (cond,) in texts.values()])
    )
    return Batch.of(scene, options, torch.zeros(rows, 4, 8, 6), torch.float16, given)


def window(*frames: int, dim: int = 0, **more: Any) -> dict[str, Any]:
    """Options of a call in a context window of the host."""
    return {"context_window": SimpleNamespace(dim=dim, index_list=list(frames), **more)}


def test_rows_stand_chunk_by_chunk_and_frame_by_frame() -> None:
    found = batch(6, BOTH, pictures=3)
    assert found.order == (1, (UNCOND, COND), (0, 1, 2))
    assert (found.order.groups, list(found.order.firsts), found.order.rows) == ((UNCOND, COND), [0, 3], 6)
    assert (found.crops.whole, found.crops.grid, found.crops.corners) == ((8, 6), (8, 6), ((0, 0), (0, 0)))
    assert (found.device, found.dtype) == (torch.device("cpu"), torch.float16)


def test_tiles_repeat_the_chunks() -> None:
    order = batch(8, BOTH, pictures=2).order
    assert (order.parts, order.groups, list(order.firsts)) == (2, (UNCOND, COND) * 2, [0, 2, 4, 6])


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (window(4, 5), (4, 5)),
        (window(4, 5, causal_anchor_index=-1), (4, 5)),
        (window(4, causal_anchor_index=0), (0, 4)),
        ({"ad_params": {"sub_idxs": [6, 7]}}, (6, 7)),
        ({"ad_params": None} | window(2, 3), (2, 3)),
    ],
)
def test_a_window_says_which_frames_it_has(options: dict[str, Any], frames: tuple[int, ...]) -> None:
    assert batch(4, BOTH | options, pictures=8).order == (1, (UNCOND, COND), frames)


def test_a_window_along_another_dimension_holds_all_pictures() -> None:
    assert batch(4, BOTH | window(0, 1, 2, dim=2), pictures=2).order.frames == (0, 1)


def test_contents_name_frames_only_where_these_make_a_difference() -> None:
    found = batch(6, BOTH, pictures=3)
    assert found.contents(framed=True)[:2] == ((UNCOND, COND), (0, 1, 2))
    assert found.contents(framed=False)[:2] == ((UNCOND, COND), ())


def test_of_rows_that_nobody_explains_there_is_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import batch as module

    told: list[str] = []
    monkeypatch.setattr(module, "warn_once", told.append)
    assert batch(3, BOTH) is None
    assert told == [module._UNKNOWN_ROWS]


@pytest.mark.parametrize("framed", [False, True])
def test_texts_tell_the_sides_of_a_batch_that_a_pack_took_apart(framed: bool) -> None:
    texts = {
        name: [{"model_conds": {"c_crossattn": SimpleNamespace(cond=torch.full((1, 2, 3), float(number)))}}]
        for number, name in enumerate(("positive", "negative"))
    }
    found = batch(2, {"cond_or_uncond": [0, 1, 0]}, framed=framed, texts=texts)
    if framed:
        assert found is None  # texts do not tell the frame
    else:
        assert found.order == (1, (COND, UNCOND), (0,))
