"""Another pack with ids of IPAdapter Plus on a server: how it gets there, and a graph with one of them."""

import json
from pathlib import Path
from typing import Any

from package import SUPPORT

THEIRS = {"IPAdapterModelLoader", "IPAdapterAdvanced", "IPAdapterEncoder"}
"""The ids that support/oldpack has."""


def place(base: Path, folder: str, first: bool) -> tuple[str, str]:
    """Put the other pack into a folder of custom nodes of its own, and return the options that tell ComfyUI of it."""
    more = base / "more"
    more.mkdir()
    (more / folder).symlink_to(SUPPORT / "oldpack", target_is_directory=True)
    paths = {"more": {"base_path": str(more), "custom_nodes": ".", "is_default": first}}
    (base / "paths.yaml").write_text(json.dumps(paths))
    return "--extra-model-paths-config", str(base / "paths.yaml")


def with_an_encoder() -> dict[str, Any]:
    """A graph as the editor saves it, with an encoder in the shape of before version 2: it has six values."""
    sockets = [{"name": "clip_vision", "type": "CLIP_VISION", "link": None}]
    values = [True, 0.1, 1.0, 1.0, 1.0, 1.0]
    node = {"id": 3, "type": "IPAdapterEncoder", "pos": [0, 0], "size": [300, 200], "inputs": sockets}
    return {"nodes": [node | {"widgets_values": values}], "links": [], "version": 0.4}
