"""Kolors, whose texts the model projects: image tokens go the same way as in diffusers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.adapters import loading as core
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import image_prompt
from fabricate import adapters
from fabricate.adapters import KINDS, Nested
from face_prompts import FACE, HIDDEN, PUBLISHED, WIDE, face, found, widths
from sampled import apply
from twins import TOLERANCE, Twins, call, error

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.fixture(scope="module")
def kolors(comfy: None) -> Twins:
    """SDXL's layers behind a projection of wider texts."""
    twins = Twins("SDXL")
    torch.manual_seed(3)
    twins.patcher.model.diffusion_model.encoder_hid_proj = nn.Linear(WIDE, twins.context).requires_grad_(False)
    return twins


def kolors_adapter(twins: Twins) -> Nested:
    """With four tokens, as diffusers knows no other FaceID-Plus."""
    options = KINDS["Kolors FaceID-Plus"] | PUBLISHED | {"tokens": 4, "token_width": WIDE, "embed": HIDDEN}
    return adapters.adapter(widths=widths(twins), context=twins.context, **options)


class Widened(nn.Module):
    """A projection of diffusers, and after it the base model's own."""

    def __init__(self, projection: Any, after: nn.Linear) -> None:
        super().__init__()
        self.projection, self.after = projection, after

    def forward(self, faces: Tensor) -> Tensor:
        return self.after(self.projection(faces))


@pytest.mark.parametrize("shortcut", [1.0, 0.7])
@torch.no_grad()
def test_kolors_projects_image_tokens_as_it_projects_texts(kolors: Twins, tmp_path: Path, shortcut: float) -> None:
    nested, random = kolors_adapter(kolors), torch.Generator().manual_seed(5)
    raw, hidden = torch.randn(1, FACE, generator=random) * 20, torch.randn(1, 9, HIDDEN, generator=random)
    network = core.load(adapters.save(tmp_path / "kolors.bin", nested))
    zeros = (torch.zeros(1, FACE), torch.zeros(1, 9, HIDDEN))
    given = image_prompt(network, (raw, hidden), zeros, shortcut=shortcut)
    model = apply(kolors.patcher, given)

    reference = merged_with_projection(kolors, nested)
    projection = reference.reference.encoder_hid_proj.image_projection_layers[0].projection
    projection.shortcut, projection.shortcut_scale = True, shortcut
    rows = torch.cat([raw.expand(2, 1, FACE), zeros[0].expand(2, 1, FACE)])
    projection.clip_embeds = torch.cat([hidden.expand(2, 1, 9, HIDDEN), zeros[1].expand(2, 1, 9, HIDDEN)])
    wanted = reference.call_reference(call(kolors.context, 4), rows)
    assert error(found(kolors, model, (0, 1)), wanted) < TOLERANCE
    assert error(found(kolors, model, (0, 1)), found(kolors, kolors.patcher, (0, 1))) > 0.1


def merged_with_projection(twins: Twins, nested: Nested) -> Twins:
    """Twins whose reference has the adapter, with the projection of texts after the projection of images."""
    made = twins.with_own_reference()
    made.reference._load_ip_adapter_weights([nested], low_cpu_mem_usage=False)
    projections = made.reference.encoder_hid_proj.image_projection_layers
    projections[0] = Widened(projections[0], twins.patcher.model.diffusion_model.encoder_hid_proj)
    return made


@pytest.mark.parametrize(
    ("pooled", "says"),
    [
        (2816, r"adapter \(Kolors FaceID-Plus\) is for Kolors, and the model is none"),
        (5632, r"Kolors UNET Loader V2; .*encoder_hid_proj.* was loaded without that"),
    ],
)
def test_an_adapter_for_kolors_needs_its_projection_of_texts(
    kolors: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooled: int, says: str
) -> None:
    network = core.load(adapters.save(tmp_path / "kolors.bin", kolors_adapter(kolors)))
    given = image_prompt(network, (face(), torch.zeros(1, 9, HIDDEN)), (face(), torch.zeros(1, 9, HIDDEN)))
    model = kolors.patcher.model
    monkeypatch.delattr(model.diffusion_model, "encoder_hid_proj")
    monkeypatch.setitem(model.model_config.unet_config, "adm_in_channels", pooled)
    with pytest.raises(ValueError, match=says):
        apply(kolors.patcher, given)
