"""Tests mirror the rooms: each module has a test file of its name, or its room says where it is tested.

What a room says is held to. A file that is named imports the module, or the paragraph says through which other module
the file comes to it; on a server, where a test imports no node, the file names the node's id instead.
"""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from package import PACKAGE, ROOT

MIRRORS = {"ip_adapter_core": "tests/core", "nodes/host": "tests/host", "nodes": "tests/nodes"}  # the longest first
ROOMS = [
    file.parent.relative_to(ROOT)
    for folder in ("ip_adapter_core", "nodes")
    for file in sorted((ROOT / folder).rglob("__init__.py"))
]
TEST_FILE = re.compile(r"(?:tests/)?(?:\w+/)*test_\w+\.py")
TEST_FOLDER = re.compile(r"tests(?:/\w+)+(?!\w|/|\.py)")
SAID = re.compile(rf"(?P<file>{TEST_FILE.pattern})|{TEST_FOLDER.pattern}|through (?P<through>\w+)|(?P<word>\w+)")
NODE_ID = re.compile(r"\"(IPA_\w+)\"")


class Claim(NamedTuple):
    """These modules are tested in these files; each file imports a module itself, or one through which it comes to it.

    modules: of the room, by name.
    through: names of modules of the package or of tests/support.
    """

    modules: set[str]
    files: list[Path]
    through: set[str]


def mirror(room: Path) -> Path:
    """The folder with the tests of a room."""
    product, tests = next(pair for pair in MIRRORS.items() if room.is_relative_to(pair[0]))
    return ROOT / tests / room.relative_to(product)


def said(room: Path) -> str:
    """What a room's paragraph says of its tests, or nothing."""
    paragraph = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(paragraph.partition("Tests:")[2].split())


def modules(room: Path) -> set[str]:
    """The modules of a room."""
    return {file.stem for file in (ROOT / room).glob("*.py")} - {"__init__"}


def claims(room: Path) -> list[Claim]:
    """What a room's paragraph says, module for module: `a and b in test_c.py through d, e in tests/host/test_f.py`."""
    found = [Claim(set(), [], set())]
    for part in SAID.finditer(said(room)):
        if part["file"]:
            found[-1].files.append((ROOT if part["file"].startswith("tests/") else mirror(room)) / part["file"])
        elif part["through"]:
            found[-1].through.add(part["through"])
        elif part["word"] in modules(room):
            if found[-1].files:
                found.append(Claim(set(), [], set()))
            found[-1].modules.add(part["word"])
    return [claim for claim in found if claim.modules]


@cache
def imported(file: Path) -> frozenset[str]:
    """The full names of what a test imports anywhere in it, and of the scripts whose file names it writes."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update({str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)})
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".py"):
            names.add(Path(node.value).name)
    return frozenset(names)


@cache
def modules_of(file: Path) -> frozenset[str]:
    """The names of modules of the package and of tests/support that a test imports, and of scripts that it runs."""
    places = [ROOT / "tests" / "support", *(ROOT / product for product in MIRRORS)]
    known = {module.stem for place in places for module in place.rglob("*.py")}
    return frozenset({name.removesuffix(".py").rpartition(".")[2] for name in imported(file)} & known)


def comes_to(file: Path, room: Path, module: str) -> bool:
    """Whether a test file imports a module, runs it as a script, or makes graphs of its nodes."""
    ids = NODE_ID.findall((ROOT / room / f"{module}.py").read_text(encoding="utf-8"))
    in_graphs = bool(set(ids) & set(NODE_ID.findall(file.read_text(encoding="utf-8"))))
    return in_graphs or bool({".".join((PACKAGE, *room.parts, module)), f"{module}.py"} & imported(file))


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_each_module_has_a_test_file_of_its_name_or_its_room_says_where_it_is_tested(room: Path) -> None:
    own = {name: mirror(room) / f"test_{name}.py" for name in modules(room)}
    untested = {name for name, file in own.items() if not (file.exists() and comes_to(file, room, name))}
    assert not untested - {name for claim in claims(room) if claim.files for name in claim.modules}


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_the_files_that_a_room_names_come_to_the_modules_that_they_test(room: Path) -> None:
    for claim in claims(room):
        for file in claim.files:
            assert claim.through <= modules_of(file), f"{file.name} imports no {claim.through - modules_of(file)}"
            not_reached = {name for name in claim.modules if not claim.through and not comes_to(file, room, name)}
            assert not not_reached, f"{file.name} imports no {not_reached}"


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_the_tests_that_a_room_names_exist(room: Path) -> None:
    for name in TEST_FILE.findall(said(room)):
        assert ((ROOT if name.startswith("tests/") else mirror(room)) / name).is_file(), name
    for name in TEST_FOLDER.findall(TEST_FILE.sub("", said(room))):
        assert (ROOT / name).is_dir(), name
