"""PuLID's encoders against the plain formulas of its code, written out, in double precision."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.adapters.pulid import IDEncoder, IDFormer
from fabricate import adapters
from fabricate.adapters import KINDS, LEVELS
from plain_pulid import FORMULAS, Weights

STATES = 7
KINDS_OF_PULID = ["PuLID v1", "PuLID v1.1"]


def projection(kind: str) -> Weights:
    nested = adapters.adapter(**KINDS[kind], seed=3)["image_proj"]
    return Weights({name: value.double() for name, value in nested.items()})


def inputs(faces: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    shapes = (faces, 512), (faces, 64), (faces, LEVELS, STATES, 192)
    face, embeds, levels = (torch.randn(shape, generator=random) for shape in shapes)
    return face * 20, embeds / embeds.norm(dim=-1, keepdim=True), levels


NETWORKS = {"PuLID v1": IDEncoder, "PuLID v1.1": IDFormer}


@pytest.mark.parametrize("kind", KINDS_OF_PULID)
def test_tokens_are_those_of_the_formula(tmp_path: Path, kind: str) -> None:
    network = load(adapters.save(tmp_path / "pulid.safetensors", adapters.adapter(**KINDS[kind], seed=3)))
    assert isinstance(network.image_proj, NETWORKS[kind])
    given = inputs()
    found = network.tokens(*given)
    assert found.shape == (2, KINDS[kind]["tokens"], adapters.TINY_CONTEXT)
    for row in range(2):
        wanted = FORMULAS[kind](projection(kind), *(part[row].double() for part in given))
        torch.testing.assert_close(found[row].double(), wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS_OF_PULID)
def test_every_level_and_both_embeddings_matter(tmp_path: Path, kind: str) -> None:
    network = load(adapters.save(tmp_path / "pulid.safetensors", adapters.adapter(**KINDS[kind])))
    face, embeds, levels = inputs()
    usual = network.tokens(face, embeds, levels)
    turned = levels.roll(1, dims=1)
    others = [(face.flip(0), embeds, levels), (face, embeds.flip(0), levels), (face, embeds, turned)]
    for level in range(LEVELS):
        changed = levels.clone()
        changed[:, level] += 1
        others.append((face, embeds, changed))
    for other in others:
        assert (network.tokens(*other) - usual).abs().max() > 1e-3
