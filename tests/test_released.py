"""The saved form of every node only grows at its end from version to version."""

from copy import deepcopy
from typing import Any

import pytest

import released
from saved_ids import today

FORMS: dict[str, Any] = {"IPA_One": {"inputs": {"a": [], "b": ["x", "y"]}, "outputs": ["out"]}}


def after(**changed: Any) -> dict[str, Any]:
    forms = deepcopy(FORMS)
    forms["IPA_One"] |= changed
    return forms


def test_what_grows_at_its_end_is_well() -> None:
    grown = after(inputs={"a": [], "b": ["z", "x", "y"], "c": []}, outputs=["out", "more"])
    assert released.changes(FORMS, grown | {"IPA_Two": FORMS["IPA_One"]}) == []


@pytest.mark.parametrize(
    ("later", "says"),
    [
        ({}, "Bring IPA_One back."),
        (
            after(inputs={"b": ["x", "y"], "a": []}),
            "Let the inputs of IPA_One begin with ['a', 'b']; found ['b', 'a'].",
        ),
        (after(inputs={"a": [], "new": [], "b": ["x", "y"]}), "Let the inputs of IPA_One begin with ['a', 'b']"),
        (after(inputs={"a": [], "b": ["x"]}), "Bring ['y'] back to b of IPA_One."),
        (after(outputs=["first", "out"]), "Let the outputs of IPA_One begin with ['out']"),
    ],
)
def test_what_files_would_miss_is_told(later: dict[str, Any], says: str) -> None:
    (said,) = released.changes(FORMS, later)
    assert said.startswith(says)


@pytest.mark.usefixtures("comfy")
def test_todays_nodes_have_all_that_published_versions_had() -> None:
    assert released.changes(today(), today()) == []
    for version, forms in released.records().items():
        assert released.changes(forms, today()) == [], version


def test_a_record_is_written_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "RELEASED", tmp_path / "records")
    place = released.write(FORMS)
    assert released.records() == {place.stem: FORMS}
    with pytest.raises(SystemExit, match="Raise the version"):
        released.write(FORMS)
