"""Faces run in silence: a process that runs them opens no internet socket, and leaves no file of onnxruntime's behind.

The tests show that no socket was opened and that one would have been seen, and that who has decided about telemetry is
left to it. They do not show that it is our switch that silences onnxruntime: where it has no telemetry, or takes the
machine for a build server, it says nothing by itself."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fabricate.faces import pack
from package import SUPPORT

# seccomp ends a process that asks for an internet socket, also from native code: a hook of Python's sees only its own.
RUN = """
import ctypes, struct, sys, os
sys.path.insert(0, {tests!r})
import package
SOCKET, X86, INET, INET6, ALLOW, KILL = 41, 0xC000003E, 2, 10, 0x7FFF0000, 0x80000000
steps = [(0x20, 0, 0, 4), (0x15, 0, 5, X86), (0x20, 0, 0, 0), (0x15, 0, 3, SOCKET), (0x20, 0, 0, 16)]
steps += [(0x15, 2, 0, INET), (0x15, 1, 0, INET6), (0x06, 0, 0, ALLOW), (0x06, 0, 0, KILL)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(steps), ctypes.addressof(code)))) == 0
if {probe}:
    import socket
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
import time
import torch
from pathlib import Path
from comfyui_ip_adapter.ip_adapter_core.faces.networks import FaceNetworks
folder = Path({folder!r})
faces = FaceNetworks(folder / "det.onnx", folder / "rec.onnx")
faces.detect(torch.zeros(128, 128, 3, dtype=torch.uint8))
time.sleep(2)
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="system calls have the numbers of Linux on x86-64",
)


def run(tmp_path: Path, probe: bool = False, **variables: str) -> tuple[int, list[str], str]:
    """Faces in a process with a home of its own: how it ended, the files that it left there, and its errors."""
    home = tmp_path / "home"
    home.mkdir()
    folder = tmp_path / "pack"
    pack(folder)
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    script = RUN.format(tests=str(SUPPORT), folder=str(folder), probe=probe)
    ended = subprocess.run(
        [sys.executable, "-c", script], env=kept | {"HOME": str(home)} | variables, capture_output=True, text=True
    )
    found = [file.relative_to(home).as_posix() for file in home.rglob("*") if "onnxruntime" in file.name]
    return ended.returncode, found, ended.stderr


def test_faces_open_no_socket_and_leave_no_file(tmp_path: Path) -> None:
    assert run(tmp_path) == (0, [], "")


def test_a_socket_would_have_been_seen(tmp_path: Path) -> None:
    code, _, _ = run(tmp_path, probe=True)
    assert code == -31  # SIGSYS


def test_who_has_decided_about_telemetry_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.ip_adapter_core.faces import networks

    for set_already, then in (("0", "0"), (None, "1")):
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
        if set_already:
            monkeypatch.setenv("ORT_DISABLE_TELEMETRY", set_already)
        networks.runtime()
        assert os.environ["ORT_DISABLE_TELEMETRY"] == then
