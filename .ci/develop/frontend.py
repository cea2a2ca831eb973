"""The editor's package, which ComfyUI pins, in another version: the newest that pip offers, or one that is named."""

import json
import shutil
import subprocess
from pathlib import Path

from steps import STORE, pip, step

PACKAGE = "comfyui-frontend-package"
NEWEST = "latest"


def bring_frontend(wanted: str, python: Path) -> Path:
    """The folder that a server is told to serve the editor from, brought when it is not there."""
    version = newest(python) if wanted == NEWEST else wanted
    home = STORE / f"frontend-{version}"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        with step(f"ComfyUI's frontend {version}"):
            pip(python, "install", "--no-compile", "--no-deps", "--target", str(home), f"{PACKAGE}=={version}")
        (home / "complete").touch()
    return home / PACKAGE.replace("-", "_") / "static"


def newest(python: Path) -> str:
    """The newest version that pip offers. Raises SystemExit when it offers none."""
    asked = ["install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--report", "-", PACKAGE]
    answer = subprocess.run([python, "-m", "pip", *asked], capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(
            f"Name a version in FRONTEND, such as 1.47.12: pip offers none. {answer.stderr.strip()[-300:]}"
        )
    version: str = json.loads(answer.stdout)["install"][0]["metadata"]["version"]
    return version
