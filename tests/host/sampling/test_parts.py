"""Image prompts in parts of pictures and animations: context windows, tiles, both at once, parts around an edge, parts
that nobody knows, and what masked prompts change beyond their masks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom
from parts import evolved, half, tiled, windowed
from sampled import apply, cond, difference, noise, sample

pytestmark = [pytest.mark.usefixtures("comfy"), pytest.mark.filterwarnings("ignore:Should have tb")]

FALLING = Schedule((Curve("linear", "frames", 1.0, 0.25),))
WINDOWS: dict[str, Callable[[Any, int], Any]] = {"core": windowed, "AnimateDiff-Evolved": evolved}
every_window = pytest.mark.parametrize("windows", WINDOWS)


def alone(model: Any, prompt: ImagePrompt, start: Tensor, weight: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """One picture by itself."""
    return sample(apply(model, prompt, weight, mask=mask), given=start)


@every_window
def test_a_frame_has_its_own_weight_in_whatever_window_it_comes(model: Any, prompt: ImagePrompt, windows: str) -> None:
    start = noise(4)
    found = sample(WINDOWS[windows](apply(model, prompt, schedule=FALLING), 2), given=start)
    for frame, weight in enumerate((1.0, 0.75, 0.5, 0.25)):
        one = alone(model, prompt, start[frame : frame + 1], weight)
        assert difference(found[frame : frame + 1], one) < 1e-4, frame


@every_window
@pytest.mark.parametrize("at_once", [1, 2])
def test_tiles_of_later_windows_are_found_in_their_own_frames(
    model: Any, prompt: ImagePrompt, windows: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The left half of the first two frames, the right half of the last two."""
    start = noise(4, 8, 16)
    masks = torch.cat([half("left", 8, 16)] * 2 + [half("right", 8, 16)] * 2)
    prompted = apply(model, prompt, mask=masks)
    found = sample(nested(prompted, WINDOWS[windows], at_once), given=start)
    for frame in range(4):
        sides = [start[frame : frame + 1, ..., :8], start[frame : frame + 1, ..., 8:]]
        acts = (frame < 2, frame >= 2)
        expected = [alone(model, prompt, side, float(on)) for side, on in zip(sides, acts, strict=True)]
        assert difference(found[frame : frame + 1], torch.cat(expected, dim=-1)) < 1e-4, frame


def nested(model: Any, windows: Callable[[Any, int], Any], at_once: int) -> Any:
    """Tiles within windows of two frames."""
    inner = tiled(model, at_once)
    outer = windows(inner, 2)
    tiles, framed = (one.model_options["model_function_wrapper"] for one in (inner, outer))
    if framed is not tiles:  # windows that are a wrapper too
        outer.set_model_unet_function_wrapper(
            lambda apply_model, given: framed(
                lambda x, t, **more: tiles(apply_model, {**given, "input": x, "timestep": t, "c": more}), given
            )
        )
    return outer


def rolled(model: Any, columns: int, rows: int = 0) -> Any:
    """Another pack's sampler whose tiles, halves of the picture, wrap around its edges."""
    inner = tiled(model, 1)
    tiles = inner.model_options["model_function_wrapper"]

    def wrapper(apply_model: Any, given: dict[str, Any]) -> Tensor:
        moved = given["input"].roll((rows, columns), (-2, -1))
        return tiles(apply_model, {**given, "input": moved}).roll((-rows, -columns), (-2, -1))

    clone = model.clone()
    clone.set_model_unet_function_wrapper(wrapper)
    return clone


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (0, -5), (3, 0), (-2, 11)])
def test_masks_follow_tiles_that_wrap_around_an_edge(model: Any, prompt: ImagePrompt, rows: int, columns: int) -> None:
    start = noise(1, 8, 16)
    mask = torch.zeros(1, 8, 16)
    mask[:, :4, :6] = 1
    found = sample(rolled(apply(model, prompt, mask=mask), columns, rows), given=start)
    moved, shown = (x.roll((rows, columns), (-2, -1)).split(8, dim=-1) for x in (start, mask))
    expected = torch.cat([alone(model, prompt, *pair[:1], mask=pair[1]) for pair in zip(moved, shown, strict=True)], -1)
    assert difference(found, expected.roll((-rows, -columns), (-2, -1))) < 1e-4
    assert difference(found, sample(tiled(apply(model, prompt, mask=mask), 1), given=start)) > 0.01


