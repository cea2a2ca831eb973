"""Every image projection against recorded numbers and against diffusers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.adapters.checkpoint import split
from comfyui_ip_adapter.ip_adapter_core.adapters.projections import (
    FacePlusProjection,
    FaceProjection,
    FullFaceProjection,
    ImageProjection,
    Resampler,
)
from comfyui_ip_adapter.ip_adapter_core.adapters.variants import VARIANTS, Variant
from fabricate.adapters import projection_shapes
from golden import check, golden
from published_shapes import FILES, entries

Shapes = dict[str, tuple[int, ...]]


def filled(network: Callable[..., Any], shapes: Shapes) -> Any:
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


def test_face_mlp_gives_the_golden_numbers() -> None:
    network = filled(FaceProjection, projection_shapes("FaceID", context=6, face=10, mlp=20))
    tokens = network(golden("input:id", 2, 10).float())
    check(tokens, 7.610973677, 49.747970032, [0.371896693, -1.081036535, 1.765186069, -0.995210852], 2.073921465)


def test_resampler_gives_the_golden_numbers() -> None:
    """Width 24 with two heads of 64: the inner width does not follow from the width."""
    shapes = projection_shapes("plus", context=6, embed=8, tokens=3, width=24, depth=2, inner=128)
    tokens = filled(Resampler, shapes)(golden("input:h", 2, 5, 8).float())
    check(tokens, -0.581153563, 13.217131401, [-0.282547151, 0.393123657, -0.109530647, 0.962308779], -0.940248737)


FACE_PLUS = {
    "v1": (40.628660976, 601.001559794, [-0.043078906, -0.380456131, 0.368969645, 0.959288768], 0.234672282),
    "v2": (17.639406019, 676.634971492, [0.317186236, -1.085772668, 1.623541257, -0.058815716], -0.408457607),
}


@pytest.mark.parametrize("version", FACE_PLUS)
def test_faceid_plus_gives_the_golden_numbers(version: str) -> None:
    shapes = projection_shapes("FaceID-Plus", context=128, embed=8, tokens=2, face=10, mlp=20)
    network = filled(partial(FacePlusProjection, shortcut=version == "v2"), shapes).double()
    tokens = network(golden("input:id", 2, 10), golden("input:h", 2, 5, 8), shortcut=0.7)
    check(tokens, *FACE_PLUS[version])


def test_what_faceid_plus_reads_counts_fully_unless_said() -> None:
    network = filled(
        partial(FacePlusProjection, shortcut=True),
        projection_shapes("FaceID-Plus", context=64, embed=8, tokens=2, face=10, mlp=20),
    )
    given = golden("input:id", 2, 10).float(), golden("input:h", 2, 5, 8).float()
    assert torch.equal(network(*given), network(*given, shortcut=1.0))
    assert torch.equal(network(*given, shortcut=0.0), FaceProjection.forward(network, given[0]))


KEPT = torch.tensor([[False, True, True, False, True], [False, False, False, True, False]])


def plain_perceiver(weights: dict[str, Tensor], hidden: Tensor, latents: Tensor) -> Tensor:
    """What latents (tokens, width) make of the hidden states (patches, width) of one image, head by head."""
    image = linear(weights, "proj_in", hidden)
    for layer in range(2):
        name = f"layers.{layer}"
        x, y = norm(weights, f"{name}.0.norm1", image), norm(weights, f"{name}.0.norm2", latents)
        q = y @ weights[f"{name}.0.to_q.weight"].T
        k, v = (torch.cat([x, y]) @ weights[f"{name}.0.to_kv.weight"].T).chunk(2, dim=-1)
        heads = [slice(start, start + 64) for start in range(0, q.shape[1], 64)]
        read = [((q[:, head] @ k[:, head].T) / 8).softmax(-1) @ v[:, head] for head in heads]
        latents = latents + torch.cat(read, dim=1) @ weights[f"{name}.0.to_out.weight"].T
        wide = norm(weights, f"{name}.1.0", latents) @ weights[f"{name}.1.1.weight"].T
        latents = latents + nn.functional.gelu(wide) @ weights[f"{name}.1.3.weight"].T
    return norm(weights, "norm_out", linear(weights, "proj_out", latents))


def linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    deviation = x.var(-1, correction=0, keepdim=True)
    centred = (x - x.mean(-1, keepdim=True)) / (deviation + 1e-5).sqrt()
    return centred * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def test_a_resampler_reads_only_what_is_kept_as_if_the_rest_were_not_there() -> None:
    shapes = projection_shapes("plus", context=6, embed=8, tokens=3, width=24, depth=2, inner=128)
    network = filled(Resampler, shapes).double()
    hidden, weights = golden("input:h", 2, 5, 8), dict(network.state_dict())
    found = network(hidden, KEPT)
    for image in range(2):
        expected = plain_perceiver(weights, hidden[image, KEPT[image]], weights["latents"][0])
        torch.testing.assert_close(found[image], expected, atol=1e-6, rtol=0)
    assert not torch.allclose(found, network(hidden), atol=1e-3)


def test_faceid_plus_reads_only_what_is_kept_as_if_the_rest_were_not_there() -> None:
    shapes = projection_shapes("FaceID-Plus", context=128, embed=8, tokens=2, face=10, mlp=20)
    network = filled(partial(FacePlusProjection, shortcut=True), shapes).double()
    face, hidden = golden("input:id", 2, 10), golden("input:h", 2, 5, 8)
    found = network(face, hidden, KEPT, shortcut=0.7)
    for image in range(2):
        expected = network(face[image : image + 1], hidden[image : image + 1, KEPT[image]], shortcut=0.7)
        torch.testing.assert_close(found[image : image + 1], expected, atol=1e-6, rtol=0)
    assert not torch.allclose(found, network(face, hidden, shortcut=0.7), atol=1e-3)


def test_what_is_not_kept_changes_nothing_bit_for_bit() -> None:
    shapes = projection_shapes("plus", context=6, embed=8, tokens=3, width=24, depth=2, inner=128)
    network = filled(Resampler, shapes)
    hidden = golden("input:h", 2, 5, 8).float()
    other = torch.where(KEPT[..., None], hidden, 7.0)
    assert torch.equal(network(hidden, KEPT), network(other, KEPT))


# Not Kolors FaceID-Plus: diffusers knows four tokens only.
PUBLISHED = [
    "ip-adapter_sd15",
    "ip-adapter_sdxl",
    "ip-adapter-plus_sd15",
    "ip-adapter-full-face_sd15",
    "ip-adapter-faceid_sd15",
    "ip-adapter-faceid_sdxl",
    "ip-adapter-faceid-portrait_sd15",
    "ip-adapter-faceid-portrait_sdxl",
    "ip-adapter-faceid-portrait_sdxl_unnorm",
    "ip-adapter-faceid-plus_sd15",
    "ip-adapter-faceid-plusv2_sd15",
    "ip-adapter-faceid-plusv2_sdxl",
    "ip_adapter_plus_general (Kolors)",
]
SCALE = 0.7


@pytest.mark.parametrize("file", PUBLISHED)
@torch.no_grad()
def test_published_sizes_agree_with_diffusers(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda self: None)  # it all comes from the file
    weights = random_weights(projection(file))
    with torch.device("meta"):
        made = variant(file).network({name: tuple(value.shape) for name, value in weights.items()}, nn)
    made.load_state_dict(weights, strict=True, assign=True)
    given = [features(field, width) for field, width in zip(variant(file).reads, made.widths, strict=True)]
    found = made.eval()(*given, **dict.fromkeys(variant(file).scales, SCALE))
    expected = diffusers(weights, given, shortcut="v2" in variant(file).name)
    assert found.abs().mean() > 0.1
    torch.testing.assert_close(found, expected.reshape(found.shape), atol=1e-4, rtol=0)


def projection(file: str) -> Shapes:
    """Names and shapes of the projection of a published file."""
    return split(entries(file)).map(lambda entry: entry.shape).projection


def variant(file: str) -> Variant:
    return next(row for row in VARIANTS if row.name == FILES[file].variant)


def random_weights(shapes: Shapes) -> dict[str, Tensor]:
    """Of such sizes that tokens are about as large as a trained adapter's."""
    random = torch.Generator().manual_seed(2)
    return {name: random_weight(name, shape, random) for name, shape in shapes.items()}


