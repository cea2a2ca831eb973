"""Run a step of the small world's recipe, or its evaluation: `python models/small_world/run.py STEP [NUMBER…]`.

Needs a ComfyUI: COMFYUI_PATH names its folder (`make small-world` and `make evaluate` bring one).
"""

import logging
import os
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "comfyui_ip_adapter"


def enter_host() -> None:
    """Make ComfyUI importable, on the GPU where there is one."""
    sys.path[:] = [os.environ["COMFYUI_PATH"], *(entry for entry in sys.path if Path(entry).resolve() != ROOT)]
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True


def load_package() -> None:
    """Import the root under a fixed name, since the name of its folder is the user's choice."""
    spec = spec_from_file_location(PACKAGE, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    if spec is None or spec.loader is None:
        raise SystemExit(f"{ROOT} holds no package.")
    sys.modules[PACKAGE] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACKAGE])


def step(name: str) -> Any:
    """The module of a step of the recipe."""
    return import_module(f"{PACKAGE}.models.small_world.recipe.{name}")


def main(name: str, *given: str) -> None:
    """Run a step with its arguments, numbers as numbers."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    enter_host()
    load_package()
    step(name).main(*(int(value) if value.isdigit() else value for value in given))


if __name__ == "__main__":
    main(*sys.argv[1:])