def stretched(model: Any) -> Any:
    """Another pack's sampler in tiles that are no part of the picture: it shows the model other numbers."""
    inner = tiled(model, 1)
    tiles = inner.model_options["model_function_wrapper"]
    clone = model.clone()
    clone.set_model_unet_function_wrapper(
        lambda apply_model, given: tiles(apply_model, {**given, "input": given["input"] * 0.9})
    )
    return clone


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of parts that are not found."""
    return [record.message for record in caplog.records if "that are not to be found in it" in record.message]


def test_on_parts_that_are_not_found_a_mask_acts_as_on_whole_pictures_and_says_so_once(
    model: Any, prompt: ImagePrompt, caplog: pytest.LogCaptureFixture
) -> None:
    from comfyui_ip_adapter.nodes.host.warn import warn_once

    warn_once.cache_clear()
    start, mask = noise(2, 8, 16), half("top", 32, 64) * half("left", 32, 64)
    found = sample(stretched(apply(model, prompt, mask=mask)), given=start)
    (said,) = told(caplog)
    assert "act in each part as if it were the whole picture" in said

    def scaled(apply_model: Any, given: dict[str, Any]) -> Tensor:
        return apply_model(given["input"] * 0.9, given["timestep"], **given["c"])

    small = model.clone()
    small.set_model_unet_function_wrapper(scaled)
    halves = [sample(apply(small, prompt, mask=mask), given=side) for side in start.split(8, dim=-1)]
    assert difference(found, torch.cat(halves, dim=-1)) < 1e-4


def test_without_masks_nobody_asks_where_parts_are_from(
    model: Any, prompt: ImagePrompt, caplog: pytest.LogCaptureFixture
) -> None:
    from comfyui_ip_adapter.nodes.host.warn import warn_once

    warn_once.cache_clear()
    sample(stretched(apply(model, prompt)), given=noise(2, 8, 16))
    assert not told(caplog)


# Beyond a mask


def changes(one: Tensor, other: Tensor) -> tuple[float, float]:
    """How much the left and the right quarter of two pictures differ."""
    found = (one - other).abs()
    quarter = found.shape[-1] // 4
    return found[..., :quarter].max().item(), found[..., -quarter:].max().item()


def test_core_too_changes_what_a_masked_text_leaves_out_from_the_second_step_on(model: Any) -> None:
    """No image prompt at all: two texts, each on its half, of which the right one is exchanged."""

    def found(text: int, steps: int) -> Tensor:
        seeds = {"left": 1, "right": text}
        sides = [[cond(seed)[0][0], {"mask": half(side), "mask_strength": 1.0}] for side, seed in seeds.items()]
        return sample(model, cfg=1.0, positive=sides, given=noise(1, 8, 32), steps=steps)

    left, right = changes(found(3, 1), found(4, 1))
    assert left == 0.0
    assert right > 0.1
    left, right = changes(found(3, 4), found(4, 4))
    assert right > left > 0.01


@pytest.mark.parametrize(("block", "spreads"), [("output.2", False), ("input.1", True)])
def test_beyond_its_mask_a_prompt_acts_through_the_models_later_layers_alone(
    model: Any, prompt: ImagePrompt, block: str, spreads: bool
) -> None:
    """What the last transformer of the UNet gives, where the prompt acts in it alone or in the first one."""
    last, seen = model.model.diffusion_model.output_blocks[2][1], []
    hook = last.register_forward_hook(lambda module, given, found: seen.append(found))
    mask, weights = half("right", 8, 32), custom(f"{block} = 1")
    for used in (model, apply(model, prompt, mask=mask, layer_weights=weights)):
        sample(used, cfg=1.0, given=noise(1, 8, 32), steps=1)
    hook.remove()
    left, right = changes(*seen)
    assert right > 0.01
    assert (left > 0.0) == spreads
