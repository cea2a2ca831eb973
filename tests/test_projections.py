"""Every image projection against recorded numbers and against diffusers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.projections import FullFaceProjection, ImageProjection, Resampler
from fabricate.adapters import projection_shapes
from golden import check, golden

Shapes = dict[str, tuple[int, ...]]


def filled(network: type, shapes: Shapes) -> Any:
    """A network of these shapes with golden values, in fp32."""
    made = network(shapes, nn)
    made.load_state_dict({name: golden(name, *shape).float() for name, shape in shapes.items()}, strict=True)
    return made.eval()


def test_base_gives_the_golden_numbers() -> None:
    network = filled(ImageProjection, projection_shapes("base", context=6, embed=8, tokens=4))
    tokens = network(golden("input:e", 2, 8).float())
    assert tokens.shape == (2, 4, 6)
    check(tokens, 9.758866244, 63.681214950, [-0.065780492, 0.281241564, 2.259345344, 0.593676181], 0.802565041)


def test_full_face_gives_the_golden_numbers() -> None:
    network = filled(FullFaceProjection, projection_shapes("full face", context=6, embed=8))
    tokens = network(golden("input:h", 2, 5, 8).float())
    check(tokens, 5.616749050, 42.649729782, [0.995471822, -0.940800669, 1.016252502, -0.597817449], -0.994872958)


def resampler_shapes() -> Shapes:
    """Width 24 with two heads of 64: the inner width does not follow from the width."""
    shapes = projection_shapes("plus", context=6, embed=8, tokens=3, width=24, depth=2)
    for layer in range(2):
        shapes[f"layers.{layer}.0.to_q.weight"] = (128, 24)
        shapes[f"layers.{layer}.0.to_kv.weight"] = (256, 24)
        shapes[f"layers.{layer}.0.to_out.weight"] = (24, 128)
    return shapes


def test_resampler_gives_the_golden_numbers() -> None:
    tokens = filled(Resampler, resampler_shapes())(golden("input:h", 2, 5, 8).float())
    check(tokens, -0.581153563, 13.217131401, [-0.282547151, 0.393123657, -0.109530647, 0.962308779], -0.940248737)


def random_weights(shapes: Shapes) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(2)
    return {name: torch.randn(shape, generator=random) * shape[-1] ** -0.5 for name, shape in shapes.items()}


CASES = [
    ("base", ImageProjection, dict(context=768, embed=1024, tokens=4), (2, 1024)),
    ("base", ImageProjection, dict(context=2048, embed=1280, tokens=4), (2, 1280)),
    ("plus", Resampler, dict(context=768, embed=1280, tokens=16, width=768), (2, 257, 1280)),
    ("full face", FullFaceProjection, dict(context=768, embed=1280), (2, 257, 1280)),
]


@pytest.mark.parametrize(("kind", "network", "sizes", "given"), CASES)
def test_published_sizes_agree_with_diffusers(kind: str, network: type, sizes: dict[str, int], given: Any) -> None:
    from diffusers import UNet2DConditionModel

    weights = random_weights(projection_shapes(kind, **sizes))
    convert = UNet2DConditionModel._convert_ip_adapter_image_proj_to_diffusers
    reference = convert(object.__new__(UNet2DConditionModel), weights, low_cpu_mem_usage=False).eval()
    made = network({name: tuple(value.shape) for name, value in weights.items()}, nn)
    made.load_state_dict(weights, strict=True)
    features = torch.randn(given, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected, found = reference(features), made.eval()(features)
    torch.testing.assert_close(found, expected.reshape(found.shape), atol=1e-4, rtol=0)
