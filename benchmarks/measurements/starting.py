"""Goal 9: what the package adds to the start of ComfyUI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ..figures import Findings
from ..settings import Settings

HEAVY = ("open_clip", "timm", "diffusers", "accelerate", "onnxruntime", "insightface", "cv2", "sklearn", "matplotlib")
_ROOT = Path(__file__).resolve().parents[2]

# ComfyUI's own nodes are imported first, as when it starts; then the package is loaded as it does that.
_START = """
import asyncio, json, sys, tempfile, time
sys.path[:0] = [{tree!r}, {support!r}]
from comfy.cli_args import args
args.cpu, args.base_directory = True, tempfile.mkdtemp()
import comfy_api.latest
import nodes
known = set(sys.modules)
begun = time.perf_counter()
import package
async def load():
    extension = await sys.modules[package.PACKAGE].comfy_entrypoint()
    await extension.on_load()
    return await extension.get_node_list()
found = asyncio.run(load())
taken = time.perf_counter() - begun
print(json.dumps([taken, sorted({{name.split(".")[0] for name in set(sys.modules) - known}}), len(found)]))
"""


def measure(settings: Settings) -> Findings:
    """Seconds of importing and registering all nodes, each time in a new process; what was imported beside."""
    found = Findings()
    started = [start() for _ in range(settings.started + 1)][1:]  # the first one compiles
    taken, imported, nodes = zip(*started, strict=True)
    heavy = sorted({name for names in imported for name in names if name in HEAVY})
    found.add("importing", [1000 * seconds for seconds in taken], "ms", f"{nodes[0]} nodes, new processes")
    found.add("imported", float(len(heavy)), "", f"of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'}")
    return found


def start() -> tuple[float, list[str], int]:
    """Start ComfyUI's modules and load the package: seconds, what came with it, and its number of nodes."""
    script = _START.format(tree=os.environ["COMFYUI_PATH"], support=str(_ROOT / "tests" / "support"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    taken, names, nodes = json.loads(done.stdout.splitlines()[-1])
    return taken, names, nodes
