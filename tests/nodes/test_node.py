"""What all nodes have in common: checks of what they are given, and messages that can be written down."""

import inspect
import os
from typing import Any

import pytest
import torch

from schemas import described, parts, schemas

pytestmark = pytest.mark.usefixtures("comfy")

LATIN = os.fsdecode(b"caf\xe9")


def ours() -> list[Any]:
    from comfyui_ip_adapter.nodes import NODES

    return NODES


def probe(run: Any) -> Any:
    """A node with an input of each sort that calls `run` with them."""
    from comfy_api.latest import io

    from comfyui_ip_adapter.nodes.node import Node
    from comfyui_ip_adapter.nodes.sockets import LayerWeights, schema

    class Probe(Node):
        @classmethod
        def define_schema(cls) -> Any:
            inputs = [
                io.Image.Input("image"),
                io.Float.Input("strength"),
                io.Combo.Input("shape", options=["round", "square"], optional=True),
                io.String.Input("note", optional=True),
                LayerWeights.Input("layer_weights", optional=True),
            ]
            return schema("Probe", "Probe", "", inputs=inputs, outputs=[io.Image.Output()])

        @classmethod
        def execute(
            cls, image: Any, strength: float, shape: str = "round", note: str = "-", layer_weights: Any = "all"
        ) -> Any:
            return io.NodeOutput(run(shape, note, layer_weights))

    return Probe


def given(**more: Any) -> dict[str, Any]:
    return {"image": torch.zeros(1, 8, 8, 3), "strength": 1.0} | more


def test_every_node_is_one_that_looks_first() -> None:
    from comfyui_ip_adapter.nodes.node import Node

    assert all(issubclass(node, Node) for node in ours())
    for node in ours():
        for name in ("execute", "validate_inputs"):
            if name in vars(node):
                assert hasattr(getattr(node, name), "__wrapped__"), node


def test_no_message_comes_once_for_each_of_several_inputs() -> None:
    """ComfyUI repeats what validate_inputs says for each argument that it names."""
    judged = {
        node: inspect.getfullargspec(node.validate_inputs).args for node in ours() if "validate_inputs" in vars(node)
    }
    assert judged
    assert {node.__name__: names for node, names in judged.items() if len(names) != 2} == {}


