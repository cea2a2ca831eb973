"""A training run on the toy base in every process of a launch: `training_process.py FOLDER STEPS`."""

import sys
from dataclasses import replace
from pathlib import Path


def main(folder: Path, steps: int) -> None:
    """Train, or go on with what the folder holds; say in a file per process which share it had."""
    import conftest  # noqa: F401  (loads the package)
    from comfyui_ip_adapter.ip_adapter_core.training.engines import Accelerated
    from comfyui_ip_adapter.ip_adapter_core.training.loop import train
    from training_parts import SHARED, ToyBase, examples, network

    base, engine = ToyBase(), Accelerated()
    train(network(), base, examples(), replace(SHARED, steps=steps), engine=engine, folder=folder)
    rows = {len(call["noisy"]) for call in base.seen}
    (folder / f"{engine.rank}-of-{engine.processes}.txt").write_text(f"{rows}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
