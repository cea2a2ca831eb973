"""A Python that has only what a user has: ComfyUI's requirements and the package's, and no test tools.

Nothing is downloaded: it sees those of the packages of the Python that runs this which the requirements lead to.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NEVER_LINKED = {"..", "__pycache__"}  # programs lie outside of the folder of packages


def make(home: Path, lists: Iterable[Path]) -> Path:
    """The Python of a new environment in `home`, with what these files of requirements lead to."""
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    packages = next(home.rglob("site-packages"))
    for package in closure(requirement for file in lists for requirement in read(file)):
        for name in top_level(package):
            link(Path(str(package.locate_file(name))), packages / name)
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def read(file: Path) -> Iterator[Requirement]:
    """The requirements in a file."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            yield Requirement(text)


def closure(wanted: Iterable[Requirement]) -> list[Distribution]:
    """The installed packages that requirements lead to, in any number of steps; those not installed left out."""
    waiting, found = list(wanted), dict[tuple[str, frozenset[str]], Distribution]()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in found or not applies(requirement, {""}):
            continue
        try:
            found[key] = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        extras = {"", *requirement.extras}
        needed = (Requirement(text) for text in found[key].requires or ())
        waiting += [_plain(other) for other in needed if applies(other, extras)]
    return list({package.metadata["Name"]: package for package in found.values()}.values())


def applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    """Whether a requirement is one on this machine, with these extras of the package that has it."""
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)


def top_level(package: Distribution) -> set[str]:
    """The files and folders of a package directly in the folder of packages."""
    return {file.parts[0] for file in package.files or ()} - NEVER_LINKED


def link(source: Path, place: Path) -> None:
    """Make a file or folder seen in another place; where the system refuses links, copy it."""
    if place.exists() or not source.exists():
        return
    try:
        place.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:  # Windows without the right to make links
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, place)


def _plain(requirement: Requirement) -> Requirement:
    """A requirement that has been found to apply, without its condition."""
    requirement.marker = None
    return requirement
