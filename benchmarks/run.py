"""Measure what an image prompt costs: `make bench`, `make bench QUICK=1`, `make bench PEER=folder`.

THREADS is how many the processor computes with; on a machine that others use too, 1 gives steadier figures. Each
measurement runs in a process of its own, so that none finds another's memory or caches; reports go to .host/bench/.
`run.py NAME…` runs these measurements alone. Needs a ComfyUI: COMFYUI_PATH names its folder.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
PLACE = ROOT / ".host" / "bench"
sys.path[:0] = [str(ROOT / "nodes"), str(ROOT / "tests" / "support"), str(ROOT / ".ci")]
launcher: Any = import_module("train_command")  # it knows how to find ComfyUI and this package


class Measurement(NamedTuple):
    """A file of measurements/: whether it wants a CUDA device, enters ComfyUI in its own process, and is too long for a
    quick run."""

    cuda: bool = False
    inside: bool = True
    long: bool = False


MEASUREMENTS = {
    "added": Measurement(),
    "sdxl": Measurement(long=True),
    "kernels": Measurement(),
    "held": Measurement(),
    "loading": Measurement(),
    "encoding": Measurement(),
    "starting": Measurement(inside=False),
    "again": Measurement(),
    "diffusers_own": Measurement(),
    "cuda": Measurement(cuda=True),
    "growth": Measurement(),
}


def main() -> None:
    """Measure, print the tables, and keep them."""
    arguments = read_arguments()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != FOLDER]  # its names are not for everybody
    launcher.leave_folder()
    launcher.load_package()
    os.environ["COMFYUI_PATH"] = str(launcher.find_comfyui(os.environ.get("COMFYUI_PATH")))
    if "THREADS" in os.environ:
        os.environ["OMP_NUM_THREADS"] = os.environ["THREADS"]
    if arguments.into:
        measure(arguments.names[0], arguments.into)
    else:
        report(arguments.names or list(MEASUREMENTS))


def read_arguments() -> argparse.Namespace:
    """What to measure; --into is for the processes that this one starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"there is no measurement {unknown[0]}; there are {', '.join(MEASUREMENTS)}")
    return arguments


def bench(name: str) -> Any:
    """A module of this folder."""
    return import_module(f"{launcher.PACKAGE}.benchmarks.{name}")


def measure(name: str, into: Path) -> None:
    """Run one measurement in this process and write what it found."""
    with tempfile.TemporaryDirectory() as base:
        if MEASUREMENTS[name].inside:
            enter(Path(base), MEASUREMENTS[name].cuda)
        found = bench(f"measurements.{name}").measure(bench("settings").chosen())
        bench("figures").write(found, into)


def enter(base: Path, cuda: bool) -> None:
    """ComfyUI in this process, on the device that is wanted; its attention is the one it uses on NVIDIA devices."""
    from develop.inprocess import enter as enter_on_cpu

    enter_on_cpu(base)
    from comfy.cli_args import args

    args.use_pytorch_cross_attention = True
    if cuda:
        import torch

        args.cpu = not torch.cuda.is_available()


def report(names: list[str]) -> None:
    """Run the measurements one after another, and put their findings together."""
    PLACE.mkdir(parents=True, exist_ok=True)
    busy = load()
    findings, begun = bench("figures").Findings(), time.monotonic()
    for name in names:
        if MEASUREMENTS[name].long and bench("settings").is_quick():
            findings.lack([name], "in a thorough run only")
            continue
        findings.extend(apart(name))
        print(f"{name}: done after {time.monotonic() - begun:.0f} s", flush=True)
    known = {**machine(), "busy with other things before": busy, "measured in": f"{time.monotonic() - begun:.0f} s"}
    text = bench("report").markdown(findings, known)
    (PLACE / "report.md").write_text(text)
    (PLACE / "report.json").write_text(json.dumps({"machine": known, **asdict(findings)}, indent=1))
    if findings.growth:
        bench("curves").draw(findings.growth, PLACE / "growth.png")
    print(f"\n{text}\n{PLACE.relative_to(ROOT)}/ has {', '.join(sorted(path.name for path in PLACE.iterdir()))}")


def apart(name: str) -> Any:
    """What a measurement finds in a process of its own. Raises SystemExit when it fails; its error is shown above."""
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "found.json"
        command = [sys.executable, __file__, name, "--into", str(into)]
        if subprocess.run(command).returncode:
            raise SystemExit(f"The measurement {name} failed, see above.")
        return bench("figures").read(into)


def machine() -> dict[str, str]:
    """Where this was measured."""
    import torch

    return {
        "run": "quick (smaller pictures, fewer repeats)" if bench("settings").is_quick() else "thorough",
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "ComfyUI": host_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "none but the processor",
    }


def processor() -> str:
    """Name of the processor, as far as the system tells it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def load() -> str:
    """How many cores were busy in the last minute, as far as the system tells it."""
    return f"{os.getloadavg()[0]:.1f} cores" if hasattr(os, "getloadavg") else "unknown"


def host_version() -> str:
    """The version of ComfyUI, from its own file."""
    text = (Path(os.environ["COMFYUI_PATH"]) / "comfyui_version.py").read_text()
    return text.split('"')[1]


if __name__ == "__main__":
    main()
