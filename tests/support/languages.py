"""What the package says in other languages: locales/ and web/docs/NODE/LANGUAGE.md, against its English.

The English of the nodes is in their definitions; locales/en is written from these. Each language keeps, for every text,
the digest of the English that it was translated from, so that a text whose English has changed is found.

`make languages` writes locales/en and says what each language lacks; with ACCEPT="de fr" it records that these say what
the English says now.
"""

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

sys.path.append(str(Path(__file__).resolve().parents[2] / ".ci"))

from develop.inprocess import enter
from package import ROOT
from schemas import FILE_LISTS, HOST_LISTS, options, schemas

LOCALES, HELP = ROOT / "locales", ROOT / "web" / "docs"
LANGUAGES = ("zh", "zh-TW", "ja", "ko", "de", "fr", "es", "ru")
"""As ComfyUI's setting Comfy.Locale names them; its frontends of today offer no German."""
NODES, REST = "nodeDefs.json", ("main.json", "commands.json")
ORIGIN = "made_from.json"
"""Beside a language's texts: the digest of each one's English. ComfyUI does not read it."""

SYNTAX = re.compile(r"[{}@|$]")

Texts = dict[tuple[str, ...], str]  # (file, key, key, …) -> text


class State(NamedTuple):
    """Where a language stands: texts that it lacks, that have another English now, and that nothing has any more."""

    missing: list[str]
    stale: list[str]
    superfluous: list[str]


def definitions() -> dict[str, Any]:
    """The nodes' English, as ComfyUI's nodeDefs.json has it: names, tooltips, and what the menus offer."""
    return {node: _node(node, schema) for node, schema in schemas().items()}


def _node(node: str, schema: Any) -> dict[str, Any]:
    said = {"display_name": schema.display_name, "description": schema.description}
    inputs = {given.id: _input(node, given) for given in schema.inputs}
    outputs = {
        str(n): _filled(name=output.display_name or output.id, tooltip=output.tooltip)
        for n, output in enumerate(schema.outputs)
    }
    return said | {"inputs": inputs, "outputs": outputs}


def _input(node: str, given: Any) -> dict[str, Any]:
    """An input's texts; the tooltip of a menu of files lists those on the disk, and stays as it is."""
    name = given.display_name or given.id
    if (node, given.id) in FILE_LISTS:
        return {"name": name}
    if (node, given.id) in HOST_LISTS:
        return _filled(name=name, tooltip=given.tooltip)
    return _filled(name=name, tooltip=given.tooltip, options={word: word for word in options(given)})


def _filled(**texts: Any) -> dict[str, Any]:
    return {key: escaped(text) if isinstance(text, str) else text for key, text in texts.items() if text}


def escaped(text: str) -> str:
    """A text as the editor's translator (vue-i18n) wants it, to which some letters are syntax."""
    return SYNTAX.sub(lambda letter: f"{{'{letter[0]}'}}", text)


def english() -> Texts:
    """Every English text."""
    rest = {file: read(LOCALES / "en" / file) for file in REST}
    return flat({NODES: definitions(), **rest}) | {(page.name,): page.read_text("utf-8") for page in HELP.glob("*.md")}


def translated(language: str) -> Texts:
    """Every text of a language."""
    files = {file: read(LOCALES / language / file) for file in (NODES, *REST)}
    pages = HELP.glob(f"*/{language}.md")
    return flat(files) | {(f"{page.parent.name}.md",): page.read_text("utf-8") for page in pages}


def state(language: str, today: Texts) -> State:
    """What a language lacks of today's English."""
    theirs, origin = translated(language), read(LOCALES / language / ORIGIN)
    missing = [name(key) for key in today if not theirs.get(key, "").strip()]
    stale = [name(key) for key in today if key in theirs and origin.get(name(key)) != digest(today[key])]
    return State(missing, stale, [name(key) for key in theirs if key not in today])


def accept(language: str, today: Texts) -> None:
    """Record that a language says what the English says now."""
    theirs = translated(language)
    origin = {name(key): digest(text) for key, text in today.items() if key in theirs}
    write(LOCALES / language / ORIGIN, origin)


def flat(nested: Mapping[str, Any], above: tuple[str, ...] = ()) -> Texts:
    """The texts of nested dictionaries by the keys that lead to them."""
    return dict(_leaves(nested, above))


def _leaves(nested: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def name(key: tuple[str, ...]) -> str:
    """A text's place in one line."""
    return " > ".join(key)


def digest(text: str) -> str:
    """Eight digits that change with the text."""
    return f"{crc32(text.encode()):08x}"


def read(path: Path) -> dict[str, Any]:
    """A file of texts; nothing where there is none."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def write(path: Path, texts: Mapping[str, Any]) -> None:
    """A file of texts as it is committed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts, ensure_ascii=False, indent=2) + "\n", "utf-8")


def main(accepted: list[str]) -> None:
    """Write the English, take over what is accepted, and say what is left; the exit status is 1 if anything is."""
    with tempfile.TemporaryDirectory() as folder:
        enter(Path(folder))
        write(LOCALES / "en" / NODES, definitions())
        today = english()
    for language in accepted:
        accept(language, today)
    states = {language: state(language, today) for language in LANGUAGES}
    for language, one in states.items():
        print(language, *(f"{len(names)} {what}" for what, names in one._asdict().items()))
        print("".join(f"  {what}: {entry}\n" for what, names in one._asdict().items() for entry in names), end="")
    sys.exit(any(map(any, states.values())))


if __name__ == "__main__":
    main(sys.argv[1:])
