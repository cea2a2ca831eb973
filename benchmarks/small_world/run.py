"""Run a step of the small world's recipe, or its evaluation: `python benchmarks/small_world/run.py STEP [NUMBER…]`.

Needs a ComfyUI: COMFYUI_PATH names its folder (`make evaluate`, `make small-world` and `make train-tiny` bring one).
"""

import argparse
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "nodes"))
launcher = import_module("train_command")  # it knows how to find ComfyUI and this package


def arguments() -> argparse.Namespace:
    """What to run, and where it puts what it makes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", help="a file of this folder, such as everything, base, adapters or evaluate")
    parser.add_argument("given", nargs="*", help="its arguments: most take the number of training steps")
    parser.add_argument("--into", type=Path, help="put weights here instead of beside this file")
    parser.add_argument("--pictures", type=int, help="how many pictures to train on")
    return parser.parse_args()


def redirect(into: Path | None, pictures: int | None) -> None:
    """Tell the recipe, which reads it when it is imported."""
    if into:
        os.environ.update(SMALL_WORLD_MODELS=str(into.resolve()), SMALL_WORLD_SHELF=str(into.resolve() / "shelf"))
    if pictures:
        os.environ["SMALL_WORLD_PICTURES"] = str(pictures)


def step(name: str) -> Any:
    """The module of a step of the recipe."""
    return import_module(f"{launcher.PACKAGE}.benchmarks.small_world.{name}")


def main() -> None:
    """Run a step with its arguments, numbers as numbers."""
    wish = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    redirect(wish.into, wish.pictures)
    launcher.leave_folder()
    launcher.load_package()
    launcher.enter(launcher.find_comfyui(os.environ.get("COMFYUI_PATH")))
    step(wish.step).main(*(int(value) if value.isdigit() else value for value in wish.given))


if __name__ == "__main__":
    main()
