"""The nodes of ComfyUI_InstantID: what saved graphs count on, and what that pack computed of faces."""

import numpy as np
import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.compat import signatures
from comfyui_ip_adapter.ip_adapter_core.compat.instantid import (
    COMBINES,
    SIGNATURES,
    combine_faces,
    noisy_nobody,
    whole_levels,
)

VALUES = {
    "InstantIDModelLoader": {"instantid_file": None},
    "InstantIDFaceAnalysis": {"provider": "CPU"},
    "ApplyInstantID": {"weight": 0.8, "start_at": 0.0, "end_at": 1.0},
    "ApplyInstantIDAdvanced": {
        "ip_weight": 0.8,
        "cn_strength": 0.8,
        "start_at": 0.0,
        "end_at": 1.0,
        "noise": 0.0,
        "combine_embeds": "average",
    },
    "FaceKeypointsPreprocessor": {},
    "InstantIDAttentionPatch": {"weight": 1.0, "start_at": 0.0, "end_at": 1.0, "noise": 0.0},
    "ApplyInstantIDControlNet": {"strength": 1.0, "start_at": 0.0, "end_at": 1.0},
}
"""The values of a fresh node in the order in which graphs list them."""
OUTPUTS = {
    "InstantIDModelLoader": "INSTANTID",
    "InstantIDFaceAnalysis": "FACEANALYSIS",
    "ApplyInstantID": "MODEL CONDITIONING CONDITIONING",
    "ApplyInstantIDAdvanced": "MODEL CONDITIONING CONDITIONING",
    "FaceKeypointsPreprocessor": "IMAGE",
    "InstantIDAttentionPatch": "MODEL FACE_EMBEDS",
    "ApplyInstantIDControlNet": "CONDITIONING CONDITIONING",
}


def faces(count: int) -> torch.Tensor:
    return 20 * torch.randn(count, 512, generator=torch.Generator().manual_seed(count))


def test_values_are_in_the_order_of_saved_graphs_and_outputs_as_their_links_count_them() -> None:
    assert {node: {given.name: given.default for given in row.widgets} for node, row in SIGNATURES.items()} == VALUES
    assert {node: " ".join(kind for _, kind in row.outputs) for node, row in SIGNATURES.items()} == OUTPUTS


def test_no_id_is_one_of_the_other_pack() -> None:
    assert not SIGNATURES.keys() & (signatures.SIGNATURES | signatures.OTHER_SHAPES).keys()


@pytest.mark.parametrize("combine", COMBINES)
def test_faces_are_combined_by_their_formula(combine: str) -> None:
    given = faces(3)
    naive = given.double().numpy()
    wanted = {
        "average": naive.sum(0, keepdims=True) / 3,
        "norm average": (naive / np.sqrt((naive**2).sum(0))).sum(0, keepdims=True) / 3,
        "concat": naive,
    }[combine]
    np.testing.assert_allclose(combine_faces(given, combine).numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(combine_faces(faces(1), combine), faces(1))


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match="combine_embeds"):
        combine_faces(faces(2), "add")


@pytest.mark.parametrize("shape", [(1, 512), (3, 512)])
def test_noise_is_that_of_torch_after_the_sum_as_its_seed_and_leaves_other_numbers_alone(
    shape: tuple[int, int],
) -> None:
    given = faces(shape[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.sum(given[:, None]).item()) % 1000000007)
        wanted = 0.35 * torch.rand_like(given[:, None])[:, 0]
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(noisy_nobody(given, 0.35), wanted)
    assert torch.equal(torch.rand(1), before)


def test_a_sum_below_zero_is_a_seed_too_and_without_noise_there_are_zeros() -> None:
    assert noisy_nobody(-faces(1).abs(), 1.0).amax() <= 1
    assert not noisy_nobody(faces(2), 0.0).any()


def test_levels_are_cut_off_and_ready_ones_stay() -> None:
    assert whole_levels(torch.tensor([0.0, 0.999 / 255, 1.001 / 255, 1.5])).tolist() == pytest.approx(
        [0, 0, 1 / 255, 1]
    )
