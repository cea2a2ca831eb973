"""Style, types and rooms, in one go: ruff, mypy, and import-linter, over the package under a fixed name."""

import os
import subprocess
import sys

from steps import ROOT, STORE

PACKAGE = "comfyui_ip_adapter"
PARTS = ("nodes", "ip_adapter_core", "benchmarks.small_world")
SUPPORT = ("fabricate", "live", "browser", "devices", "training", "shared_graphs")
CHECKS = (
    ("ruff", "check"),
    ("ruff", "format", "--check"),
    ("mypy", *(word for name in PARTS for word in ("-p", f"{PACKAGE}.{name}"))),
    ("mypy", *(word for name in SUPPORT for word in ("-p", name))),
    ("lint-imports",),
)


def main() -> int:
    """Run every check, so that one report shows all; the exit status is 0 when all are clean."""
    paths = os.pathsep.join([named_root(), *map(str, (ROOT / "tests" / "support", ROOT / ".ci"))])
    variables = dict(os.environ, MYPYPATH=paths, PYTHONPATH=named_root())
    status = [subprocess.run(check, cwd=ROOT, env=variables).returncode for check in CHECKS]
    return int(any(status))


def named_root() -> str:
    """A folder that holds the root as `comfyui_ip_adapter`: mypy wants a name, the root's own may be anything."""
    folder = STORE / "lint"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / PACKAGE
    if not link.is_symlink() or link.resolve() != ROOT:  # another checkout may share the store
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)
    return str(folder)


if __name__ == "__main__":
    sys.exit(main())
