"""Every row of a table is in its menu, in its help page, and in a test of its formula."""

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from comfyui_ip_adapter.ip_adapter_core.adapters.variants import VARIANTS
from comfyui_ip_adapter.ip_adapter_core.attention.attention_map import MAP_KINDS
from comfyui_ip_adapter.ip_adapter_core.attention.balance import BALANCES
from comfyui_ip_adapter.ip_adapter_core.attention.projection import METHODS
from comfyui_ip_adapter.ip_adapter_core.attention.scaling import SCALINGS
from comfyui_ip_adapter.ip_adapter_core.catalogue.choose import KINDS, OF_PICTURES
from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import PROMPT_OPS
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import COMBINE_MODES
from comfyui_ip_adapter.ip_adapter_core.prompts.transitions import EASINGS
from comfyui_ip_adapter.ip_adapter_core.settings.curves import SHAPES, UNITS
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import MERGE_MODES, TYPES
from comfyui_ip_adapter.ip_adapter_core.settings.places import PLACES
from comfyui_ip_adapter.ip_adapter_core.vision import noise
from comfyui_ip_adapter.ip_adapter_core.vision.prepare import CROPS
from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import FITS
from fabricate import adapters
from own_weights import ROWS as OWN
from package import ROOT
from published_weights import INSTANT_SETS
from published_weights import ROWS as PUBLISHED
from schemas import described, options

TESTS, HELP = ROOT / "tests", ROOT / "web" / "docs"

each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)


def has(text: str, name: str) -> bool:
    """Whether a text has this name by itself, not inside a longer word."""
    return bool(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# Kinds of adapter


@each_variant
def test_a_kind_can_be_chosen(variant: Any) -> None:
    reached = KINDS[variant.choice].variants if variant.choice in KINDS else ()
    assert variant.name in reached, (
        f"Let the menu reach {variant.name}: KINDS of ip_adapter_core/catalogue/choose.py is made of VARIANTS, and its "
        f"choice {variant.choice!r} must be none of those that a file's name tells."
    )


def test_no_kind_has_the_name_of_another() -> None:
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names), "Give each row of VARIANTS a name of its own."
    for variant in VARIANTS:
        assert set(variant.twins) <= set(names), f"{variant.name} has twins that are no rows of VARIANTS; name others."


@each_variant
def test_a_kind_is_fabricated_for_the_tests(variant: Any) -> None:
    twins = {name for other in VARIANTS for name in other.twins}  # their tensors are those of another row
    assert variant.name in {*adapters.KINDS, *twins}, (
        f"Add {variant.name!r} to KINDS of tests/support/fabricate/adapters.py: all tests that go over kinds take it "
        "from there."
    )


def test_what_is_fabricated_is_a_kind() -> None:
    unknown = adapters.KINDS.keys() - {variant.name for variant in VARIANTS}
    assert not unknown, f"Take {unknown} out of KINDS of tests/support/fabricate/adapters.py."


@each_variant
def test_a_kind_is_in_the_readme(variant: Any) -> None:
    (listed,) = re.findall(r"^Adapters: .*?(?=\n\n)", read(ROOT / "README.md"), re.DOTALL | re.MULTILINE)
    assert has(listed, variant.name), f"Add {variant.name} to the paragraph “Adapters:” of README.md."


@each_variant
def test_a_kind_is_in_the_help_page_of_the_loader(variant: Any) -> None:
    listed = read(HELP / "IPA_LoadAdapter.md")
    assert has(listed, variant.name), f"Add {variant.name} to the kinds that web/docs/IPA_LoadAdapter.md lists."


@pytest.mark.parametrize("choice", KINDS)
def test_a_choice_of_kinds_is_explained_in_the_help_page(choice: str) -> None:
    assert f"*{choice}*" in read(HELP / "IPA_AutoLoad.md"), f"Say in web/docs/IPA_AutoLoad.md what *{choice}* is."


OFFERED = {
    "IPA_AutoLoad": tuple(KINDS),
    **dict.fromkeys(("IPA_Simple", "IPA_StyleComposition"), OF_PICTURES),
}
"""By the node, the kinds that it can run."""


@pytest.mark.parametrize(("node", "choice"), [(node, kind) for node, kinds in OFFERED.items() for kind in kinds])
def test_a_choice_of_kinds_is_in_the_menu_and_its_tooltip(comfy: None, node: str, choice: str) -> None:
    kind = described(node, "kind")
    assert choice in options(kind), f"Offer {choice} in the menu of {node}: kind_input of nodes/load.py."
    assert has(kind.tooltip, choice), f"Say in the tooltip of kind_input in nodes/load.py what {choice} is."


# Other tables


class Table(NamedTuple):
    """A table whose rows users choose.

    of: its rows; where: its name and module; menus: the inputs that offer them, of which the first node's page explains
    them; tested: the test that has a row for each.
    """

    of: Any
    where: str
    menus: tuple[tuple[str, str], ...]
    tested: str