def random_weight(name: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    values = torch.rand(shape, generator=random) - 0.5
    if len(shape) > 1:
        return values * (12 / shape[-1]) ** 0.5
    return values + 1 if name.endswith("weight") else values


def features(field: str, width: int) -> Tensor:
    """Two pictures; a raw face embedding has a length of some tens."""
    random = torch.Generator().manual_seed(3)
    if field == "hidden":
        return torch.randn(2, 577 if width == 1024 else 257, width, generator=random)
    made = torch.randn(2, width, generator=random)
    return made if field != "normed_face" else made / made.norm(dim=1, keepdim=True)


def diffusers(weights: dict[str, Tensor], given: list[Tensor], shortcut: bool) -> Tensor:
    """What the classes of diffusers make of the same weights and features."""
    from diffusers import UNet2DConditionModel
    from diffusers.models.embeddings import IPAdapterFaceIDPlusImageProjection

    convert = UNet2DConditionModel._convert_ip_adapter_image_proj_to_diffusers
    reference = convert(object.__new__(UNet2DConditionModel), weights, low_cpu_mem_usage=False).eval()
    first, *rest = given
    if isinstance(reference, IPAdapterFaceIDPlusImageProjection):
        reference.clip_embeds, reference.shortcut, reference.shortcut_scale = rest[0][:, None], shortcut, SCALE
    elif "latents" in weights and first.ndim == 2:
        first = first[:, None]  # a face embedding is a sequence of one
    return reference(first)
