"""Every node of the package's list has a help page, a row in the README, a picture, a graph, and names that stay."""

import re

import pytest

from package import ROOT
from saved_ids import merged, recorded, today
from schemas import OPEN_LISTS, described, options, schemas

pytestmark = pytest.mark.usefixtures("comfy")

HELP, README, WORKFLOWS = ROOT / "web" / "docs", ROOT / "README.md", ROOT / "workflows"

SHARED = {
    **{("IPA_StyleComposition", name): "IPA_Simple" for name in ("start", "end", "mask")},
    ("IPA_StyleComposition", "unit"): "IPA_Apply",
    ("IPA_Grid", "weight_type"): "IPA_LayerWeights",
    ("IPA_StyleComposition", "kind"): "IPA_AutoLoad",
    **{(node, "fit"): "IPA_Encode" for node in ("IPA_StyleComposition", "IPA_Score", "IPA_Grid")},
    **{("IPA_Region", name): "IPA_Apply" for name in ("weight", "start", "end", "unit", "layer_weights", "schedule")},
    **{("IPA_EncodeFace", name): "IPA_Encode" for name in ("combine", "weights", "masks")},
}
"""Inputs that a page leaves to the page of another node, which it names."""

IN_NO_GRAPH = {
    "IPA_AutoLoad": "the node IP-Adapter puts it into a graph of its own, and two templates have that",
    "IPA_Train": "a template has no pictures with captions to train on",
    "IPA_SaveAdapter": "it belongs to training",
    "IPA_LoadPrompt": "its file is made by the template save_prompt",
    "IPA_Score": "it measures what any graph made",
    "IPA_Grid": "it samples a picture many times over, which templates are too slow for",
    "IPA_FaceEmbeds": "its embedding comes from other programs",
}
"""Nodes that no template shows, and why."""


def none(needed: list[str]) -> None:
    """Fail with all that is needed, a sentence each."""
    assert not needed, "\n" + "\n".join(needed)


def page(node: str) -> str:
    path = HELP / f"{node}.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def says(text: str, option: str) -> bool:
    """Whether a page has this option of a menu in italics, in bold letters or as code."""
    return any(f"{mark}{option}{mark}" in text for mark in ("*", "`"))


def shown_in_templates() -> set[str]:
    """The ids of the nodes in graphs of workflows/, subgraphs included."""
    texts = [path.read_text(encoding="utf-8") for path in WORKFLOWS.glob("*.json")]
    return {node for text in texts for node in re.findall(r'"type":\s*"(IPA_\w+)"', text)}


def test_every_id_begins_with_the_letters_of_the_package() -> None:
    assert schemas()
    for node in schemas():
        assert re.fullmatch(r"IPA_[A-Za-z]+", node), f"Let the id {node} begin with IPA_, so that no other pack has it."


def test_every_node_has_a_help_page() -> None:
    for node in schemas():
        assert len(page(node)) > 100, f"Write web/docs/{node}.md: what the node is for, its inputs and its outputs."


def test_every_help_page_begins_with_the_name_and_shows_a_picture() -> None:
    for node, schema in schemas().items():
        assert page(node).startswith(f"# {schema.display_name}\n"), f"Begin web/docs/{node}.md with the node's name."
        picture = HELP / "images" / f"{node}.png"
        assert picture.exists(), f"Add web/docs/images/{node}.png, which tests/browser/test_screenshots.py makes."
        assert f"](images/{node}.png)" in page(node), f"Show images/{node}.png in web/docs/{node}.md."


def test_every_help_page_names_every_input() -> None:
    none(
        [
            f"Say in web/docs/{node}.md what **{given.id}** is."
            for node, schema in schemas().items()
            for given in schema.inputs
            if f"**{given.id}**" not in page(node)
        ]
    )


def test_every_help_page_names_every_output() -> None:
    none(
        [
            f"Say in web/docs/{node}.md, after “Output”, what **{output.display_name}** is."
            for node, schema in schemas().items()
            for output in schema.outputs
            if f"**{output.display_name}**" not in page(node).partition("\nOutput")[2]
        ]
    )


def test_every_help_page_names_every_option() -> None:
    none(
        [
            f"Say in web/docs/{SHARED.get((node, given.id), node)}.md what *{option}* of {given.id} is."
            for node, schema in schemas().items()
            for given in schema.inputs
            if (node, given.id) not in OPEN_LISTS
            for option in options(given)
            if not says(page(SHARED.get((node, given.id), node)), option)
        ]
    )


@pytest.mark.parametrize(("node", "name"), SHARED)
def test_a_page_that_leaves_an_input_to_another_names_that_page(node: str, name: str) -> None:
    other = SHARED[node, name]
    there = f"**{name}**"
    assert f"*{schemas()[other].display_name}*" in page(node), f"Name the page of {other} in web/docs/{node}.md."
    assert there in page(other), f"Say in web/docs/{other}.md what {there} is, or take it out of SHARED in this test."


def test_the_readme_has_a_row_for_every_node() -> None:
    rows = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    for node, schema in schemas().items():
        link = f"[{schema.display_name}](web/docs/{node}.md)"
        assert any(link in row for row in rows), f"Add a row with {link} to the table of nodes in README.md."


def test_every_node_is_in_a_template() -> None:
    shown = shown_in_templates()
    for node in schemas():
        if node not in IN_NO_GRAPH:
            assert node in shown, f"Show {node} in a graph of workflows/, or say why not in IN_NO_GRAPH of this test."
    assert not shown & IN_NO_GRAPH.keys(), "Take the nodes that templates show out of IN_NO_GRAPH of this test."


def test_every_input_and_output_has_a_tooltip() -> None:
    for node, schema in schemas().items():
        for slot in (*schema.inputs, *schema.outputs):
            name = slot.id if slot in schema.inputs else slot.display_name
            assert len(slot.tooltip or "") > 3, f"Give {name} of {node} a tooltip."


REMEMBER = "Files of users have it. Bring it back, or let a new name stand beside it."


def accepts(node: str, name: str, word: str) -> bool:
    """Whether an input takes a word: it offers it, or did before. Menus of files are as they come."""
    return (node, name) in OPEN_LISTS or word in (described(node, name).options or ())


def test_no_name_that_files_of_users_have_is_gone() -> None:
    found = today()
    for node, names in recorded().items():
        assert node in found, f"The node {node} is gone. {REMEMBER}"
        for name, words in names["inputs"].items():
            assert name in found[node]["inputs"], f"The input {name} of {node} is gone. {REMEMBER}"
            gone = [word for word in words if not accepts(node, name, word)]
            assert not gone, f"Options of {name} of {node} are gone: {sorted(gone)}. {REMEMBER}"
        outputs = names["outputs"]
        assert found[node]["outputs"][: len(outputs)] == outputs, (
            f"Let the outputs of {node} begin with {outputs}: graphs have them by number. Add new ones at the end."
        )


def test_the_record_of_names_is_up_to_date() -> None:
    known = recorded()
    for node, names in merged().items():
        assert known.get(node) == names, (
            f"Record {node}: python .ci/develop/bring.py run -- python tests/support/saved_ids.py. It only adds names."
        )
