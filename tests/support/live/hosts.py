"""TABLE of graphs that need a newer ComfyUI than the oldest one that this package runs on."""

import pytest

from live.server import Server

SINCE = {"anima_image_prompt": (0, 30)}
"""Plain name of a graph -> the first version of ComfyUI that runs it."""


def skip_if_too_old(server: Server, name: str) -> None:
    """Skip a test of a graph on a ComfyUI that does not run it."""
    version = str(server.get("/system_stats")["system"]["comfyui_version"])
    if tuple(map(int, version.split(".")[:2])) < SINCE.get(name, (0, 0)):
        pytest.skip(f"ComfyUI {version} does not run {name}")
