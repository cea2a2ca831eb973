"""Tests mirror the rooms: each module has a test file of its name, or its room says where it is tested."""

import ast
import re
from pathlib import Path

import pytest

from package import ROOT

MIRRORS = {"ip_adapter_core": "tests/core", "nodes/host": "tests/host", "nodes": "tests/nodes"}  # the longest first
ROOMS = [
    file.parent.relative_to(ROOT)
    for folder in ("ip_adapter_core", "nodes")
    for file in sorted((ROOT / folder).rglob("__init__.py"))
]
TEST_FILE = re.compile(r"(?:tests/)?(?:\w+/)*test_\w+\.py")
TEST_FOLDER = re.compile(r"tests(?:/\w+)+(?!\w|/|\.py)")


def mirror(room: Path) -> Path:
    """The folder with the tests of a room."""
    product, tests = next(pair for pair in MIRRORS.items() if room.is_relative_to(pair[0]))
    return ROOT / tests / room.relative_to(product)


def said(room: Path) -> str:
    """What a room's paragraph says of its tests, or nothing."""
    paragraph = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    return paragraph.partition("Tests:")[2]


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_each_module_has_a_test_file_of_its_name_or_its_room_says_where_it_is_tested(room: Path) -> None:
    modules = {file.stem for file in (ROOT / room).glob("*.py")} - {"__init__"}
    untested = {name for name in modules if not (mirror(room) / f"test_{name}.py").exists()}
    words = set(re.findall(r"\w+", TEST_FOLDER.sub("", TEST_FILE.sub("", said(room)))))
    assert not untested - words


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_the_tests_that_a_room_names_exist(room: Path) -> None:
    for name in TEST_FILE.findall(said(room)):
        assert ((ROOT if name.startswith("tests/") else mirror(room)) / name).is_file(), name
    for name in TEST_FOLDER.findall(TEST_FILE.sub("", said(room))):
        assert (ROOT / name).is_dir(), name
