"""Command line for long trainings: `python nodes/train_command.py …`, or `accelerate launch` for several GPUs.

    accelerate launch custom_nodes/comfyui-ip-adapter/nodes/train_command.py --checkpoint sd15.safetensors
        --clip-vision CLIP-ViT-H-14.safetensors --dataset pictures --output my-adapter.safetensors --steps 20000

Run the same command again and a training that was stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

PACKAGE = "comfyui_ip_adapter"
ROOT = Path(__file__).resolve().parents[1]

_HELP = {
    "steps": "steps in all",
    "batch": "pictures of a batch, over all processes",
    "learning_rate": "of AdamW, how far a step goes",
    "weight_decay": "of AdamW",
    "drop_text": "how often the caption is left out",
    "drop_image": "how often the image is left out",
    "drop_both": "how often both are left out",
    "accumulate": "batches per step",
    "seed": "of weights, order, noise and dropping",
    "ema": "decay of a moving average of the weights, which is what comes out; 0 for none",
    "warmup": "steps until the learning rate is whole",
    "decay": "let the learning rate fall to 0 along a cosine",
    "gradient_checkpointing": "compute the model twice per step to need less memory",
    "save_every": "steps between two writings of the state",
    "clip": "largest norm of the gradients; 0 for any",
}
# What settings were called in commands that users have written down.
_FORMERLY = {"learning_rate": ("rate",), "gradient_checkpointing": ("checkpointing",)}


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says. Raises SystemExit, with a sentence, for what cannot be done."""
    leave_folder()
    load_package()
    arguments = parser().parse_args(argv)
    try:
        enter(find_comfyui(arguments.comfyui))
        import_module(f"{PACKAGE}.nodes.host.training.command").run(arguments)
    except (ValueError, ImportError) as error:
        raise SystemExit(f"{error}") from error
    except KeyboardInterrupt:
        raise SystemExit("Run the same command again to go on; it was stopped.") from None


def parser() -> argparse.ArgumentParser:
    """The arguments of the command; the settings of a training come from the fields of Settings."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--comfyui", help="folder of ComfyUI; else COMFYUI_PATH, else the one this package lies in")
    command.add_argument("--checkpoint", required=True, help="a file of models/checkpoints, or any path")
    command.add_argument("--clip-vision", required=True, help="a file of models/clip_vision, or any path")
    command.add_argument("--dataset", required=True, help="folder, list file or .tar shards of captioned pictures")
    command.add_argument("--output", required=True, type=Path, help="the adapter to write, a .safetensors")
    command.add_argument("--folder", type=Path, help="where state and samples are kept; else beside the output")
    command.add_argument(
        "--kind", default="base", choices=list(_core("training.fresh").TRAINABLE_KINDS), help="of adapter"
    )
    command.add_argument("--start", type=Path, help="an adapter file to train on from")
    command.add_argument("--resolution", type=int, default=512, help="side of the squares that pictures are cut to")
    command.add_argument(
        "--dtype", default="fp16", choices=list(_core("adapters.saving").DTYPES), help="of the adapter that is written"
    )
    command.add_argument(
        "--sample-every", type=int, default=0, help="steps between two pictures of samples; 0 for none"
    )
    command.add_argument("--sample-steps", type=int, default=25, help="sampling steps of a sample")
    command.add_argument("--log-dir", type=Path, help="where to write TensorBoard's logs")
    _add_settings(command)
    return command


def find_comfyui(argument: str | None) -> Path:
    """The folder of ComfyUI. Raises ValueError when there is none where it was looked for."""
    named = argument or os.environ.get("COMFYUI_PATH")
    folders = [Path(named).expanduser()] if named else [*Path(os.path.abspath(__file__)).parents, *ROOT.parents]
    for folder in folders:
        if (folder / "main.py").is_file() and (folder / "comfy").is_dir():
            return folder.resolve()
    found = f"{named} is no ComfyUI: it has no main.py and comfy/" if named else "ComfyUI was not found"
    raise ValueError(f"Name the folder of ComfyUI with --comfyui; {found}.")


def enter(tree: Path) -> None:
    """Make ComfyUI's modules importable, on this process's device, and let it know the user's model folders."""
    import torch

    if str(tree) not in sys.path:
        sys.path.insert(0, str(tree))
    from comfy.cli_args import args

    cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    args.cpu = args.cpu or cpu or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if not args.cpu and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    extra = tree / "extra_model_paths.yaml"
    if extra.is_file():
        import_module("utils.extra_config").load_extra_path_config(str(extra))


def _add_settings(command: argparse.ArgumentParser) -> None:
    for setting in fields(_core("training.settings").Settings):
        flags = [f"--{name.replace('_', '-')}" for name in (setting.name, *_FORMERLY.get(setting.name, ()))]
        help = f"{_HELP[setting.name]} (default {setting.default})"
        if isinstance(setting.default, bool):
            command.add_argument(*flags, action="store_true", help=help)
        else:
            command.add_argument(*flags, type=type(setting.default), default=setting.default, help=help)


def _core(module: str) -> Any:
    return import_module(f"{PACKAGE}.ip_adapter_core.{module}")


def leave_folder() -> None:
    """Take this folder, which Python puts on sys.path for a script, and the root from there: both shadow ComfyUI's."""
    ours = {ROOT, ROOT / "nodes"}
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() not in ours]


def load_package() -> None:
    """Import the root under a fixed name, since the name of its folder is the user's choice."""
    if PACKAGE in sys.modules:
        return
    spec = spec_from_file_location(PACKAGE, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    main()
