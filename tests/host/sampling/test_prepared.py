"""What one application gives to the rows of a batch: which K' and V' each reads, and with which weight."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import interpolate

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.application import Application, ApplyOptions, applications
from comfyui_ip_adapter.ip_adapter_core.attention.scaling import scale_each
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt
from twins import Twins

pytestmark = pytest.mark.usefixtures("comfy")
CPU = torch.device("cpu")


@pytest.fixture
def application(small: Twins, prompt: ImagePrompt) -> Application:
    """A prompt on a model, at half of its weight."""
    from comfyui_ip_adapter.nodes.host import models

    (only,) = applications(prompt, models.layers(small.patcher), small.context, ApplyOptions(0.5))
    return only


def prepared(application: Application, *groups: int, frames: tuple[int, ...] = (), dtype: Any = torch.float32) -> Any:
    """The application for these groups of rows."""
    from comfyui_ip_adapter.nodes.host.sampling.batch import Contents
    from comfyui_ip_adapter.nodes.host.sampling.prepared import PreparedPrompt

    return PreparedPrompt(application, Contents(groups, frames, CPU, dtype), pictures=max(len(frames), 1))


def test_every_group_reads_its_side_and_the_strength_is_in_the_values(application: Application) -> None:
    found = prepared(application, UNCOND, COND).at(0.4)
    assert found.keys() == {layer.address for layer in application.layers}
    for layer, (term,) in application.layers.items():
        (image,) = found[layer.address]
        rows = torch.cat([application.part.row_index[side] for side in (UNCOND, COND)])
        assert torch.equal(image.kv.keys, term.kv.keys[rows])
        torch.testing.assert_close(image.kv.values, 0.5 * 0.4 * term.kv.values[rows])


def test_a_mean_can_be_that_of_each_image(application: Application) -> None:
    both = replace(application, scaling="K+mean(V) w/ C penalty", part=replace(application.part, images=2))
    together, each = (prepared(replace(both, mean_of_each=way), COND).at(1.0) for way in (False, True))
    for layer, (term,) in application.layers.items():
        (found,), (other,) = each[layer.address], together[layer.address]
        image = KeysValues(*(part[application.part.row_index[COND]] for part in term.kv))
        wanted = scale_each(image, term.weight, both.scaling, 2)
        torch.testing.assert_close(found.kv.values, wanted.values)
        assert not torch.allclose(other.kv.values, wanted.values)


@pytest.mark.parametrize("masks", [1, 2])
def test_masks_are_read_at_points_where_the_batch_is_the_whole_picture(application: Application, masks: int) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.prepared import masks_of

    mask = torch.rand(masks, 37, 41, generator=torch.Generator().manual_seed(0))
    masked = replace(application, masks=(mask,), point_masks=True)
    crops = SimpleNamespace(whole=(8, 8), grid=(8, 8), corners=((0, 0), (0, 0)))
    batch: Any = SimpleNamespace(crops=crops, order=SimpleNamespace(frames=(1, 0)), device=CPU, dtype=torch.float32)
    at_points, over_cells = (masks_of(replace(masked, point_masks=way), batch, 2) for way in (True, False))
    assert at_points.keys() == over_cells.keys()
    wanted = interpolate(mask[:, None], (4, 4), mode="bilinear").flatten(1)[..., None]
    torch.testing.assert_close(at_points[4, 4], wanted if masks == 1 else wanted[[1, 0, 1, 0]])
    crops.grid = (4, 4)
    part, as_over_cells = (masks_of(replace(masked, point_masks=way), batch, 2) for way in (True, False))
    assert all(torch.equal(part[grid], as_over_cells[grid]) for grid in part)


def test_a_side_that_reads_nothing_has_values_of_zero(application: Application) -> None:
    deaf = {layer: (terms[0]._replace(source_cond=(COND, None)),) for layer, terms in application.layers.items()}
    for (image,) in prepared(replace(application, layers=deaf), UNCOND, COND).at(1.0).values():
        negative, positive = image.kv.values
        assert not negative.any()
        assert positive.any()


def test_keys_and_values_come_in_the_numbers_of_the_model(application: Application) -> None:
    images = prepared(application, COND, dtype=torch.bfloat16).at(1.0).values()
    assert {part.dtype for (image,) in images for part in image.kv} == {torch.bfloat16}


def test_weights_of_frames_are_not_rounded_to_halves_by_themselves(application: Application) -> None:
    part = replace(application.part, weights=(0.7, 0.3), row_index=application.part.row_index.expand(2, 2))
    framed = replace(application, part=part)
    assert framed.framed
    found = prepared(framed, COND, frames=(0, 1), dtype=torch.bfloat16)
    (weights,) = found.row_weights.values()
    assert torch.equal(weights.flatten(), torch.tensor([0.7, 0.3]))
