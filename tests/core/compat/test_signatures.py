"""The table of the old nodes: what saved graphs count on."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OTHER_SHAPES, SIGNATURES

ALL = SIGNATURES | OTHER_SHAPES

_OLD = ("weight", "noise", "weight_type", "start_at", "end_at")
_SPAN = ("start_at", "end_at", "embeds_scaling")

VALUES = {
    "IPAdapter": ["weight", "start_at", "end_at", "weight_type"],
    "IPAdapterAdvanced": ["weight", "weight_type", "combine_embeds", "start_at", "end_at", "embeds_scaling"],
    "IPAdapterBatch": ["weight", "weight_type", "start_at", "end_at", "embeds_scaling", "encode_batch_size"],
    "IPAdapterApply": ["weight", "noise", "weight_type", "start_at", "end_at", "unfold_batch"],
    "IPAdapterApplyFaceID": [
        "weight",
        "noise",
        "weight_type",
        "start_at",
        "end_at",
        "faceid_v2",
        "weight_v2",
        "unfold_batch",
    ],
    "IPAdapterUnifiedLoaderFaceID": ["preset", "lora_strength", "provider"],
    "PrepImageForClipVision": ["interpolation", "crop_position", "sharpening"],
    "IPAdapterMS": ["weight", "weight_faceidv2", "weight_type", "combine_embeds", *_SPAN, "layer_weights"],
}
"""The order in which graphs list the values of the nodes that are used most."""


@pytest.mark.parametrize("node", VALUES)
def test_values_are_in_the_order_of_saved_graphs(node: str) -> None:
    assert [given.name for given in SIGNATURES[node].widgets] == VALUES[node]


@pytest.mark.parametrize("node", ALL)
def test_names_of_inputs_are_unique_and_defaults_are_possible(node: str) -> None:
    names = [given.name for given in ALL[node].inputs]
    assert len(names) == len(set(names))
    for given in ALL[node].widgets:
        if given.options:
            assert given.default in given.options
        if given.limits:
            least, most, _ = given.limits
            assert least <= given.default <= most


@pytest.mark.parametrize("node", ALL)
def test_what_came_later_stands_at_the_end(node: str) -> None:
    names = [given.name for given in ALL[node].widgets]
    late = ALL[node].late
    assert tuple(names[len(names) - len(late) :]) == late


def test_what_programs_leave_out_came_later() -> None:
    assert SIGNATURES["IPAdapterAdvanced"].late == ("embeds_scaling",)
    assert SIGNATURES["IPAdapterBatch"].late == ("embeds_scaling", "encode_batch_size")
    assert SIGNATURES["IPAdapterApply"].late == ("noise", "weight_type", "start_at", "end_at", "unfold_batch")
    assert SIGNATURES["IPAdapterInsightFaceLoader"].late == ("model_name",)


def test_an_input_is_found_by_its_name() -> None:
    found = SIGNATURES["IPAdapterAdvanced"].input("weight")
    assert found is not None and found.limits == (-1.0, 5.0, 0.05)
    assert SIGNATURES["IPAdapterAdvanced"].input("nothing") is None
