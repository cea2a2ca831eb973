"""Loads the repository root as the package `comfyui_ip_adapter`, as ComfyUI does, and keeps it off sys.path.

Importing this module is enough, in a test as in a script of its own; it has one thread per process from then on.
"""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "tests" / "support"
PACKAGE = "comfyui_ip_adapter"
THREADS = "OMP_NUM_THREADS"
CHOSEN = os.environ.get(THREADS)
"""How many threads whoever started this process wants; None where it does not say."""


def hide_root() -> None:
    """Take the root from sys.path, where `python -m pytest` puts it: its `nodes/` would shadow ComfyUI's `nodes.py`."""
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]


def load_package() -> None:
    """Import the root under a fixed name, since the name of its folder is the user's choice."""
    folders = [str(ROOT), str(ROOT / "nodes" / "python" / PACKAGE)]  # as the name for scripts has them
    spec = spec_from_file_location(PACKAGE, ROOT / "__init__.py", submodule_search_locations=folders)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


def use_one_thread() -> None:
    """One thread per process, for tiny tensors: with more, any other busy process makes each small step wait for it."""
    os.environ.setdefault(THREADS, "1")


use_one_thread()
hide_root()
if PACKAGE not in sys.modules:  # a second copy would have classes of its own
    load_package()
