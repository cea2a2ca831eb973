"""A training run on the toy base in every process of a launch: `process.py FOLDER STEPS`.

Each process says in a file that it has begun, and in another which share it had and how many steps it made, however it
ended.
"""

import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path


def main(folder: Path, steps: int) -> None:
    """Train, or go on with what the folder holds, until a signal asks to stop."""
    import package  # noqa: F401  (loads the package)
    from comfyui_ip_adapter.ip_adapter_core.training.engines import Accelerated
    from comfyui_ip_adapter.ip_adapter_core.training.interface import Step
    from comfyui_ip_adapter.ip_adapter_core.training.loop import train
    from comfyui_ip_adapter.ip_adapter_core.training.stopping import StopRequest
    from training.parts import SHARED, ToyBase, examples, network

    base, made = ToyBase(), [0]

    def report(step: Step) -> None:
        if made == [0]:
            (folder / f"{engine.rank}.pid").write_text(str(os.getpid()))
        made[0] = step.number
        stop.check()

    settings = replace(SHARED, steps=steps, decay=steps == SHARED.steps)  # a rate that falls depends on the steps
    with Accelerated() as engine, suppress(KeyboardInterrupt), StopRequest() as stop:
        train(network(), base, examples(), settings, engine=engine, folder=folder, on_step=report)
    rows = {len(call["noisy"]) for call in base.seen}
    (folder / f"{engine.rank}-of-{engine.processes}.txt").write_text(f"{rows} {made[0]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
