"""Bring a real ComfyUI and a Python environment for it, then run a command in them.

    python3 .ci/develop/bring.py [--tools] run -- COMMAND ARGUMENT...

HOST picks one of the pinned ComfyUI versions; COMFYUI_PATH takes an installed one with its own Python instead
(COMFYUI_PYTHON, when that Python lies in an unusual place). FRONTEND brings another version of the editor's package,
or the `latest`. With --tools only the environment is brought.
The command finds the ComfyUI in COMFYUI_PATH, another editor in COMFYUI_FRONTEND, and the environment's programs first
on PATH.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from environment import environment_over, own_environment, user_python
from frontend import bring_frontend
from steps import STORE, WINDOWS, locked
from trees import NEWEST, bring_tree

HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
"""torch asks Linux for huge pages: on a CPU a third of the time goes into the first touch of large tensors."""


def main() -> None:
    """Do what the command line asks for."""
    arguments = read_arguments()
    with locked(STORE / "lock"):
        tree, python = bring(tools_only=arguments.tools)
        if wanted := os.environ.get("FRONTEND"):
            os.environ["COMFYUI_FRONTEND"] = str(bring_frontend(wanted, python))
    run([part for part in arguments.command if part != "--"], tree, python)


def read_arguments() -> argparse.Namespace:
    """Parse the command line; everything after `--` is the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", action="store_true", help="bring the environment only, no ComfyUI")
    parser.add_argument("run", choices=["run"])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def bring(tools_only: bool) -> tuple[Path | None, Path]:
    """The ComfyUI tree (None when only tools are wanted) and the Python to run it."""
    installed = os.environ.get("COMFYUI_PATH")
    if installed:
        tree = Path(installed).absolute()
        if not (tree / "main.py").exists():
            raise SystemExit(f"COMFYUI_PATH={installed} is not a ComfyUI folder: it has no main.py.")
        return tree, environment_over(user_python(tree))
    python = own_environment()
    return None if tools_only else bring_tree(os.environ.get("HOST") or NEWEST, python), python


def run(command: list[str], tree: Path | None, python: Path) -> None:
    """Become the command, with the environment's programs first; the exit status is the command's own."""
    variables = HUGE_PAGES | dict(os.environ, PATH=f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if tree:
        variables["COMFYUI_PATH"] = str(tree)
    program = shutil.which(command[0], path=variables["PATH"]) if command else None
    if program is None:
        raise SystemExit(f"There is no program to run: {' '.join(command) or 'nothing was named'}")
    sys.stdout.flush()
    if WINDOWS:  # execve there returns to the shell at once
        raise SystemExit(subprocess.call([program, *command[1:]], env=variables))
    os.execve(program, [program, *command[1:]], variables)


if __name__ == "__main__":
    main()
