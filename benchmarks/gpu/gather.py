"""Gather what a machine with a card needs for `run.sh` into .host/gpu, so that it needs no network there.

ComfyUI without its frontend, this package, and the Python packages that such a machine may lack beside torch for CUDA
and Triton, but comfy-kitchen, which is as large as all the rest and for fp8 alone. WHEELS_FOR names its Python (default
3.12). Copy the folder there and run `sh run.sh`; to gather needs a COMFYUI_PATH.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".host" / "gpu"
MOST = 60e6  # bytes of the folder
LEFT_OUT = {"tests", "tests-unit", "blueprints", "comfy_api_nodes", "custom_nodes", "web", "models", "input", "output"}
WHEELS = (
    "comfy-aimdo",
    "einops",
    "ftfy",
    "open_clip_torch",
    "safetensors",
    "spandrel",
    "torchsde",
    "trampoline",
    "wcwidth",
)
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
SCRIPT = """#!/bin/sh
# Checks the package on this machine's card: sh run.sh, about ten minutes. The report is printed and in report.md here.
set -e
here=$(cd "$(dirname "$0")" && pwd)
there=$(mktemp -d)
trap 'rm -rf "$there"' EXIT
mkdir "$there/site"
tar xzf "$here/ComfyUI.tar.gz" -C "$there"
tar xzf "$here/package.tar.gz" -C "$there"
python=${PYTHON:-python3}
for wheel in "$here"/wheels/*.whl; do
  [ -f "$wheel" ] && "$python" -m pip install -q --no-index --no-deps --target "$there/site" "$wheel"
done
PYTHONPATH="$there/site" COMFYUI_PATH="$there/ComfyUI" \\
  "$python" "$there/package/benchmarks/gpu/check.py" --report "$here/report.md" "$@"
"""


def main() -> None:
    """Gather, and say what is there. Raises SystemExit when it is larger than it may be."""
    gather(PLACE, Path(os.environ["COMFYUI_PATH"]), WHEELS)
    size = sum(path.stat().st_size for path in PLACE.rglob("*") if path.is_file())
    if size > MOST:
        raise SystemExit(f"Leave something out: {PLACE} has {size / 1e6:.0f} MB, more than {MOST / 1e6:.0f} MB.")
    print(f"{PLACE.relative_to(ROOT)}/ has {size / 1e6:.0f} MB: copy it to a machine with a card, then: sh run.sh")


def gather(place: Path, tree: Path, wheels: Iterable[str]) -> None:
    """Fill the folder anew."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "wheels").mkdir(parents=True)
    pack(place / "ComfyUI.tar.gz", tree, "ComfyUI", parts(tree))
    pack(place / "package.tar.gz", ROOT, "package", kept())
    (place / "run.sh").write_text(SCRIPT)
    if wheels:
        fetch(place / "wheels", pinned(tree, wheels))


def parts(tree: Path) -> list[Path]:
    """The files of a ComfyUI that run without a frontend."""
    inside = (path for path in tree.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [path for path in inside if path.relative_to(tree).parts[0] not in LEFT_OUT]


def kept() -> list[Path]:
    """The files of this package that are under version control or would be, but pictures and whole graphs."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [ROOT / name for name in names if not name.startswith(("docs/", "workflows/")) and (ROOT / name).is_file()]


def pack(file: Path, root: Path, name: str, files: Iterable[Path]) -> None:
    """Write these files of a folder into an archive, under a name."""
    with tarfile.open(file, "w:gz") as archive:
        for path in files:
            archive.add(path, f"{name}/{path.relative_to(root)}")


def pinned(tree: Path, wheels: Iterable[str]) -> list[str]:
    """These packages, in the versions that the ComfyUI asks for where it names one."""
    asked = [line.strip() for line in (tree / "requirements.txt").read_text().splitlines()]
    return [next((line for line in asked if line.startswith(f"{name}==")), name) for name in wheels]


def fetch(folder: Path, wheels: Iterable[str]) -> None:
    """Wheels for the other machine's Python, with pip. Raises SystemExit when one cannot be had."""
    python = os.environ.get("WHEELS_FOR", "3.12")
    platforms = [option for name in PLATFORMS for option in ("--platform", name)]
    options = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms]
    for name in wheels:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-qq",
            "--disable-pip-version-check",
            *options,
            "-d",
            folder,
        ]
        if subprocess.run([*map(str, command), name]).returncode:
            raise SystemExit(f"There is no wheel of {name} for Python {python}; WHEELS_FOR names another one.")


if __name__ == "__main__":
    main()
