"""Command line for long trainings: `python nodes/train_command.py …`, or `accelerate launch` for several GPUs.

    accelerate launch custom_nodes/comfyui-ip-adapter/nodes/train_command.py --checkpoint sd15.safetensors
        --clip-vision CLIP-ViT-H-14.safetensors --dataset pictures --output my-adapter.safetensors --steps 20000

Run the same command again and a training that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

PACKAGE = "comfyui_ip_adapter"
ROOT = Path(__file__).absolute().parents[1]

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
        from comfyui_ip_adapter.nodes.host.training import command

        command.run(arguments)
    except (ValueError, ImportError) as error:
        raise SystemExit(f"{error}") from error
    except KeyboardInterrupt:
        raise SystemExit("Run the same command again to go on; it was stopped.") from None


def parser() -> argparse.ArgumentParser:
    """The arguments of the command; the settings of a training come from the fields of Settings."""
    from comfyui_ip_adapter.ip_adapter_core.adapters.saving import DTYPES
    from comfyui_ip_adapter.ip_adapter_core.training.fresh import TRAINABLE_KINDS

    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--comfyui", help="folder of ComfyUI; else the one this package lies in")
    command.add_argument("--checkpoint", required=True, help="a file of models/checkpoints, or any path")
    command.add_argument("--clip-vision", required=True, help="a file of models/clip_vision, or any path")
    command.add_argument("--dataset", required=True, help="folder, list file or .tar shards of captioned pictures")
    command.add_argument("--output", required=True, type=Path, help="the adapter to write, a .safetensors")
    command.add_argument("--folder", type=Path, help="where state and samples are kept; else beside the output")
    command.add_argument("--kind", default="base", choices=list(TRAINABLE_KINDS), help="of adapter")
    command.add_argument("--start", type=Path, help="an adapter file to train on from")
    command.add_argument("--resolution", type=int, default=512, help="side of the squares that pictures are cut to")
    command.add_argument("--dtype", default="fp16", choices=list(DTYPES), help="of the adapter that is written")
    command.add_argument(
        "--sample-every", type=int, default=0, help="steps between two pictures of samples; 0 for none"
    )
    command.add_argument("--sample-steps", type=int, default=25, help="sampling steps of a sample")
    command.add_argument("--log-dir", type=Path, help="where to write TensorBoard's logs")
    _add_settings(command)
    return command


def find_comfyui(argument: str | None) -> Path:
    """The folder of ComfyUI. Raises ValueError when there is none where it was looked for."""
    from comfyui_ip_adapter.outside import find_comfyui

    return find_comfyui(argument, "with --comfyui")


def enter(tree: Path) -> None:
    """Make ComfyUI's modules importable, on the device that `accelerate launch` gives to this process.

    Raises ImportError where accelerate is not installed.
    """
    from comfyui_ip_adapter.outside import enter

    try:
        from accelerate.utils import get_int_from_env, parse_flag_from_env
    except ImportError as error:
        raise ImportError("Install accelerate for this command: `pip install accelerate`.") from error
    enter(tree, parse_flag_from_env("ACCELERATE_USE_CPU"), get_int_from_env(["LOCAL_RANK"], 0))


def _add_settings(command: argparse.ArgumentParser) -> None:
    from comfyui_ip_adapter.ip_adapter_core.training.settings import Settings

    for setting in fields(Settings):
        flags = [f"--{name.replace('_', '-')}" for name in (setting.name, *_FORMERLY.get(setting.name, ()))]
        help = f"{_HELP[setting.name]} (default {setting.default})"
        if isinstance(setting.default, bool):
            command.add_argument(*flags, action="store_true", help=help)
        else:
            command.add_argument(*flags, type=type(setting.default), default=setting.default, help=help)


def leave_folder() -> None:
    """Take this folder, which Python puts on sys.path for a script, and the root from there: both shadow ComfyUI's."""
    ours = {ROOT.resolve(), ROOT.resolve() / "nodes"}
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() not in ours]


def load_package() -> None:
    """Make the package importable under its fixed name, since the name of its folder is the user's choice."""
    if PACKAGE not in sys.modules:
        sys.path.append(str(ROOT / "nodes" / "python"))


if __name__ == "__main__":
    main()
