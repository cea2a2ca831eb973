"""The pages about the code say what is there: the picture of the rooms, and the files and tables that they name."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from develop import architecture
from package import ROOT

PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("docs/architecture.md", "CONTRIBUTING.md")}
FILE = re.compile(r"\b(?:ip_adapter_core|nodes|tests|\.ci|web|workflows|benchmarks|models|docs)/[\w./-]*")
TABLE = re.compile(r"`([\w/.]+\.py)`, `([A-Z_]+)`(?: or `([A-Z_]+)`)?")
TABLE_OF = re.compile(r"`([A-Z_]+)` (?:in|of)\s+`([\w/.]+\.py)`")
TEST = re.compile(r"`(test_\w+)`")


def tables(page: str) -> set[tuple[str, str]]:
    """Files, and the tables that are said to be in them."""
    found = {(file, name) for file, *names in TABLE.findall(page) for name in names if name}
    return found | {(file, name) for name, file in TABLE_OF.findall(page)}


def rooms() -> set[str]:
    """Every folder of the product that is a room, as the page names it."""
    hosts = {f"nodes/host/{name}" for name in architecture.rooms("nodes/host")}
    return architecture.rooms("ip_adapter_core") | {f"nodes/{name}" for name in architecture.rooms("nodes")} | hosts


def test_the_committed_picture_is_what_the_script_draws() -> None:
    assert architecture.draw() == architecture.PICTURE.read_text("utf-8"), "run python .ci/develop/architecture.py"


def test_every_room_of_the_core_is_in_the_picture_in_the_order_of_the_contract() -> None:
    heights = {name: each.y for name, each in architecture.core(0).items()}
    assert architecture.rooms("ip_adapter_core") <= heights.keys()
    order = [name for row in architecture.layers("ip_adapter_core") for name in row]
    assert [heights[name] for name in order] == sorted(heights.values())


def test_no_box_of_the_picture_lies_on_another() -> None:
    for area in (architecture.core(0), architecture.host(0), architecture.nodes(0)):
        boxes = list(area.values())
        for number, one in enumerate(boxes):
            for other in boxes[number + 1 :]:
                beside = one.x + one.width <= other.x or other.x + other.width <= one.x
                assert beside or one.bottom <= other.y or other.bottom <= one.y, (one.title, other.title)


def test_the_picture_is_a_whole_svg_with_text_and_nothing_from_outside() -> None:
    picture = ElementTree.parse(architecture.PICTURE).getroot()
    assert float(picture.get("width", 0)) == architecture.WIDTH
    assert {"adapters", "prompts", "attention"} <= {each.text for each in picture.iter() if each.tag.endswith("text")}
    assert not re.search(r"href|url\((?!#)|@import", architecture.PICTURE.read_text("utf-8"))


def test_a_room_that_has_no_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {name: place for name, place in architecture.PLACES.items() if name != "plots"}
    monkeypatch.setattr(architecture, "PLACES", places)
    with pytest.raises(ValueError, match=r"into PLACES and .* \['plots'\]"):
        architecture.draw()


def test_the_page_has_a_line_for_every_room() -> None:
    assert rooms() <= set(re.findall(r"^\| `([\w/]+?)/?` \|", PAGES["docs/architecture.md"], re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    named = {name.rstrip(".") for name in FILE.findall(PAGES[page])}
    assert len(named) > 10
    assert not {name for name in named if not (ROOT / name).exists()}


@pytest.mark.parametrize("page", PAGES)
def test_every_table_that_a_page_names_is_in_its_file(page: str) -> None:
    named = tables(PAGES[page])
    assert len(named) > 2
    for file, name in named:
        assert re.search(rf"^{name}\b.*=", (ROOT / file).read_text("utf-8"), re.MULTILINE), f"{name} in {file}"


def test_every_step_of_the_weight_is_in_the_file_of_its_line() -> None:
    path = PAGES["docs/architecture.md"].partition("**λ on one line")[2].partition("## ")[0]
    steps = re.findall(r"^\| `(\w+)`, (?:`([\w/.]+)`|in the same file)", path, re.MULTILINE)
    assert len(steps) == 7
    file = ""
    for name, said in steps:
        file = said or file
        assert re.search(rf"^(class |def )?{name}\b", (ROOT / file).read_text("utf-8"), re.MULTILINE), name


def test_every_test_that_the_page_names_is_in_the_file_of_its_line() -> None:
    for line in PAGES["docs/architecture.md"].splitlines():
        files = [Path(name) for name in FILE.findall(line) if "/test_" in name]
        for test in TEST.findall(line):
            assert any(f"def {test}(" in (ROOT / file).read_text("utf-8") for file in files), test
