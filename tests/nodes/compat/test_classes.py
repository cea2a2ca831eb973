"""The classes of the old nodes have what graphs, clients and other packs read of them."""

import inspect
import json
from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat import instantid
from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OTHER_SHAPES, SIGNATURES, Signature
from comfyui_ip_adapter.ip_adapter_core.compat.words import TYPE_MEANINGS
from package import ROOT

pytestmark = pytest.mark.usefixtures("comfy")

ALL = SIGNATURES | OTHER_SHAPES | instantid.SIGNATURES

METHODS = {
    "IPAdapterAdvanced": "apply_ipadapter",
    "IPAdapterEmbeds": "apply_ipadapter",
    "IPAdapterTiled": "apply_tiled",
    "IPAdapterUnifiedLoader": "load_models",
    "IPAdapterUnifiedLoaderFaceID": "load_models",
    "IPAdapterModelLoader": "load_ipadapter_model",
    "IPAdapterInsightFaceLoader": "load_insightface",
    "IPAdapterEncoder": "encode",
    "PrepImageForClipVision": "prep_image",
}
"""What Impact, Inspire and Easy-Use call on the classes."""


@pytest.fixture(scope="module", autouse=True)
def folders(comfy: None) -> None:
    from comfyui_ip_adapter.nodes.host.files import register_folders
    from comfyui_ip_adapter.nodes.host.prompt_files import register

    register_folders()
    register()


def made(node: str) -> Any:
    from comfyui_ip_adapter.nodes.compat.classes import OLD_NODES

    (found,) = (old.classes[node] for old in OLD_NODES.values() if node in old.classes)
    return found


def test_there_are_the_37_nodes_of_the_last_version_and_8_of_the_first() -> None:
    assert len(SIGNATURES) == 37 + 8
    assert sum(row.before_version_2 for row in SIGNATURES.values()) == 8


@pytest.mark.parametrize("node", ALL)
def test_inputs_come_in_the_order_of_the_table_and_values_in_that_of_the_widgets(node: str) -> None:
    sections = made(node).INPUT_TYPES()
    names = [name for section in sections.values() for name in section]
    row: Signature = ALL[node]
    widgets = [name for name in names if row.input(name) and row.input(name).is_widget]
    assert widgets == [given.name for given in row.widgets]
    sockets = [name for name in names if row.input(name) and not row.input(name).is_widget]
    assert sockets == [given.name for given in row.inputs if not given.is_widget]
    assert set(names) - {given.name for given in row.inputs} <= {"numbers"}


@pytest.mark.parametrize("node", ALL)
def test_outputs_are_those_of_the_table(node: str) -> None:
    pairs = zip(made(node).RETURN_NAMES, made(node).RETURN_TYPES, strict=True)
    assert [tuple(output) for output in ALL[node].outputs] == list(pairs)


@pytest.mark.parametrize("node", ALL)
def test_it_is_hidden_and_says_why(node: str) -> None:
    assert made(node).DEPRECATED
    assert ("ComfyUI_InstantID" if node in instantid.SIGNATURES else "IPAdapter Plus") in made(node).DESCRIPTION


@pytest.mark.parametrize(("node", "method"), METHODS.items())
def test_other_packs_find_the_method_that_they_call(node: str, method: str) -> None:
    assert method == made(node).FUNCTION
    assert callable(getattr(made(node)(), method))


@pytest.mark.parametrize("node", ALL)
def test_every_input_is_an_argument_of_the_method_that_other_packs_call(node: str) -> None:
    from comfyui_ip_adapter.nodes.compat.doors import BEHAVIOURS, OF_INSTANTID

    arguments = ({**BEHAVIOURS} | OF_INSTANTID)[node].arguments
    assert not arguments or {given.name for given in ALL[node].inputs} <= set(arguments)
    assert len(arguments) == len(set(arguments))


def test_a_value_by_its_place_is_the_old_packs_argument_of_that_place() -> None:
    """Easy-Use gives start and end as the sixth and seventh; in the node's inputs the sixth is a menu."""
    from comfyui_ip_adapter.nodes.compat.classes import make
    from comfyui_ip_adapter.nodes.compat.doors import BEHAVIOURS

    behaviour = BEHAVIOURS["IPAdapterTiled"]._replace(run=lambda **given: (given,))
    tiled: Any = make("IPAdapterTiled", SIGNATURES["IPAdapterTiled"], behaviour)
    (given,) = tiled().apply_tiled("model", "ipadapter", "image", 0.7, "linear", 0.1, 0.9, sharpening=0.2)
    assert (given["start_at"], given["end_at"], given["sharpening"]) == (0.1, 0.9, 0.2)
    assert given["combine_embeds"] == "concat"


def test_a_method_takes_what_other_nodes_with_the_same_method_have() -> None:
    """Easy-Use gives layer weights and two pictures to IPAdapter Advanced."""
    from comfyui_ip_adapter.nodes.compat.checks import complete
    from comfyui_ip_adapter.nodes.compat.doors import BEHAVIOURS

    arguments = BEHAVIOURS["IPAdapterAdvanced"].arguments
    given = complete({}, {"layer_weights": "3:2", "image_style": None, "unknown": 1}, arguments)
    assert given == {"layer_weights": "3:2"}


