"""What has to be filled in before this package can be published: it is refused then, and only then."""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # the linters bring it

ROOT = Path(__file__).resolve().parents[2]
PLACEHOLDER = "PUBLISHER"
"""Stands in pyproject.toml for the account that publishes, and for that of its repository."""

RELEASED = ROOT / "tests" / "support" / "released"
DATED = re.compile(r"\d{4}-\d{2}-\d{2}")


def complaints(settings: Mapping[str, Any], changelog: str, released: Path = RELEASED) -> list[str]:
    """What to do before publishing, a sentence each.

    settings: pyproject.toml. changelog: CHANGELOG.md. released: the folder with the names of each version.
    """
    version = settings["project"]["version"]
    found = [f"Replace {PLACEHOLDER} in pyproject.toml by your account: found {key}." for key in placeholders(settings)]
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        found.append(f"Write the version as three numbers such as 1.2.3: found {version}.")
    if not DATED.fullmatch(section := date_of(changelog, version)):
        found.append(
            f"Begin the section of this version in CHANGELOG.md with ## {version} (its date): found {section}."
        )
    if not (released / f"{version}.json").exists():
        found.append("Record what users save of this version: make release-names.")
    return found


def placeholders(settings: Mapping[str, Any]) -> Iterator[str]:
    """The keys of pyproject.toml that hold the placeholder."""
    for table in (settings["project"]["urls"], settings["tool"]["comfy"]):
        yield from (key for key, value in table.items() if PLACEHOLDER in value)


def date_of(changelog: str, version: str) -> str:
    """What the heading of a version says in brackets, or that there is none."""
    heading = re.search(rf"^## {re.escape(version)} \((.*)\)$", changelog, re.MULTILINE)
    return heading[1] if heading else "no such heading"


def settings() -> dict[str, Any]:
    """pyproject.toml."""
    read: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return read


def check() -> list[str]:
    """The complaints about this checkout."""
    return complaints(settings(), (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
