"""The first words of every message say what to do; what was found, and where was looked, comes behind them."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from package import ROOT

ACTIONS = {
    *("Change", "Check", "Choose", "Combine", "Connect", "Correct", "Count", "Crop", "Cut", "Delete", "Disconnect"),
    *("Download", "Encode", "Fit", "Give", "Go", "Install", "Load", "Look", "Lower", "Make", "Move", "Name", "Open"),
    *("Put", "Remove", "Run", "Save", "Send", "Set", "Show", "Start", "Train", "Unpack", "Update", "Use", "Write"),
}
"""Words that a message may begin with. One that begins with a small letter goes behind another message."""

HANDED_ON = {
    ("nodes/node.py", "message"): "a message that is shown shorter",
    ("nodes/host/moodboard.py", "error"): "a message about a picture, with the picture's number behind it",
    ("nodes/host/files.py", "_with_name(name, error)"): "a message with the name of the file behind it",
    ("nodes/host/faces.py", "reason"): "a complaint, of which the returns are asked below",
    ("nodes/train_command.py", "error"): "a message of the package, for the terminal",
    ("ip_adapter_core/files/pickles.py", "instead"): "what the caller advises; its default is asked below",
    ("ip_adapter_core/training/pictures.py", "shown(pair.name)"): "a line of a list, never a message by itself",
}
"""(file, expression) -> why a message that begins with this expression is none of its own."""

SAID_ELSEWHERE = {"Stays", "KeyError"}
"""Errors that are no messages: the reason why a node of a graph is left, and a name that a mapping lacks."""

COMPLAIN = (
    "complaint",
    "_no_adapter",
    "_no_encoder",
    "_get",
    "download",
    "_no_faces",
    "_missing",
    "_mismatch",
    "_unknown",
)


class Begins(NamedTuple):
    """How a message of a file begins.

    text: the letters before its first value; None where it begins with a value.
    source: the expression it begins with.
    """

    file: str
    line: int
    text: str | None
    source: str


@cache
def trees() -> dict[str, ast.Module]:
    files = sorted(file for room in ("nodes", "ip_adapter_core") for file in (ROOT / room).rglob("*.py"))
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text(encoding="utf-8")) for file in files}


@cache
def functions() -> dict[str, list[tuple[str, ast.FunctionDef]]]:
    found: dict[str, list[tuple[str, ast.FunctionDef]]] = {}
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, []).append((file, node))
    return found


@cache
def constants(file: str) -> dict[str, ast.expr]:
    pairs = [(node.targets, node.value) for node in trees()[file].body if isinstance(node, ast.Assign)]
    return {target.id: value for targets, value in pairs for target in targets if isinstance(target, ast.Name)}


def begins(file: str, node: ast.expr) -> Iterator[Begins]:
    """How the message that an expression gives begins; several where it depends."""
    if isinstance(node, ast.IfExp):
        yield from (*begins(file, node.body), *begins(file, node.orelse))
    elif isinstance(node, ast.BinOp):
        yield from begins(file, node.left)
    elif isinstance(node, ast.JoinedStr):
        yield from begins(file, node.values[0])
    elif isinstance(node, ast.FormattedValue):
        yield from begins(file, node.value)
    elif isinstance(node, ast.Name) and node.id in constants(file):
        yield from begins(file, constants(file)[node.id])
    elif isinstance(node, ast.Call) and called(node) in COMPLAIN:
        return  # their returns are asked by themselves
    else:
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
        yield Begins(file, node.lineno, text, ast.unparse(node).split(".removesuffix")[0])


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def made_errors() -> Iterator[tuple[str, ast.Call]]:
    """Every error that is raised, and every one that a function makes for others to raise."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            value = node.exc if isinstance(node, ast.Raise) else node.value if isinstance(node, ast.Return) else None
            if isinstance(value, ast.Call) and called(value) not in SAID_ELSEWHERE and is_error(node, value):
                yield file, value


