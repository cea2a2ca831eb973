"""ComfyUI inside the test process, for tests that need its modules but no server."""

import os
import sys
from pathlib import Path


def enter(base: Path) -> None:
    """Make the ComfyUI of COMFYUI_PATH importable, on the CPU, with `base` for its models and outputs.

    Must run before anything of ComfyUI is imported: it chooses its device and folders at import.
    Raises RuntimeError when there is no ComfyUI.
    """
    tree = os.environ.get("COMFYUI_PATH")
    if not tree:
        raise RuntimeError("This test needs a ComfyUI: run `make test`, or name one in COMFYUI_PATH.")
    if tree not in sys.path:
        sys.path.insert(0, tree)
    from comfy.cli_args import args

    args.cpu = True
    args.base_directory = str(base)
    import utils.extra_config  # noqa: F401  (as main.py does, before nodes.py puts a folder with a utils.py first)
