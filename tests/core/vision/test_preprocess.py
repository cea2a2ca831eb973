import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import CLIP_MEAN, CLIP_STD, FITS, fit, normalise

SIZES = [
    (600, 902), (180, 200), (640, 480), (300, 451), (512, 512), (200, 200), (224, 224), (225, 224), (447, 224),
    (1, 1), (1, 2), (3, 2), (17, 3000), (3000, 17), (1000, 1), (1024, 768), (99, 100), (333, 517),
]  # fmt: skip


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, height, width, 3), generator=generator).float() / 255


def reference(image: torch.Tensor, size: int, **options: bool) -> torch.Tensor:
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}, **options
    )
    levels = (image[0] * 255).round().to(torch.uint8).numpy()
    return torch.from_numpy(processor(Image.fromarray(levels), return_tensors="np")["pixel_values"])


@pytest.mark.parametrize("size", [224, 336, 55])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_center_crop_equals_the_reference_at_any_image_size(height: int, width: int, size: int) -> None:
    image = picture(height, width)
    wanted = reference(image, size, do_normalize=False)[0].permute(1, 2, 0) * 255
    found = fit(image, size)[0] * 255
    assert (found.round() - wanted.round()).abs().max() == 0


def test_normalised_pictures_equal_the_reference() -> None:
    image = picture(300, 451)
    assert torch.allclose(normalise(fit(image, 224), CLIP_MEAN, CLIP_STD), reference(image, 224), atol=2e-6)


@pytest.mark.parametrize("how", FITS)
def test_fitted_pictures_are_exact_eight_bit_levels(how: str) -> None:
    found = fit(torch.rand(2, 50, 70, 3), 28, how)
    levels = (found * 255).round()
    assert found.shape == (2, 28, 28, 3)
    assert found.dtype == torch.float32
    assert torch.equal(levels / 255, found)


@pytest.mark.parametrize("how", FITS)
def test_each_image_of_a_batch_is_fitted_on_its_own(how: str) -> None:
    images = torch.cat([picture(60, 41, seed) for seed in range(3)])
    alone = torch.cat([fit(image[None], 28, how) for image in images])
    assert torch.equal(fit(images, 28, how), alone)


@pytest.mark.parametrize("how", FITS)
def test_a_square_picture_of_the_right_size_is_left_as_it_is(how: str) -> None:
    image = picture(56, 56)
    assert torch.equal(fit(image, 56, how), image)


def test_padding_shows_the_whole_picture_centred_on_the_mean_colour() -> None:
    found = fit(torch.ones(1, 20, 40, 3), 28, "pad")
    assert (found[0, 7:21] == 1).all()
    border = normalise(found)[0, :, [0, 1, 5, 22, 27]]
    assert border.abs().max() < 0.01


def test_padding_takes_the_mean_colour_of_the_encoder() -> None:
    found = fit(torch.ones(1, 20, 40, 3), 28, "pad", mean=(0.5, 0.5, 0.5))
    assert found[0, 0, 0].tolist() == pytest.approx([128 / 255] * 3)


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1)])
def test_padding_keeps_at_least_a_line_of_a_long_picture(height: int, width: int) -> None:
    assert (fit(torch.ones(1, height, width, 3), 28, "pad") == 1).any()


def test_squashing_keeps_the_borders() -> None:
    image = torch.zeros(1, 10, 40, 3)
    image[:, :, :4] = 1
    assert fit(image, 20, "squash")[0, :, 0].mean() > 0.9
    assert fit(image, 20, "center crop").max() == 0


def test_grey_pictures_are_repeated_and_alpha_is_ignored() -> None:
    grey, image = picture(30, 40)[..., :1], picture(30, 40)
    assert torch.equal(fit(grey, 28), fit(grey.expand(-1, -1, -1, 3), 28))
    assert torch.equal(fit(torch.cat([image, torch.rand(1, 30, 40, 1)], dim=-1), 28), fit(image, 28))


def test_values_outside_are_clamped_and_half_precision_is_read() -> None:
    image = picture(28, 28)
    assert torch.equal(fit(image * 3 - 1, 28), fit((image * 3 - 1).clamp(0, 1), 28))
    assert torch.equal(fit(image.half(), 28), image)


def test_the_input_is_not_changed() -> None:
    image = torch.rand(1, 30, 40, 3) * 2
    before = image.clone()
    fit(image, 28)
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.full((3, 4, 4, 3), 0.5).index_fill(0, torch.tensor(1), float("nan")), "image 2 of 3.* contains NaN"),
        (torch.full((1, 4, 4, 3), float("inf")), "image 1 of 1.* contains infinite values"),
        (torch.zeros(4, 4, 3), "found 4x4x3"),
        (torch.zeros(1, 4, 4, 2), "found 1x4x4x2"),
        (torch.zeros(0, 4, 4, 3), "shape 0x4x4x3 holds no pixels"),
        (torch.zeros(1, 0, 4, 3), "shape 1x0x4x3 holds no pixels"),
        (torch.zeros(1, 1, 1001, 3), "1001x1 is too long"),
    ],
)
def test_pictures_that_cannot_be_encoded_are_named(images: torch.Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        fit(images, 28)


def test_an_unknown_fit_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="Set fit to one of center crop, pad, squash; found 'stretch'"):
        fit(torch.zeros(1, 4, 4, 3), 28, "stretch")


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Set interpolation to one of bicubic, bilinear; found 'lanczos'"):
        fit(torch.zeros(1, 4, 4, 3), 28, interpolation="lanczos")


@pytest.mark.parametrize("how", FITS)
def test_the_interpolation_is_the_encoders_whatever_the_fit(how: str) -> None:
    image = picture(300, 450)
    found = [fit(image, 28, how, interpolation=interpolation) for interpolation in ("bicubic", "bilinear")]
    assert torch.equal(found[0], fit(image, 28, how))
    assert not torch.equal(*found)
    assert (found[0] - found[1]).abs().mean() < 0.1
