"""Layers computed from a configuration, against the published numbering of adapter files."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS, describe
from comfyui_ip_adapter.ip_adapter_core.layers.layout import geometry, layers

# The published order, by groups of (stage, block) and how many transformer blocks each holds.
_SD_OUTPUT = [("output", block, 1) for block in range(3, 12)]
SD_GROUPS = [("input", block, 1) for block in (1, 2, 4, 5, 7, 8)] + _SD_OUTPUT + [("middle", 0, 1)]
SDXL_GROUPS = [("input", 4, 2), ("input", 5, 2), ("input", 7, 10), ("input", 8, 10)]
SDXL_GROUPS += [("output", 0, 10), ("output", 1, 10), ("output", 2, 10)]
SDXL_GROUPS += [("output", 3, 2), ("output", 4, 2), ("output", 5, 2), ("middle", 0, 10)]


@pytest.mark.parametrize(("name", "groups"), [("SD1.5", SD_GROUPS), ("SD2", SD_GROUPS), ("SDXL", SDXL_GROUPS)])
def test_layers_stand_in_the_order_of_adapter_files(name: str, groups: list[tuple[str, int, int]]) -> None:
    expected = [(stage, block, index) for stage, block, depth in groups for index in range(depth)]
    assert [layer.address for layer in layers(CONFIGS[name])] == expected


def test_transformer_indices_follow_the_widths_of_the_published_table() -> None:
    widths = [layer.width for layer in layers(CONFIGS["SD1.5"])]
    assert widths == [320, 320, 640, 640, 1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320, 1280]


@pytest.mark.parametrize(("name", "heads"), [("SD1.5", {8}), ("SD2", {5, 10, 20}), ("SDXL", {10, 20})])
def test_heads_are_as_many_or_as_wide_in_each_layer(name: str, heads: set[int]) -> None:
    found = layers(CONFIGS[name])
    assert {layer.heads for layer in found} == heads
    assert len({layer.heads if len(heads) == 1 else layer.width // layer.heads for layer in found}) == 1


def test_a_smaller_relative_of_sdxl_has_its_own_geometry() -> None:
    vega = CONFIGS["SDXL"] | {
        "transformer_depth": [0, 0, 1, 1, 2, 2],
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
        "transformer_depth_middle": -1,
    }
    found = geometry(vega)
    assert len(found.widths) == 15
    assert describe(found) == "a model of its own kind (15 layers, context 2048)"


def test_a_model_without_such_blocks_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"Connect a UNet such as .*; this model is flux\."):
        layers({"image_model": "flux", "context_in_dim": 4096})
