"""What is refused when publishing, and only then: a placeholder, a version without a date or without a record."""

from copy import deepcopy
from pathlib import Path

from develop import ready

CHANGELOG = "# Changelog\n\n## 1.2.3 (2027-01-31)\n\n- News.\n\n## 1.2.2 (unreleased)\n"
FILLED = {
    "project": {"version": "1.2.3", "urls": {"Repository": "https://github.com/somebody/prompts"}},
    "tool": {"comfy": {"PublisherId": "somebody", "Icon": "https://github.com/somebody/prompts/raw/main/icon.png"}},
}


def recorded(tmp_path: Path) -> Path:
    (tmp_path / "1.2.3.json").write_text("{}")
    return tmp_path


def test_nothing_is_wrong_with_a_version_that_has_everything(tmp_path: Path) -> None:
    assert ready.complaints(FILLED, CHANGELOG, recorded(tmp_path)) == []


def test_every_key_with_the_placeholder_is_named(tmp_path: Path) -> None:
    settings = deepcopy(FILLED)
    settings["project"]["urls"]["Repository"] = f"https://github.com/{ready.PLACEHOLDER}/prompts"
    settings["tool"]["comfy"]["PublisherId"] = ready.PLACEHOLDER
    said = ready.complaints(settings, CHANGELOG, recorded(tmp_path))
    assert [sentence.rpartition("found ")[2] for sentence in said] == ["Repository.", "PublisherId."]


def test_a_version_needs_three_numbers_a_date_and_a_record(tmp_path: Path) -> None:
    for version, words in (
        ("1.2.2", "its date): found unreleased"),
        ("1.3.0", "found no such heading"),
        ("1.3", "1.2.3"),
    ):
        settings = deepcopy(FILLED)
        settings["project"]["version"] = version
        said = " ".join(ready.complaints(settings, CHANGELOG, tmp_path))
        assert words in said
        assert "make release-names" in said


def test_the_placeholder_of_this_checkout_is_seen_where_it_is_left() -> None:
    text = (ready.ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.ruff]")[0]
    left = sum(ready.PLACEHOLDER in line for line in text.splitlines() if not line.startswith("#"))
    assert len(list(ready.placeholders(ready.settings()))) == left
