"""Python environments: our own pinned one, or a thin layer over the environment of a user's ComfyUI."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from steps import ROOT, STORE, WINDOWS, pip, step
from trees import NEWEST, RELEASES, bring_tree

TORCH = ["torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0"]
TOOLS = ROOT / "tests" / "requirements.txt"
REQUIREMENTS = [ROOT / "requirements.txt", TOOLS]
HAS_TORCH = "import sys; from importlib.util import find_spec; sys.exit(find_spec('torch') is None)"
DESCRIBE = """
import json, sys
from importlib.metadata import version
names = ("torch", "torchvision", "torchaudio")
print(json.dumps({"path": [p for p in sys.path if p], "pins": [f"{n}=={version(n)}" for n in names]}))
"""


def own_environment() -> Path:
    """The Python of our pinned environment, which runs every pinned ComfyUI; built when it is missing or unfinished."""
    home = STORE / f"python-{fingerprint(*TORCH, RELEASES[NEWEST].sha256, sys.version)}"
    if not (home / "complete").exists():
        python = new_environment(home, Path(sys.executable))
        tree = bring_tree(NEWEST, python)
        with step("Python environment (torch, ComfyUI's requirements, test tools; a few minutes)"):
            install(python, *TORCH, "-r", str(tree / "requirements.txt"))
        (home / "complete").touch()
    return python_in(home)


def environment_over(interpreter: Path) -> Path:
    """The Python of a layer that sees everything `interpreter` has, adds the test tools and changes nothing in it."""
    described = describe(interpreter)
    home = STORE / f"python-over-{fingerprint(str(interpreter), *described['path'], *described['pins'])}"
    if not (home / "complete").exists():
        with step(f"Test tools over {interpreter}"):
            python = new_environment(home, interpreter)
            (packages_in(home) / "underneath.pth").write_text("\n".join(described["path"]) + "\n")
            (home / "pins.txt").write_text("\n".join(described["pins"]) + "\n")
            pip(python, "install", "--no-compile", "--ignore-installed", "--no-deps", "-r", str(TOOLS))  # with programs
            install(python, "-c", str(home / "pins.txt"))
        (home / "complete").touch()
    return python_in(home)


def user_python(tree: Path) -> Path:
    """The interpreter that belongs to a user's ComfyUI folder. Raises SystemExit when none can be found."""
    scripts = "Scripts/python.exe" if WINDOWS else "bin/python"
    asked = os.environ.get("COMFYUI_PYTHON")
    candidates = [tree / ".venv" / scripts, tree / "venv" / scripts, tree.parent / "python_embeded" / "python.exe"]
    found = [Path(asked)] if asked else [place for place in candidates if place.exists()]
    python = (found or [Path(sys.executable)])[0]
    if subprocess.run([python, "-c", HAS_TORCH]).returncode:
        raise SystemExit(f"{python} has no torch. Set COMFYUI_PYTHON to the Python that runs {tree}.")
    return python.absolute()


def describe(interpreter: Path) -> dict[str, list[str]]:
    """Where `interpreter` looks for packages (`path`) and its torch versions, to be left alone (`pins`)."""
    answer = subprocess.run([interpreter, "-c", DESCRIBE], capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"{interpreter} is not a ComfyUI environment: {answer.stderr.strip().splitlines()[-1]}")
    described: dict[str, list[str]] = json.loads(answer.stdout)
    return described


def new_environment(home: Path, interpreter: Path) -> Path:
    """Make an empty virtual environment in `home`, in place of whatever was left there."""
    shutil.rmtree(home, ignore_errors=True)
    if subprocess.run([interpreter, "-m", "venv", home]).returncode:
        raise SystemExit(f"{interpreter} cannot make a virtual environment (it needs the modules venv and ensurepip).")
    return python_in(home)


def install(python: Path, *more: str) -> None:
    """Install our requirements and `more` in one go; modules are compiled when first imported, which is faster."""
    pip(python, "install", "--no-compile", *more, *(part for path in REQUIREMENTS for part in ("-r", str(path))))


def fingerprint(*pins: str) -> str:
    """A short name for a set of pins and the requirement files, so that a changed pin makes a new environment."""
    texts = [*pins, *(path.read_text() for path in REQUIREMENTS)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:10]


def python_in(home: Path) -> Path:
    """The interpreter of a virtual environment."""
    return home / ("Scripts/python.exe" if WINDOWS else "bin/python")


def packages_in(home: Path) -> Path:
    """The site-packages folder of a virtual environment."""
    return next(home.rglob("site-packages"))