def test_what_is_null_holds_the_nodes_own_default() -> None:
    node = probe(lambda *values: values)
    assert node.execute(**given(shape=None, note=None, layer_weights=None)).args[0] == ("round", "-", "all")
    assert node.execute(**given(note="None")).args[0] == ("round", "-", "all")  # what ComfyUI makes of null
    assert node.execute(**given(note="")).args[0] == ("round", "", "all")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"image": None}, "Connect image to a node that gives IMAGE; found nothing"),
        ({"image": "cat.png"}, "Connect image to a node that gives IMAGE; found 'cat.png'"),
        ({"layer_weights": {"a": 1}}, "Connect layer_weights to a node that gives LAYER_WEIGHTS; found a dict"),
        ({"strength": float("nan")}, "Set strength to a finite number such as 0.8; found nan"),
        ({"strength": "1"}, "Set strength to a finite number such as 0.8; found '1'"),
        ({"strength": None}, "Set strength to a finite number such as 0.8; found nothing"),
        ({"shape": "oval"}, "Set shape to one of round, square; found 'oval'"),
        ({"shape": 3.5}, "Choose a shape from its menu; found 3.5"),
        ({"note": LATIN}, r"Write note anew: 'caf\\\\udce9' holds what cannot be written as UTF-8"),
        ({"note": 5}, "Write note as text; found 5"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_the_name_of_its_input(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        probe(lambda *values: None).execute(**given(**wrong))


def raising(error: Exception, cause: Exception | None = None) -> Any:
    def run(*values: Any) -> None:
        raise error from cause

    return probe(run)


@pytest.mark.parametrize(
    "error", [ValueError(f"{LATIN} is bad."), LookupError(LATIN), ValueError(f"No {'a' * 9999!r}.")]
)
def test_messages_can_be_written_and_read(error: Exception) -> None:
    kind = ValueError if isinstance(error, ValueError) else RuntimeError
    with pytest.raises(kind) as told:
        raising(error).execute(**given())
    str(told.value).encode("utf-8")
    assert len(str(told.value)) < 200
    assert told.value.__suppress_context__


def test_a_cause_that_cannot_be_written_is_not_logged_either() -> None:
    with pytest.raises(ValueError, match=r"^Choose another file\.$") as told:
        raising(ValueError("Choose another file."), OSError(f"{LATIN} is gone")).execute(**given())
    assert told.value.__cause__ is None


def test_what_the_system_says_becomes_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"^Check /there/caf\\udce9: the system says “File name too long”\.$"):
        raising(OSError(36, "File name too long", f"/there/{LATIN}")).execute(**given())


def test_other_errors_stay_what_they_are() -> None:
    error = RuntimeError("out of memory")
    with pytest.raises(RuntimeError) as told:
        raising(error).execute(**given())
    assert told.value is error


def test_a_black_mask_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    from comfyui_ip_adapter.nodes.notices import of_mask, of_pictures, with_notices

    assert of_mask(None) == of_mask(torch.ones(1, 4, 4)) == of_pictures(torch.zeros(1, 4, 4, 3)) == []
    assert not caplog.records
    (told,) = of_mask(torch.zeros(2, 4, 4))
    assert "black everywhere" in told
    assert told in caplog.text
    assert with_notices([told]) == {"text": (told,)}
    assert with_notices([]) is None
    assert len(of_pictures(torch.zeros(1, 4, 4, 4))) == 1


def test_settings_that_make_a_prompt_do_nothing_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    from comfyui_ip_adapter.ip_adapter_core.attention.application import ApplyOptions
    from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
    from comfyui_ip_adapter.ip_adapter_core.layers.layout import layers
    from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import LINEAR, from_weight_type
    from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
    from comfyui_ip_adapter.nodes import notices

    here = layers(CONFIGS["SD1.5"])
    assert notices.of_use(ApplyOptions(-0.05, Span(0.2, 0.21), mask=torch.ones(1, 4, 4))) == []
    assert notices.of_layers(LINEAR, here) == notices.of_layers(from_weight_type("style transfer", 0.1), here) == []
    assert not caplog.records
    told = notices.of_use(ApplyOptions(0.0, Span(0.0, 0.0), mask=torch.zeros(1, 4, 4)))
    told += notices.of_layers(from_weight_type("linear", 0.0), here)
    said = ("weight is 0, so that this", "no step of the sampling", "black everywhere", "every layer 0")
    assert all(words in notice for words, notice in zip(said, told, strict=True))
    assert all(notice in caplog.text for notice in told)


def test_a_model_that_takes_no_image_prompts_is_refused_in_words_wherever_it_is_connected() -> None:
    from types import SimpleNamespace

    from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
    from comfyui_ip_adapter.nodes.host import models

    def model(**config: Any) -> Any:
        loaded = SimpleNamespace(model_config=SimpleNamespace(unet_config=config), diffusion_model=None)
        return SimpleNamespace(model=loaded)

    for asked in (models.geometry, models.family, models.layers):
        with pytest.raises(ValueError, match=r"^Connect a model such as SD1\.5, .* or Flux, .* is chroma\.$"):
            asked(model(image_model="chroma", hidden_size=3072, depth=19))
    with pytest.raises(ValueError, match=r"^Connect a model such as .*of another construction"):
        models.geometry(SimpleNamespace(model=SimpleNamespace()))
    with pytest.raises(ValueError, match=r"^Connect a UNet such as .*; this model is flux\.$"):
        models.cross_attentions(model(**CONFIGS["Flux"]))


FOLDERS = {"loaders", "faces", "regions", "animation", "comparison", "training", "demo"}


def test_nodes_lie_in_folders_of_the_menu_and_the_main_ones_beside_them() -> None:
    from comfyui_ip_adapter.nodes.sockets import CATEGORY, FOLDER_OF

    categories = {node: schema.category for node, schema in (schemas() | parts()).items()}
    assert categories.keys() >= FOLDER_OF.keys(), "Take the ids that no node has out of FOLDER_OF of nodes/sockets.py."
    assert {category.partition(f"{CATEGORY}/")[2] for category in categories.values()} == {"", *FOLDERS}
    beside = {node for node, category in categories.items() if category == CATEGORY}
    assert {"IPA_Simple", "IPA_StyleComposition", "IPA_Encode", "IPA_Apply"} <= beside


def test_what_may_still_change_is_marked_as_experimental() -> None:
    assert {node for node, schema in schemas().items() if schema.is_experimental} == {"IPA_Train", "IPA_AttentionMap"}


@pytest.mark.parametrize("node", ["IPA_Simple", "IPA_StyleComposition"])
def test_nodes_that_read_pictures_offer_no_kinds_of_faces_and_still_accept_them(node: str) -> None:
    from comfyui_ip_adapter.ip_adapter_core.catalogue.choose import OF_FACES

    kind = described(node, "kind")
    assert OF_FACES == ("FaceID", "FaceID-Plus", "portrait", "InstantID", "PuLID")
    assert not set(OF_FACES) & set(kind.options)
    assert all(word in kind.options for word in (*OF_FACES, "plus"))
    assert "none of these" not in kind.options


def test_a_kind_of_faces_is_refused_with_the_nodes_for_faces() -> None:
    from comfyui_ip_adapter.nodes.simple import Simple

    with pytest.raises(ValueError, match=r"^Use Face Embedding and Encode Face Prompt, or set kind to any"):
        Simple.execute(model=object(), image=torch.zeros(1, 8, 8, 3), weight=1.0, start=0.0, end=1.0, kind="FaceID")


ADVANCED = {
    "IPA_Schedule": {"shown_over"},
    "IPA_LayerWeights": {"combine"},
    "IPA_Encode": {"detail", "alpha"},
    "IPA_Face": {"backend"},
}


@pytest.mark.parametrize("node", ADVANCED)
def test_inputs_that_few_people_need_are_advanced_and_those_of_some_choices_are_not(node: str) -> None:
    assert {given.id for given in schemas()[node].inputs if given.advanced} == ADVANCED[node]


def test_new_attention_maps_show_small_differences_and_prompts_without_a_scale_are_as_they_were() -> None:
    from comfyui_ip_adapter.nodes.attention_map import AttentionMap

    assert described("IPA_AttentionMap", "scale").default == "lowest to highest"
    assert inspect.signature(AttentionMap.execute).parameters["scale"].default == "from zero"


def test_what_start_and_end_count_may_be_left_out_everywhere() -> None:
    units = [given for schema in schemas().values() for given in schema.inputs if given.id == "unit"]
    assert len(units) >= 5
    assert all(unit.optional and unit.default for unit in units)


WIDGETS_IN_ORDER = {
    "IPA_Encode": ["fit", "combine", "weights", "detail", "tiles", "alpha"],
    "IPA_Simple": ["weight", "start", "end", "unit", "kind", "fit", "weight_type", "balance"],
    "IPA_Moodboard": ["weight", "start", "end", "unit", "balance"],
    "IPA_StyleComposition": [
        *("style_weight", "composition_weight", "start", "end", "unit", "kind", "fit", "strong_style"),
    ],
    "IPA_Apply": [
        *("weight", "start", "end", "unit", "lora_strength", "skip_middle_block", "scaling", "balance", "method"),
    ],
    "IPA_Region": ["weight", "text_strength", "start", "end", "unit", "place"],
    "IPA_Schedule": [
        *("shape", "start_value", "end_value", "unit", "points", "n", "random_seed", "shown_over"),
    ],
}
"""The order of the values in saved graphs: required inputs, then optional ones, as the editor sorts them."""


@pytest.mark.parametrize("node", WIDGETS_IN_ORDER)
def test_values_of_saved_graphs_stand_where_they_stood(node: str) -> None:
    from comfy_api.latest import io

    in_order = sorted(schemas()[node].inputs, key=lambda given: bool(given.optional))
    widgets = [given.id for given in in_order if isinstance(given, io.WidgetInput)]
    assert widgets == WIDGETS_IN_ORDER[node]
