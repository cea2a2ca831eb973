"""The page for people who come from IPAdapter Plus names every node and word that their graphs may hold."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.presets import PRESETS
from comfyui_ip_adapter.ip_adapter_core.compat.signatures import SIGNATURES
from comfyui_ip_adapter.ip_adapter_core.compat.words import TYPE_MEANINGS
from package import ROOT

PAGE = ROOT / "docs" / "coming-from-ipadapter-plus.md"


def rows() -> list[str]:
    """The rows of the page's tables."""
    return [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]


@pytest.mark.parametrize("word", [*SIGNATURES, *TYPE_MEANINGS, *PRESETS])
def test_the_page_has_a_row_for_every_id_and_word(word: str) -> None:
    assert any(f"`{word}`" in row.split("|")[1] for row in rows()), f"Say in {PAGE.name} what `{word}` is here."


@pytest.mark.parametrize("node", SIGNATURES)
def test_the_page_gives_each_id_the_name_that_people_saw(node: str) -> None:
    name = SIGNATURES[node].name
    assert any(row.startswith(f"| `{node}` | {name} |") for row in rows()), f"Name {node} {name} in {PAGE.name}."