def is_error(node: ast.AST, call: ast.Call) -> bool:
    """Whether an error is made here: raised by its class or a name for it, or returned by a class of errors."""
    name = called(call)
    if name in functions():  # it makes the error; its own return is asked
        return False
    return isinstance(node, ast.Raise) or name.endswith("Error") or name == "UnsupportedCheckpoint"


def messages() -> list[Begins]:
    raised = [one for file, call in made_errors() for part in call.args[:1] for one in begins(file, part)]
    complained = [one for name in COMPLAIN for file, node in functions()[name] for one in of_returns(file, node)]
    return [*raised, *complained]


def of_returns(file: str, function: ast.FunctionDef) -> Iterator[Begins]:
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    for value in returned:
        if isinstance(value, ast.JoinedStr | ast.IfExp) or (isinstance(value, ast.Constant) and value.value):
            yield from begins(file, value)


def test_the_first_words_of_every_message_say_what_to_do() -> None:
    found = messages()
    assert len(found) > 250, "Mend this test: it does not find the messages any more."
    wrong = [
        f"Begin the message in {one.file}:{one.line} with what to do: {one.text or one.source!r}"
        for one in found
        if (one.file, one.source) not in HANDED_ON and not says_what_to_do(one.text)
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def says_what_to_do(text: str | None) -> bool:
    return bool(text) and (text[0].islower() or text.split()[0].rstrip(",;") in ACTIONS)


def test_what_a_caller_advises_in_place_of_a_pickle_says_what_to_do() -> None:
    ((_, unpickle),) = functions()["unpickle"]
    defaults = [node for node in unpickle.args.defaults if isinstance(node, ast.Constant) and node.value]
    assert [str(node.value).split()[0] for node in defaults] == ["Use"]


@pytest.mark.parametrize(("file", "source"), HANDED_ON)
def test_what_is_handed_on_is_still_there(file: str, source: str) -> None:
    assert source in (one.source for one in messages() if one.file == file), "Take it out of HANDED_ON of this test."


FOLDERS = ("models/ipadapter", "models/clip_vision", "models/insightface", "models/face_embeds", "models/image_prompts")


def test_a_folder_has_one_name_in_messages_the_readme_and_templates() -> None:
    """They name `models/<folder>`: whole paths, which differ from computer to computer, only say where was looked."""
    names = {folder.partition("/")[2] for folder in FOLDERS}
    pages = [*ROOT.glob("*.md"), *(ROOT / "web" / "docs").glob("*.md"), *(ROOT / "workflows").glob("*.json")]
    for page in pages:
        for name in names:
            assert f"ComfyUI/models/{name}" not in page.read_text(encoding="utf-8"), (
                f"Write models/{name} in {page.name}."
            )


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_messages_about_missing_files_name_the_folder_as_the_readme_does() -> None:
    readme, wanted = read(ROOT / "README.md"), ("models/{category}", "models/{CATEGORY}")
    for file in ("nodes/host/auto.py", "nodes/host/files.py", "nodes/host/faces.py"):
        assert any(name in read(ROOT / file) for name in wanted), f"Name the folder in the messages of {file}."
    assert all(folder in readme for folder in FOLDERS[:3]), "Name the folders in README.md as messages do."


def test_messages_in_the_readme_are_messages_of_the_code() -> None:
    section = read(ROOT / "README.md").split("## When something goes wrong", 1)[1].split("\n## ", 1)[0]
    said = re.findall(r"^\| \*([^*]+)\* \|", section, re.MULTILINE)
    assert len(said) >= 5
    literals = "\n".join(_literals())
    for part in (part.strip() for message in said for part in message.split("…")):
        assert part in literals, f"No message of the code says “{part}”: say in README.md what it says now."


def _literals() -> Iterator[str]:
    """The letters of every text in the code."""
    for tree in trees().values():
        yield from (
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
