"""Check the package on this machine's card, in about ten minutes; without one, what a processor can tell.

Each row runs in a process of its own. The report is a table, also written to --report; any row that is wrong makes the
command fail. `check.py NAME…` looks at these rows alone. Needs a ComfyUI: COMFYUI_PATH names its folder.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
REPORT = FOLDER.parents[1] / ".host" / "gpu" / "report.md"
sys.path.insert(0, str(FOLDER.parent))
run: Any = import_module("run")  # of make bench: it knows how to enter ComfyUI and this package

LONGEST = 300  # seconds of a row
NAMES = {
    "forms in fp16 and bf16": False,
    "forms in fp32": False,
    "kernels added to a call of SD1.5": False,
    "waits for the device": True,
    "loading an adapter": False,
    "loading with DynamicVRAM": True,
    "small world, from reference to picture": False,
    "SDXL at 1024 px, added to a step": True,
    "SDXL as CUDA graphs": True,
    "largest memory, SDXL at 1024 px": True,
    "fused kernel": True,
}
"""The rows, and whether they need a card."""
DYNAMIC = ("loading with DynamicVRAM",)
NO_CARD = ("not checked", "no CUDA device")


def main() -> None:
    """Look at the rows, print and keep the report. Raises SystemExit when one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(NAMES))
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; there are {'; '.join(NAMES)}")
    if arguments.into:
        one(arguments.names[0], arguments.into)
        return
    found = {name: seen(name) for name in arguments.names or NAMES}
    text = report(found)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(text)
    print(text, end="")
    wrong = [name for name, (state, _) in found.items() if state == "wrong"]
    if wrong:
        raise SystemExit(f"Wrong: {', '.join(wrong)}.")


def report(found: dict[str, tuple[str, str]]) -> str:
    """The table."""
    rows = [f"| {name} | {state} | {said.replace('|', '/')} |" for name, (state, said) in found.items()]
    return "\n".join(["| row | | what was seen |", "| --- | --- | --- |", *rows, ""])


def seen(name: str) -> tuple[str, str]:
    """What becomes of a row; said at once, as some take minutes."""
    import torch

    begun = time.monotonic()
    state, said = NO_CARD if NAMES[name] and not torch.cuda.is_available() else apart(name)
    print(f"{name}: {state} ({time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)
    return state, said


def apart(name: str) -> tuple[str, str]:
    """What a process of its own says of a row."""
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "found.json"
        command = [sys.executable, __file__, name, "--into", str(into)]
        try:
            done = subprocess.run(command, timeout=LONGEST, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return "wrong", f"not over after {LONGEST} s"
        if not into.exists():
            lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
            return "wrong", lines[-1]
        state, said = json.loads(into.read_text())
        return state, said


def one(name: str, into: Path) -> None:
    """Look at one row in this process."""
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() not in (FOLDER, FOLDER.parent)]
    run.launcher.leave_folder()
    run.launcher.load_package()
    os.environ["COMFYUI_PATH"] = str(run.launcher.find_comfyui(os.environ.get("COMFYUI_PATH")))
    with tempfile.TemporaryDirectory() as base:
        run.enter(Path(base), cuda=True)
        if name in DYNAMIC:
            enable_dynamic()
        into.write_text(json.dumps(run.bench("gpu.rows").look(name)))


def enable_dynamic() -> None:
    """DynamicVRAM as ComfyUI's main.py switches it on, where its library can take the card; 0.24.1 and later."""
    import comfy_aimdo.control

    comfy_aimdo.control.init()
    import torch

    if not torch.cuda.is_available():
        return
    import comfy.memory_management
    import comfy.model_patcher

    if comfy_aimdo.control.init_devices([torch.cuda.current_device()]):
        comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
        comfy.memory_management.aimdo_enabled = True


if __name__ == "__main__":
    main()