def test_clients_find_the_lists_that_they_read() -> None:
    """SwarmUI and Krita read these through /object_info, Inspire the second in Python."""
    assert "PLUS (high strength)" in made("IPAdapterUnifiedLoader").INPUT_TYPES()["required"]["preset"][0]
    assert "ease out" in made("IPAdapterAdvanced").INPUT_TYPES()["required"]["weight_type"][0]
    assert "standard" in made("IPAdapter").INPUT_TYPES()["required"]["weight_type"][0]
    assert isinstance(made("IPAdapterModelLoader").INPUT_TYPES()["required"]["ipadapter_file"][0], list)


@pytest.mark.parametrize("node", ALL)
def test_the_inputs_can_be_written_as_json(node: str) -> None:
    json.dumps(made(node).INPUT_TYPES())


@pytest.mark.parametrize("word", TYPE_MEANINGS)
def test_every_weight_type_of_every_time_is_accepted(word: str) -> None:
    assert word in made("IPAdapterAdvanced").INPUT_TYPES()["required"]["weight_type"][0]


@pytest.mark.parametrize("node", ALL)
def test_every_option_of_every_menu_is_accepted(node: str) -> None:
    sections = made(node).INPUT_TYPES().values()
    menus = {name: spec[0] for section in sections for name, spec in section.items()}
    for given in ALL[node].widgets:
        for option in given.options or ():
            assert option in menus[given.name]
        assert given.name not in menus or not given.options or None in menus[given.name]


@pytest.mark.parametrize(
    ("node", "given", "sentence"),
    [
        ("IPAdapterAdvanced", {"weight_type": "softer"}, "Set weight_type to one of linear"),
        ("IPAdapterAdvanced", {"weight": float("nan")}, "Set weight to a finite number"),
        ("IPAdapterAdvanced", {"embeds_scaling": "Q only"}, "Set embeds_scaling to one of V only"),
        ("IPAdapterUnifiedLoader", {"preset": "None"}, "Set preset to one of LIGHT"),
        ("PrepImageForClipVision", {"interpolation": "sinc"}, "Set interpolation to one of LANCZOS"),
    ],
)
def test_a_value_that_no_version_had_is_refused_in_a_sentence(node: str, given: Any, sentence: str) -> None:
    from comfyui_ip_adapter.nodes.compat.checks import complete

    inputs = {given.name: given for given in ALL[node].inputs if given.is_widget}
    with pytest.raises(ValueError, match=sentence):
        complete(inputs, given)


@pytest.mark.parametrize(
    ("node", "menu", "word"),
    [
        ("IPAdapterAdvanced", "weight_type", "softer"),
        ("IPAdapterAdvanced", "embeds_scaling", "Q only"),
        ("IPAdapterUnifiedLoader", "preset", "Plus of another time"),
        ("PrepImageForClipVision", "interpolation", "sinc"),
    ],
)
def test_a_word_that_no_version_had_is_in_no_menu(node: str, menu: str, word: str) -> None:
    sections = made(node).INPUT_TYPES().values()
    assert word not in next(section[menu][0] for section in sections if menu in section)


def test_a_preset_that_was_left_open_is_refused_only_where_it_is_reached() -> None:
    assert "None" in made("IPAdapterUnifiedLoader").INPUT_TYPES()["required"]["preset"][0]
    with pytest.raises(ValueError, match="Set preset to one of LIGHT"):
        made("IPAdapterUnifiedLoader")().load_models(object(), "None")


def test_a_node_is_asked_one_question_so_that_its_answer_is_said_once() -> None:
    classes = [made(node) for node in ALL if hasattr(made(node), "VALIDATE_INPUTS")]
    asked = {tuple(inspect.getfullargspec(one.VALIDATE_INPUTS).args[1:]) for one in classes}
    assert asked == {("ipadapter_file",), ("embeds",), ("model_name",), ("instantid_file",)}
    assert "gone.bin" in made("IPAdapterModelLoader").VALIDATE_INPUTS(ipadapter_file="gone.bin")


def test_a_text_may_come_through_a_link_and_another_socket_may_not() -> None:
    from comfy_execution.validation import validate_node_input

    inputs = made("IPAdapterAdvanced").INPUT_TYPES()["required"]
    for brought, name, fits in (
        ("STRING", "weight_type", True),
        ("COMBO", "weight_type", True),
        (["a", "b"], "weight_type", True),
        ("MODEL", "weight_type", False),
        ("FLOAT", "weight", True),
        ("IP_ADAPTER", "ipadapter", False),
    ):
        assert validate_node_input(brought, inputs[name][0]) is fits


@pytest.mark.parametrize("node", ["IPAdapterModelLoader", "IPAdapterLoadEmbeds"])
def test_a_file_that_nobody_chose_is_asked_for(node: str) -> None:
    loader = made(node)()
    with pytest.raises(ValueError, match="Choose a file for"):
        getattr(loader, loader.FUNCTION)()


def test_what_is_left_out_has_the_default_and_a_missing_socket_is_named() -> None:
    prepare = made("PrepImageForClipVision")()
    from torch import rand

    picture = rand(1, 30, 20, 3)
    assert prepare.prep_image(image=picture)[0].shape == (1, 224, 224, 3)
    with pytest.raises(ValueError, match="Connect ipadapter to a node that gives IPADAPTER"):
        made("IPAdapterAdvanced")().apply_ipadapter(model=object(), image=picture)


def test_an_ipadapter_of_another_pack_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="found an IPADAPTER of another pack"):
        made("IPAdapterAdvanced")().apply_ipadapter(object(), {"image_proj": {}, "ip_adapter": {}}, image=None)


def test_no_id_of_our_own_list_is_among_them() -> None:
    assert not any(node.startswith("IPA_") for node in ALL)
    assert (ROOT / "nodes" / "compat").is_dir()
