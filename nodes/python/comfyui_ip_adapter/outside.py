"""Entering ComfyUI from a process of its own, as scripts and the training command do: finding it, and its device."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[3]


def find_comfyui(named: str | Path | None = None, how: str = "with enter") -> Path:
    """The folder of ComfyUI: the named one, else the one that this package lies in, by its link or by its real place.

    how: the user names a folder. Raises ValueError when there is none where it was looked for.
    """
    folders = [Path(named).expanduser()] if named else [*ROOT.parents, *ROOT.resolve().parents]
    for folder in folders:
        if (folder / "main.py").is_file() and (folder / "comfy").is_dir():
            return folder.resolve()
    found = f"{named} is no ComfyUI: it has no main.py and comfy/" if named else f"{ROOT} does not lie in one"
    raise ValueError(f"Name the folder of ComfyUI {how}; {found}.")


def enter(tree: Path, cpu: bool = False, device: int = 0) -> None:
    """Make ComfyUI's modules importable and let it know the user's model folders; before any of them is imported.

    cpu: compute on the processor, as without a card in any case. device: which CUDA device is this process's.
    """
    import torch

    if str(tree) not in sys.path:
        sys.path.insert(0, str(tree))
    from comfy.cli_args import args

    args.cpu = args.cpu or cpu or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if not args.cpu and torch.cuda.is_available():
        torch.cuda.set_device(device)
    # As main.py does, first of all: nodes.py puts its comfy/ before the root; its utils.py hides the package.
    from utils.extra_config import load_extra_path_config

    extra = tree / "extra_model_paths.yaml"
    if extra.is_file():
        load_extra_path_config(str(extra))
