"""A real ComfyUI server on the CPU, started for the tests and spoken to over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
from PIL import Image

from live.results import Result, ValidationError, read_result
from package import CHOSEN, ROOT, SUPPORT, THREADS

PACKS = {"comfyui-ip-adapter": ROOT, **{path.name: path for path in (SUPPORT / "packs").iterdir()}}
FOLDERS = ("checkpoints", "controlnet", "clip_vision", "ipadapter", "loras", "insightface")
FAST_ATTENTION = "--use-pytorch-cross-attention"  # ComfyUI's own choice on the CPU is slow at larger sizes
OPTIONS = ("--cpu", "--disable-api-nodes", "--disable-auto-launch", "--listen", "127.0.0.1")


class Server:
    """ComfyUI of COMFYUI_PATH over the models, inputs and outputs in `base`; use it in a `with` statement.

    python: what runs it, by default the Python of the tests. packs: custom nodes by the name of their folder.
    all_cores: for one that has the machine to itself; by default it has one thread, as tests have.
    """

    def __init__(
        self,
        base: Path,
        port: int | None = None,
        options: Iterable[str] = (),
        python: Path = Path(sys.executable),
        packs: Mapping[str, Path] = PACKS,
        all_cores: bool = False,
    ) -> None:
        self.base = base
        self.variables = dict(os.environ)
        if all_cores and CHOSEN is None:
            self.variables.pop(THREADS, None)
        self.python = python
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        places = ("--base-directory", str(base), "--database-url", f"sqlite:///{base}/user/comfyui.db")
        self.options = (*OPTIONS, *frontend(), *places, "--port", str(self.port), *options)
        self.opener = build_opener(ProxyHandler({}))
        prepare(base, packs)

    def __enter__(self) -> "Server":
        tree = comfyui_path()
        with (self.base / "server.log").open("w") as log:
            command = [str(self.python), "main.py", *self.options]
            self.process = subprocess.Popen(command, cwd=tree, env=self.variables, stdout=log, stderr=subprocess.STDOUT)
        try:
            self.wait_until_ready(600)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def wait_until_ready(self, seconds: float) -> None:
        """Return when the server answers. Raises RuntimeError with the end of its log when it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                self.get("/system_stats")
                return
            except (URLError, HTTPException, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"ComfyUI did not answer in {seconds:g} s. Its log ends:\n{self.log()[-3000:]}")

    def check_alive(self) -> None:
        """Raises RuntimeError with the end of the log when the server has died."""
        if self.process.poll() is not None:
            raise RuntimeError(f"ComfyUI ended ({self.process.returncode}). Its log ends:\n{self.log()[-3000:]}")

    def stop(self) -> None:
        """End the server, kindly at first."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def run(self, prompt: dict[str, Any], seconds: float = 240) -> Result:
        """Run an API-format graph to its end.

        Raises ValidationError when the server refuses it, ExecutionError when a node fails, TimeoutError.
        """
        start = time.monotonic()
        prompt_id = self.queue(prompt)
        while time.monotonic() - start < seconds:
            self.check_alive()
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry:
                return read_result(entry, time.monotonic() - start, self.fetch)
            time.sleep(0.02)
        raise TimeoutError(f"The graph did not finish in {seconds:g} s. The log ends:\n{self.log()[-3000:]}")

    def queue(self, prompt: dict[str, Any]) -> str:
        """Hand in a graph and return its id. Raises ValidationError when the server refuses it."""
        try:
            answer: dict[str, Any] = self.post("/prompt", {"prompt": prompt})
        except HTTPError as error:
            if error.code != 400:
                raise RuntimeError(
                    f"POST /prompt answered {error.code}. The log ends:\n{self.log()[-3000:]}"
                ) from error
            raise ValidationError(json.load(error)) from error
        if answer.get("node_errors"):
            raise ValidationError(answer)
        return str(answer["prompt_id"])

    def object_info(self, node_type: str = "") -> dict[str, Any]:
        """What the server tells about every node type, or about one."""
        described: dict[str, Any] = self.get(f"/object_info/{node_type}".rstrip("/"))
        return described

    def upload(self, name: str, image: np.ndarray) -> str:
        """Put a uint8 picture (height, width, 3 or 4) among the inputs, for LoadImage, and return its name."""
        Image.fromarray(image).save(self.base / "input" / name)
        return name

    def get(self, path: str) -> Any:
        """The JSON at a path of the server."""
        return json.loads(self.fetch(path))

    def post(self, path: str, body: Any) -> Any:
        """The JSON that answers a JSON body."""
        request = Request(self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with self.opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def fetch(self, path: str) -> bytes:
        """The bytes at a path of the server."""
        with self.opener.open(self.address + path, timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def log(self) -> str:
        """Everything the server has logged."""
        return (self.base / "server.log").read_text(errors="replace")


def comfyui_path() -> Path:
    """The ComfyUI to run. Raises RuntimeError when there is none."""
    tree = os.environ.get("COMFYUI_PATH")
    if not tree:
        raise RuntimeError("This needs a ComfyUI: run `make test`, or name one in COMFYUI_PATH.")
    return Path(tree)


def frontend() -> tuple[str, ...]:
    """What tells ComfyUI to serve another editor than its own, if one was brought."""
    folder = os.environ.get("COMFYUI_FRONTEND")
    return ("--front-end-root", folder) if folder else ()


def prepare(base: Path, packs: Mapping[str, Path] = PACKS) -> None:
    """Lay out what ComfyUI expects of a base folder, with these packs as custom nodes."""
    for name in ("custom_nodes", "input", "output", "user", *(f"models/{folder}" for folder in FOLDERS)):
        (base / name).mkdir(parents=True, exist_ok=True)
    for name, folder in packs.items():
        link = base / "custom_nodes" / name
        if not link.is_symlink() or link.resolve() != folder.resolve():  # the folder may have moved since
            link.unlink(missing_ok=True)
            link.symlink_to(folder, target_is_directory=True)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