TABLES = {
    "weight type": Table(
        TYPES,
        "TYPES of ip_adapter_core/settings/layer_weights.py",
        (("IPA_LayerWeights", "weight_type"), ("IPA_Simple", "weight_type")),
        "support/own_weights.py",
    ),
    "way to merge layer weights": Table(
        MERGE_MODES,
        "MERGE_MODES of ip_adapter_core/settings/layer_weights.py",
        (("IPA_LayerWeights", "combine"),),
        "core/settings/test_layer_weights.py",
    ),
    "way to combine images": Table(
        COMBINE_MODES,
        "COMBINE_MODES of ip_adapter_core/prompts/combine.py",
        (("IPA_Encode", "combine"), ("IPA_EncodeFace", "combine")),
        "core/prompts/test_combine.py",
    ),
    "way to combine prompts": Table(
        PROMPT_OPS,
        "PROMPT_OPS of ip_adapter_core/prompts/arithmetic.py",
        (("IPA_Combine", "how"),),
        "core/prompts/test_arithmetic.py",
    ),
    "shape of a schedule": Table(
        SHAPES,
        "SHAPES of ip_adapter_core/settings/curves.py",
        (("IPA_Schedule", "shape"),),
        "core/settings/test_schedule.py",
    ),
    "unit of a schedule": Table(
        UNITS,
        "UNITS of ip_adapter_core/settings/curves.py",
        (("IPA_Schedule", "unit"),),
        "core/settings/test_schedule.py",
    ),
    "shape of a transition": Table(
        EASINGS,
        "EASINGS of ip_adapter_core/prompts/transitions.py",
        (("IPA_Transition", "shape"),),
        "core/settings/test_schedule.py",
    ),
    "place of a region": Table(
        PLACES,
        "PLACES of ip_adapter_core/settings/places.py",
        (("IPA_Region", "place"),),
        "core/settings/test_places.py",
    ),
    "scaling": Table(
        SCALINGS,
        "SCALINGS of ip_adapter_core/attention/scaling.py",
        (("IPA_Apply", "scaling"),),
        "core/attention/test_scaling.py",
    ),
    "balance": Table(
        BALANCES,
        "BALANCES of ip_adapter_core/attention/balance.py",
        (("IPA_Apply", "balance"), ("IPA_Simple", "balance"), ("IPA_Moodboard", "balance")),
        "core/attention/test_balance.py",
    ),
    "method of PuLID": Table(
        METHODS,
        "METHODS of ip_adapter_core/attention/projection.py",
        (("IPA_Apply", "method"),),
        "core/attention/test_projection.py",
    ),
    "kind of noise": Table(
        noise.NOISE_KINDS,
        "NOISE_KINDS of ip_adapter_core/vision/noise.py",
        (("IPA_Noise", "kind"),),
        "core/vision/test_noise.py",
    ),
    "kind of map": Table(
        MAP_KINDS,
        "MAP_KINDS of ip_adapter_core/attention/attention_map.py",
        (("IPA_AttentionMap", "show"),),
        "core/attention/test_attention_map.py",
    ),
    "way to fit a picture": Table(
        FITS,
        "FITS of ip_adapter_core/vision/preprocess.py",
        (("IPA_Encode", "fit"), ("IPA_Simple", "fit"), ("IPA_StyleComposition", "fit")),
        "core/vision/test_preprocess.py",
    ),
    "way to crop a reference": Table(
        CROPS,
        "CROPS of ip_adapter_core/vision/prepare.py",
        (("IPA_Prepare", "crop"),),
        "core/vision/test_prepare.py",
    ),
}
ROWS = [(table, row) for table in TABLES for row in TABLES[table].of]

each_row = pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{table}: {row}" for table, row in ROWS])


def written(path: Path) -> set[str]:
    """The texts in quotation marks of a Python file."""
    nodes = ast.walk(ast.parse(read(path)))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def with_numbers(table: Table) -> set[str]:
    """The rows that a test has the numbers of."""
    if table.of is TYPES:
        return {*PUBLISHED["SD1.5"], *INSTANT_SETS["SD1.5"], *OWN["SD1.5"]}
    return written(TESTS / table.tested)


@each_row
def test_a_row_is_in_its_menus(comfy: None, name: str, row: str) -> None:
    for node, given in TABLES[name].menus:
        offered = options(described(node, given))
        assert row in offered, f"Offer {row} in {given} of {node}: make the menu of {TABLES[name].where}."


@each_row
def test_a_row_is_explained_in_the_help_page(name: str, row: str) -> None:
    node, given = TABLES[name].menus[0]
    page = HELP / f"{node}.md"
    assert f"*{row}*" in read(page), f"Say in {page.relative_to(ROOT)}, under **{given}**, what *{row}* is."


@each_row
def test_a_row_has_a_test_of_its_formula(name: str, row: str) -> None:
    table = TABLES[name]
    assert row in with_numbers(table), f"Add the {name} {row!r}, with what it must give, to tests/{table.tested}."
