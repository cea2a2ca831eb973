"""Every text that users read in the editor is there in every language, and says what the English says today."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from languages import (
    HELP,
    LANGUAGES,
    LOCALES,
    NODES,
    SYNTAX,
    Texts,
    definitions,
    digest,
    english,
    escaped,
    flat,
    read,
    state,
    translated,
)
from package import ROOT

pytestmark = [pytest.mark.usefixtures("comfy")]

NUMBER = re.compile(r"\d+(?:\.\d+)?")
ESCAPED = re.compile(r"\{'.'\}")
SCRIPTS = {"zh": "[一-鿿]", "zh-TW": "[一-鿿]", "ja": "[぀-ヿ一-鿿]", "ko": "[가-힯]", "ru": "[Ѐ-ӿ]"}
"""Letters of languages that are not written in Latin ones."""
KEPT = {
    "headings": r"^#+ ",
    "entries of lists": r"^ *- ",
    "steps": r"^\d+\. ",
    "rows of tables": r"^\|",
    "pictures": r"!\[[^\]]*\]\(([^)]*)\)",
    "links": r"(?<!!)\[[^\]]*\]\(([^)]*)\)",
    "code": r"`[^`]+`",
}
"""What a page has as often, and the same where it is named, in every language."""


@pytest.fixture(scope="module")
def today(comfy: None) -> Texts:
    return english()


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pairs(language: str, today: Texts) -> dict[str, tuple[str, str]]:
    """Every text: its English, and what the language says."""
    theirs = translated(language)
    return {" > ".join(key): (text, theirs.get(key, "")) for key, text in today.items()}


def none(wrong: list[str]) -> None:
    """Fail with all that is wrong."""
    assert not wrong, "\n".join(["", *wrong])


def test_the_english_file_says_what_the_nodes_say() -> None:
    assert read(LOCALES / "en" / NODES) == definitions(), "Run make languages."


def test_nothing_is_missing_stale_or_too_much(language: str, today: Texts) -> None:
    left = state(language, today)
    assert not any(left), f"Translate this, then run make languages ACCEPT={language}: {left}"


def test_a_text_that_is_not_there_one_whose_english_changed_and_one_too_much_are_found(today: Texts) -> None:
    node = (NODES, "IPA_Apply", "description")
    changed = {key: text + "!" if key == node else text for key, text in today.items()}
    gone, new = ("IPA_Apply.md",), ("IPA_New.md",)
    found = state("fr", {key: text for key, text in changed.items() if key != gone} | {new: "# New"})
    assert (found.missing, found.stale, found.superfluous) == (["IPA_New.md"], [" > ".join(node)], ["IPA_Apply.md"])


def test_every_number_is_said(pairs: dict[str, tuple[str, str]]) -> None:
    lost = {
        where: Counter(NUMBER.findall(one)) - Counter(NUMBER.findall(other)) for where, (one, other) in pairs.items()
    }
    none([f"Say {', '.join(numbers)} in {where}." for where, numbers in lost.items() if numbers])


def test_nothing_is_syntax_of_the_translator_but_what_is_escaped(language: str) -> None:
    shown = {where: ESCAPED.sub("", text) for where, text in translated(language).items() if len(where) > 1}
    none(
        [f"Escape {found} in {' > '.join(where)}." for where, text in shown.items() if (found := SYNTAX.findall(text))]
    )


def test_what_is_syntax_is_escaped() -> None:
    assert escaped("{a}|b") == "{'{'}a{'}'}{'|'}b"
    assert not SYNTAX.findall(ESCAPED.sub("", escaped("{a}|b@c$")))


def test_sentences_are_of_the_language(language: str, pairs: dict[str, tuple[str, str]]) -> None:
    said = {
        where: pair
        for where, pair in pairs.items()
        if " " in pair[0] and pair[0][0].isupper() and pair[0].endswith(".")
    }
    assert len(said) > 100
    letters = SCRIPTS.get(language, "[a-z]")
    none(
        [f"Translate {where}." for where, (one, other) in said.items() if one == other or not re.search(letters, other)]
    )


@pytest.mark.parametrize("what", KEPT)
def test_pages_are_built_like_the_english_ones(what: str, language: str) -> None:
    wrong = []
    for page in sorted(HELP.glob("*.md")):
        mine, theirs = (
            re.findall(KEPT[what], text, re.MULTILINE) for text in (page.read_text(), _page(page.stem, language))
        )
        if Counter(mine) != Counter(theirs):
            wrong.append(f"{page.stem}: {Counter(mine) - Counter(theirs)} lost, {Counter(theirs) - Counter(mine)} new")
    none(wrong)


def _page(node: str, language: str) -> str:
    return (HELP / node / f"{language}.md").read_text("utf-8")


def test_pages_name_things_as_the_editor_does(language: str) -> None:
    said, mine = read(LOCALES / language / NODES), definitions()
    none([wish for node, texts in said.items() for wish in _unsaid(node, mine[node], texts, _page(node, language))])


def _unsaid(node: str, here: dict, texts: dict, page: str) -> Iterator[str]:
    """Names that the English page has and this one has not."""
    if not page.startswith(f"# {texts['display_name']}\n"):
        yield f"{node}: begin with # {texts['display_name']}"
    english_page = (HELP / f"{node}.md").read_text()
    for key, mine in flat(here).items():
        theirs = flat(texts).get(key, "")
        mark = "**" if key[-1] == "name" else "*"
        label = key[-1] == "name" or "options" in key
        if label and f"{mark}{mine}{mark}" in english_page and f"{mark}{theirs}{mark}" not in page:
            yield f"{node}: say {mark}{theirs}{mark}, for {mine}"


def test_a_command_is_named_as_in_its_file() -> None:
    label = read(LOCALES / "en" / "commands.json")["comfyui-ip-adapter_convert"]["label"]
    assert f'const LABEL = "{label}";' in (ROOT / "web" / "convert_command.js").read_text()


def test_a_digest_changes_with_the_text() -> None:
    assert digest("weight") == digest("weight") != digest("weights")
