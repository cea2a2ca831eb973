"""The archive in a ComfyUI without test tools: it starts, runs its first graph, and the examples of the page run."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from develop import archive, bare, ready
from fabricate.checkpoints import tiny_checkpoint
from live import specimens
from live.graphs import Graph, Node, text_to_image
from live.kinds import TOWER
from live.server import FAST_ATTENTION, PACKS, Server, comfyui_path
from package import ROOT

PAGE = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
SCRIPT, NODE, KEPT, TOLD, *_ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
KEEPER = """

class KeepModel(PromptWithPicture):
    def prompt(self, model, image, weight):
        import comfyui_ip_adapter as ours

        exec(KEPT, globals())
        black, white = image * 0, image * 0 + 1
        model = ours.apply(model, ours.encode(ours.load(model), black), weight)
        *_, last = for_each_reference(model, ours.load(model), [white, image])
        return (last,)


NODE_CLASS_MAPPINGS["KeepModel"] = KeepModel


class TellModel:
    CATEGORY, FUNCTION, RETURN_TYPES = "example", "prompt", ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "clip": ("CLIP",), "image": ("IMAGE",), "text": ("STRING", {})}}

    def prompt(self, model, clip, image, text):
        exec(TOLD, globals())
        return (with_style(model, clip, image, text),)


NODE_CLASS_MAPPINGS["TellModel"] = TellModel
"""
NAME = ready.settings()["project"]["name"]
NEEDED = ("ipadapter/Instruct.safetensors", f"clip_vision/{TOWER}")
INSTRUCTED = {"checkpoints/tiny.safetensors": tiny_checkpoint, **{name: specimens.GOOD[name] for name in NEEDED}}
TEST_TOOLS = ("pytest", "diffusers", "insightface", "onnxruntime", "hypothesis", "accelerate")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what a user has."""
    home = tmp_path_factory.mktemp("bare") / "python"
    return bare.make(home, [comfyui_path() / "requirements.txt", ROOT / "requirements.txt"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as a custom node."""
    base = tmp_path_factory.mktemp("archive")
    return archive.install(archive.build(base / "node.zip"), base)


@pytest.fixture(scope="module")
def server(python: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ComfyUI with the archive, and with the custom node of the page in a pack that is loaded before it."""
    pack = tmp_path_factory.mktemp("pack") / "a_pack"
    pack.mkdir()
    (pack / "__init__.py").write_text(f"{NODE}\nKEPT, TOLD = {KEPT!r}, {TOLD!r}\n{KEEPER}", encoding="utf-8")
    base = folder.parents[1]
    specimens.add(base / "models", INSTRUCTED)
    packs = {"a_pack": pack, "tinyfam": PACKS["tinyfam"]}
    with Server(base, options=[FAST_ATTENTION], python=python, packs=packs) as server:
        yield server


def test_the_bare_python_has_no_test_tools(python: Path) -> None:
    wanted = "import torch, open_clip, aiohttp; from importlib.util import find_spec as find; "
    script = f"{wanted}print([name for name in {TEST_TOOLS} if find(name)])"
    done = subprocess.run([str(python), "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_the_archive_starts_without_a_complaint_and_runs_its_first_graph(server: Server) -> None:
    ours = [line for line in server.log().splitlines() if NAME in line]
    assert ours
    assert not [line for line in ours if "FAILED" in line or "Error" in line or "Cannot import" in line]
    assert archive.first_picture(server).std() > 5


def test_a_custom_node_may_call_what_the_page_says(server: Server) -> None:
    without, prompted = (drawn(server, weight) for weight in (0.0, 1.0))
    assert np.abs(prompted.astype(int) - without).mean() > 5


def test_a_kept_model_with_another_reference_draws_as_if_it_had_been_the_first(server: Server) -> None:
    assert np.array_equal(drawn(server, 0.8, "KeepModel"), drawn(server, 0.8))


def test_an_adapter_is_told_from_python_what_the_node_tells_it(server: Server) -> None:
    def by_the_page(graph: Graph, model: Any) -> Node:
        image = graph.add("EmptyImage", width=32, height=32, batch_size=1, color=0xFF8000)
        return graph.add("TellModel", model=model, clip=["loader", 1], image=image, text="a red apple")

    def by_nodes(graph: Graph, model: Any) -> Node:
        found = graph.add("IPA_AutoLoad", model=model, kind="Instruct")
        told = graph.add("IPA_Instruction", clip=["loader", 1], instruction="use the style", prompt="a red apple")
        image = graph.add("EmptyImage", width=32, height=32, batch_size=1, color=0xFF8000)
        inputs = {"ip_adapter": found, "clip_vision": found[1], "image": image, "fit": "center crop"}
        prompt = graph.add("IPA_Encode", **inputs, instruction=told)
        return graph.add("IPA_Apply", model=model, image_prompt=prompt, weight=0.8, start=0.0, end=1.0)

    bare, ours, wanted = (
        server.run(text_to_image(hook, checkpoint=specimens.named("tiny.safetensors")), seconds=600).image()
        for hook in (lambda graph, model: model, by_the_page, by_nodes)
    )
    assert np.array_equal(ours, wanted)
    assert np.abs(ours.astype(int) - bare).mean() > 1


def drawn(server: Server, weight: float, node: str = "PromptWithPicture") -> np.ndarray:
    """What the small world draws behind the node of the page, or another."""
    graph = Graph()
    loader = graph.add("CheckpointLoaderSimple", ckpt_name="small_world.safetensors")
    reference = graph.add("EmptyImage", width=32, height=32, batch_size=1, color=0xFF8000)
    prompted = graph.add(node, model=loader, image=reference, weight=weight)
    text = graph.add("CLIPTextEncode", text="", clip=loader[1])
    sampling = {"seed": 1, "steps": 5, "cfg": 4.0, "sampler_name": "ddim", "scheduler": "normal", "denoise": 1.0}
    latent = graph.add("EmptyImage", width=32, height=32, batch_size=1, color=0)
    start = graph.add("VAEEncode", pixels=latent, vae=loader[2])
    inputs = {"model": prompted, "positive": text, "negative": text, "latent_image": start}
    picture = graph.add("VAEDecode", samples=graph.add("KSampler", **inputs, **sampling), vae=loader[2])
    saved = graph.add("SaveImage", images=picture, filename_prefix=f"{node}{weight}")
    return server.run(graph, seconds=600).image(saved.id)


def test_the_script_of_the_page_draws_a_picture(folder: Path, python: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "#ff8000").save(tmp_path / "reference.png")
    (tmp_path / "ComfyUI").symlink_to(comfyui_path(), target_is_directory=True)
    script = SCRIPT.replace(f"ComfyUI/custom_nodes/{NAME}", str(folder))
    assert script != SCRIPT
    done = subprocess.run([str(python), "-c", script], cwd=tmp_path, capture_output=True, text=True, env=plain())
    assert done.returncode == 0, done.stderr[-3000:]
    assert np.asarray(Image.open(tmp_path / "picture.png")).std() > 5


def plain() -> dict[str, str]:
    """The variables of this process without those that lead Python to other modules."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
