"""What the old nodes put on a model: the weights of every layer equal the old pack's, by its published formulas."""

from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.compat.words import COMBINES, SCALINGS, WEIGHT_TYPES
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer, layers
from published_weights import BLOCKS, ROWS, expected

pytestmark = pytest.mark.usefixtures("comfy")

LAYERS = {family: layers(CONFIGS[family]) for family in ("SD1.5", "SDXL")}


def spread(family: str, **given: Any) -> dict[Layer, tuple[float, float]]:
    """λ and its reverse use in each layer, of all that an old node places."""
    from comfyui_ip_adapter.nodes.compat.applying import _settings
    from comfyui_ip_adapter.nodes.compat.placing import _spreads

    total = dict.fromkeys(LAYERS[family], (0.0, 0.0))
    for weights, (factor,) in _spreads(_settings(given, per_frame=False, old_words=False)):
        for layer, own in weights.per_layer(LAYERS[family]).items():
            total[layer] = (total[layer][0] + factor * own.positive, total[layer][1] + factor * own.to_negative)
    return total


def by_block(family: str, found: dict[Layer, tuple[float, float]]) -> list[tuple[float, float]]:
    """One pair for each block with cross-attentions, as they run; all layers of a block must be alike."""
    pairs = []
    for stage, block in BLOCKS[family]:
        (pair,) = {pair for layer, pair in found.items() if (layer.stage, layer.block) == (stage, block)}
        pairs.append(pair)
    return pairs


@pytest.mark.parametrize("family", LAYERS)
@pytest.mark.parametrize("kind", WEIGHT_TYPES)
@pytest.mark.parametrize("weight", [0.8, -0.5, 0.0])
def test_each_weight_type_gives_every_layer_the_old_weight(family: str, kind: str, weight: float) -> None:
    second = 1.0 if kind == "style and composition" else weight
    wanted = torch.tensor(expected(ROWS[family][kind], weight, second))
    found = torch.tensor(by_block(family, spread(family, weight=weight, weight_type=kind)))
    torch.testing.assert_close(found, wanted, atol=5e-5, rtol=0)  # the record has four digits


@pytest.mark.parametrize("family", LAYERS)
@pytest.mark.parametrize(
    ("boost", "kind"), [("style_boost", "style transfer precise"), ("composition_boost", "composition precise")]
)
@pytest.mark.parametrize("second", [0.0, 2.5])
def test_a_second_weight_counts_by_itself_whatever_the_weight(
    family: str, boost: str, kind: str, second: float
) -> None:
    wanted = torch.tensor(expected(ROWS[family][kind], 0.5, second))
    found = torch.tensor(by_block(family, spread(family, weight=0.5, **{boost: second})))
    torch.testing.assert_close(found, wanted, atol=5e-5, rtol=0)


@pytest.mark.parametrize("family", LAYERS)
def test_a_list_of_layers_overrules_the_type_and_is_multiplied_with_the_weight(family: str) -> None:
    found = by_block(family, spread(family, weight=0.5, weight_type="style transfer", layer_weights="0:2, 3:-1, 99:4"))
    wanted = [(0.0, 0.0)] * len(found)
    wanted[0], wanted[3] = (1.0, 0.0), (-0.5, 0.0)
    assert found == wanted


def test_in_a_list_a_precise_type_pushes_away_where_it_does() -> None:
    found = by_block("SDXL", spread("SDXL", weight=1.0, weight_type="style transfer precise", layer_weights="3:2, 6:1"))
    assert found[3] == (0.0, 2.0)
    assert found[6] == (1.0, 0.0)


def test_numbers_of_frames_are_kept_where_each_frame_has_its_own_reference() -> None:
    from comfyui_ip_adapter.nodes.compat.placing import Settings

    assert Settings(weight=[0.2, 0.7], per_frame=True).weights == (0.2, 0.7)
    assert Settings(weight=[0.2, 0.7]).weights == (0.2,)
    assert Settings(weight=0.4).weights == (0.4,)


@pytest.mark.parametrize("numbers", ["right", "IPAdapter Plus"])
@pytest.mark.parametrize("combine", COMBINES)
def test_one_reference_is_not_combined_with_anything(combine: str, numbers: str) -> None:
    from comfyui_ip_adapter.nodes.compat.numbers import NUMBERS
    from comfyui_ip_adapter.nodes.compat.placing import Settings, _gathering
    from comfyui_ip_adapter.nodes.compat.references import References

    found = {}
    for images in (1, 2):
        inputs = (torch.rand(images, 8),)
        found[images] = _gathering(References(inputs, inputs), Settings(combine=combine), NUMBERS[numbers]).how
    assert found == {1: "concat", 2: NUMBERS[numbers].combines.get(combine, combine)}


def test_the_old_numbers_read_masks_and_means_as_the_old_pack_did() -> None:
    from comfyui_ip_adapter.nodes.compat.numbers import NUMBERS

    ways = ("skip_middle", "mean_of_each", "point_masks")
    found = {name: {getattr(row.options, way) for way in ways} for name, row in NUMBERS.items()}
    assert found == {"right": {False}, "IPAdapter Plus": {True}}


def test_the_mask_of_a_reference_is_only_limited_where_the_numbers_are_right() -> None:
    from comfyui_ip_adapter.nodes.compat.embeds import _fit_mask

    mask = torch.zeros(1, 60, 80)
    mask[:, :, 40:] = 1
    found = _fit_mask(mask, 224)
    assert found.shape == (1, 224, 224)
    assert found.min() < 0
    assert found.max() > 1


@pytest.mark.parametrize(
    ("family", "context", "side"),
    [("SD1.5", 768, 224), ("SDXL", 2048, 256), ("Kolors", 2048, 336), ("SSD-1B", 2048, 256), (None, 64, 224)],
)
def test_faces_are_cut_out_at_the_old_sizes_of_every_model(family: str | None, context: int, side: int) -> None:
    from comfyui_ip_adapter.nodes.compat.references import crop_size

    assert crop_size(family, context) == side


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_old_words_for_scalings_are_ours(scaling: str) -> None:
    from comfyui_ip_adapter.ip_adapter_core.attention.scaling import SCALINGS as OURS

    assert scaling in OURS


@pytest.mark.parametrize(
    ("word", "scaling"),
    [("original", "V only"), ("linear", "K+V"), ("channel penalty", "K+mean(V) w/ C penalty")],
)
def test_before_version_2_the_weight_type_said_how_the_weight_enters(word: str, scaling: str) -> None:
    from comfyui_ip_adapter.nodes.compat.applying import _settings

    settings = _settings({"weight_type": word}, per_frame=False, old_words=True)
    assert (settings.weight_type, settings.scaling) == ("linear", scaling)


def test_a_start_behind_the_end_leaves_the_model_as_it_is() -> None:
    """The old pack compared both with the step."""
    from comfyui_ip_adapter.nodes.compat.numbers import NUMBERS
    from comfyui_ip_adapter.nodes.compat.placing import Settings, place

    model = object()
    nothing: Any = None
    assert place(model, nothing, nothing, Settings(start=0.8, end=0.2), NUMBERS["right"]) is model
