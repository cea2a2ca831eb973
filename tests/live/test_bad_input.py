"""Mistakes of users: each is refused before sampling, on the node it was made in, in a sentence that helps."""

import pickle
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from fabricate.adapters import TINY_WIDTHS, tiny_adapter
from fabricate.checkpoints import TINY_TEXT, save, tiny_controlnet
from fabricate.encoders import taesd_shapes
from fabricate.towers import TINY, tiny_tower
from fabricate.weights import random_weights
from live import specimens
from live.graphs import Graph, text_to_image
from live.models import fabricate_models
from live.prompting import REFERENCE, Prompted, Simply, stock
from live.results import ExecutionError, ValidationError
from live.server import Server
from live.specimens import named
from payload import Payload

LONGEST = 400  # letters of a message that lists no folder


def truncated(path: Path) -> None:
    whole = tiny_adapter(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def evil_archive(path: Path) -> None:
    torch.save({"image_proj": {}, "ip_adapter": Payload(path.with_suffix(".ran"))}, path)


def evil_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(path.with_suffix(".ran"))))


def autoencoder(path: Path) -> None:
    save(path, random_weights(taesd_shapes(), 0))


BAD: dict[str, specimens.Fabricate] = {
    "ipadapter/truncated.safetensors": truncated,
    "ipadapter/disguised.safetensors": evil_pickle,
    "ipadapter/page.safetensors": lambda path: path.write_text("<!DOCTYPE html>"),
    "ipadapter/archive.bin": evil_archive,
    "ipadapter/pickle.pt": evil_pickle,
    "ipadapter/autoencoder.safetensors": autoencoder,
    "ipadapter/controlnet.safetensors": tiny_controlnet,
    "ipadapter/text encoder.safetensors": lambda path: save(path, random_weights(TINY_TEXT, 0)),
    "ipadapter/note.safetensors": lambda path: path.write_text("not a model"),
    "ipadapter/empty.safetensors": lambda path: path.write_bytes(b""),
    "ipadapter/shorter.safetensors": partial(tiny_adapter, widths=TINY_WIDTHS[2:]),
    "ipadapter/unread.safetensors": partial(specimens.sd15_adapter, kind="full face", embed=1280),
    "clip_vision/wide.safetensors": partial(tiny_tower, size=TINY._replace(width=96, embed_dim=48)),
    "clip_vision/adapter.safetensors": tiny_adapter,
}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: bad files stay out of the menus, and errors out of the log, of the one that tests share."""
    base = tmp_path_factory.mktemp("bad")
    fabricate_models(base / "models")
    specimens.add(base / "models", BAD | specimens.SD15)
    with Server(base) as server:
        yield stock(server)


def refused_while_running(server: Server, graph: Graph, node: str) -> str:
    """The message of the node that fails, which must be this one."""
    with pytest.raises(ExecutionError) as failed:
        server.run(graph)
    assert failed.value.node_id.split(".")[0] == node, failed.value.node_id
    return readable(failed.value.message)


def refused_before_running(server: Server, graph: Graph, node: str) -> str:
    """The message on the node, given before anything runs."""
    with pytest.raises(ValidationError) as refused:
        server.run(graph)
    (error,) = refused.value.node_errors[node]["errors"]
    return readable(error["details"].partition(" - ")[2])  # ComfyUI puts the input's name before it


def readable(message: str) -> str:
    """The message, when it is a sentence for people."""
    assert not re.search(r"Traceback|tensor\(|File \"|object at 0x|\n\s*\n", message), message
    assert message.rstrip()[-1] in ".)", message
    return message


FILES = {
    "truncated.safetensors": "^Download truncated.safetensors again; it is damaged or incomplete",
    "disguised.safetensors": "^Use the .safetensors .*disguised.safetensors is a pickle .*nothing in it was run",
    "page.safetensors": "^Download the file itself; page.safetensors is a web page",
    "archive.bin": "^Use the .safetensors .*archive.bin is a pickle that wants to run code.*nothing in it was run",
    "pickle.pt": "^Use the .safetensors .*pickle.pt is a pickle that wants to run code.*nothing in it was run",
    "autoencoder.safetensors": r"^Choose an IP-Adapter file; this one holds an autoencoder \(.*autoencoder.saf",
    "controlnet.safetensors": r"^Choose an IP-Adapter file; this one holds a ControlNet \(",
    "text encoder.safetensors": r"^Choose an IP-Adapter file; this one holds a text encoder \(",
    "note.safetensors": "^Download note.safetensors again; it is damaged or incomplete",
    "empty.safetensors": "^Download empty.safetensors again; it is empty",
    "missing.safetensors": "^Choose another file, or put specimens/missing.safetensors into models/ipadapter;",
}


@pytest.mark.parametrize(("file", "says"), FILES.items(), ids=FILES)
def test_a_file_that_is_no_adapter_is_refused_on_the_loader(
    stocked: Server, plain: np.ndarray, file: str, says: str
) -> None:
    message = refused_before_running(stocked, text_to_image(Prompted(adapter=named(file))), "adapter")
    assert re.search(says, message), message
    assert np.array_equal(stocked.run(text_to_image()).image(), plain)


def test_code_in_a_pickle_is_not_run(stocked: Server) -> None:
    folder = stocked.base / "models" / "ipadapter" / specimens.FOLDER
    for file in ("archive.bin", "pickle.pt", "disguised.safetensors"):
        refused_before_running(stocked, text_to_image(Prompted(adapter=named(file))), "adapter")
    assert not list(folder.glob("*.ran"))
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickle.dumps(Payload(folder / "no such folder" / "x")))  # it would have acted


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (f"clip_vision/{specimens.FOLDER}/tower.safetensors", "a CLIP vision encoder"),
        ("checkpoints/tiny.safetensors", "a Stable Diffusion checkpoint"),
        (f"checkpoints/{specimens.FOLDER}/sd15.safetensors", "a Stable Diffusion checkpoint"),
    ],
)
def test_models_in_the_wrong_folder_are_refused_as_what_they_are(stocked: Server, source: str, what: str) -> None:
    link = stocked.base / "models" / "ipadapter" / specimens.FOLDER / f"misplaced {source.replace('/', ' ')}"
    if not link.exists():
        link.symlink_to(stocked.base / "models" / source)
    message = refused_before_running(stocked, text_to_image(Prompted(adapter=named(link.name))), "adapter")
    assert message.startswith(f"Choose an IP-Adapter file; this one holds {what}")
    assert link.name in message


def test_a_file_that_is_no_encoder_is_refused_on_the_loader(stocked: Server) -> None:
    for file in ("adapter.safetensors", "missing.safetensors"):
        message = refused_before_running(stocked, text_to_image(Prompted(tower=named(file))), "tower")
        assert file in message
        assert len(message) < LONGEST


@pytest.mark.parametrize(
    ("adapter", "needed", "found"),
    [("base.safetensors", 32, 48), ("plus.safetensors", 64, 96), ("full face.safetensors", 64, 96)],
)
def test_the_wrong_encoder_is_refused_with_both_widths(
    stocked: Server, plain: np.ndarray, adapter: str, needed: int, found: int
) -> None:
    graph = text_to_image(Prompted(adapter=named(adapter), tower=named("wide.safetensors")))
    message = refused_while_running(stocked, graph, "encode")
    assert re.search(rf"^Load .* of width {needed}, and that gives {found}\.", message), message
    assert np.array_equal(stocked.run(text_to_image()).image(), plain)


def test_the_message_about_the_wrong_encoder_names_the_right_one(stocked: Server) -> None:
    message = refused_while_running(stocked, text_to_image(Prompted(adapter=named("unread.safetensors"))), "encode")
    assert "Load CLIP-ViT-H-14 in place of" in message


@pytest.mark.parametrize(("file", "layers", "context"), [("shorter.safetensors", 14, 64), ("sd15.safetensors", 4, 768)])
def test_an_adapter_for_another_model_is_refused_when_applied(
    stocked: Server, plain: np.ndarray, file: str, layers: int, context: int
) -> None:
    message = refused_while_running(stocked, text_to_image(Prompted(adapter=named(file))), "apply")
    assert re.search(
        rf"^Load an adapter .*\({layers} layers, context {context}\).*\(16 layers, context 64\)", message
    ), message
    assert np.array_equal(stocked.run(text_to_image()).image(), plain)


PICTURES = {
    "nan": "Look at the node that made image 1 of 1, .*contains NaN",
    "infinite": "Look at the node that made image 1 of 1, .*contains infinite values",
    "no pictures": "Connect at least one picture; .* 0x64x64x3 holds no pixels",
    "no rows": "Connect at least one picture; .* 1x0x64x3 holds no pixels",
    "two channels": "Connect images .* 1, 3 or 4 channels, .*; found 1x64x64x2",
}


@pytest.mark.parametrize(("choice", "says"), PICTURES.items(), ids=PICTURES)
@pytest.mark.parametrize("input", ["image", "negative_image"])
def test_a_picture_that_cannot_be_encoded_is_refused(
    stocked: Server, plain: np.ndarray, choice: str, says: str, input: str
) -> None:
    graph = text_to_image(Prompted())
    graph["encode"]["inputs"][input] = graph.add("TestBadImage", choice=choice)[0]
    message = refused_while_running(stocked, graph, "encode")
    assert re.search(says, message), message
    assert np.array_equal(stocked.run(text_to_image()).image(), plain)


def test_more_negative_images_than_images_are_refused(stocked: Server) -> None:
    graph = text_to_image(Prompted(negative=REFERENCE))
    both = graph["encode"]["inputs"]["image"]
    graph["encode"]["inputs"]["negative_image"] = graph.add("ImageBatch", image1=both, image2=both)[0]
    assert (
        "Give at most as many negative images as images; found 2 negative images for 1 images"
        in refused_while_running(stocked, graph, "encode")
    )


NUMBERS = {
    "weight NaN": (Prompted(weight=float("nan")), "Set weight to a finite number such as 0.8; found nan"),
    "start NaN": (Prompted(span=(float("nan"), 1.0, "percent")), "Set start to a finite number such as 0.8; found nan"),
    "end NaN": (Prompted(span=(0.0, float("nan"), "steps")), "Set end to a finite number such as 0.8; found nan"),
    "start after end": (Prompted(span=(0.8, 0.2, "percent")), "Set start to at most end; start 0.8 is after end 0.2"),
    "percent above 1": (
        Prompted(span=(0.0, 50.0, "percent")),
        r"Set start and end to 0\.\.1, or choose steps .* found 0 and 50",
    ),
}


@pytest.mark.parametrize(("hook", "says"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_that_cannot_be_meant_are_refused(
    stocked: Server, plain: np.ndarray, hook: Prompted, says: str
) -> None:
    message = refused_while_running(stocked, text_to_image(hook), "apply")
    assert re.search(says, message), message
    assert np.array_equal(stocked.run(text_to_image()).image(), plain)


@pytest.mark.parametrize("weight", [float("inf"), -float("inf"), 6.0])
def test_numbers_outside_the_widget_are_refused_before_running(stocked: Server, weight: float) -> None:
    with pytest.raises(ValidationError) as refused:
        stocked.run(text_to_image(Prompted(weight=weight)))
    (error,) = refused.value.node_errors["apply"]["errors"]
    assert error["extra_info"]["input_name"] == "weight"


@pytest.mark.parametrize(
    ("node", "input", "value"),
    [("encode", "fit", "stretch"), ("apply", "unit", "seconds"), ("tower", "activation", "relu")],
)
def test_unknown_choices_are_refused_before_running(stocked: Server, node: str, input: str, value: str) -> None:
    graph = text_to_image(Prompted())
    graph[node]["inputs"][input] = value
    with pytest.raises(ValidationError) as refused:
        stocked.run(graph)
    (error,) = refused.value.node_errors[node]["errors"]
    assert value in error["details"]


def test_auto_without_a_fitting_adapter_says_where_it_looked_and_what_it_saw(
    stocked: Server, plain: np.ndarray
) -> None:
    graph = text_to_image(Simply(kind="plus"), checkpoint=named("sd15.safetensors"))
    message = refused_while_running(stocked, graph, "simple")
    assert message.startswith("Choose another kind or model, or put a file for it into models/ipadapter")
    assert "no IP-Adapter of kind plus for a model of its own kind (4 layers, context 768) was found" in message
    assert str(stocked.base / "models" / "ipadapter") in message
    assert re.search(r"saw \d+ other files; \d+ of them cannot be used: ", message)
    assert len(message) < 3 * LONGEST  # three files that cannot be used, with their reasons
    assert np.array_equal(stocked.run(text_to_image()).image(), plain)


def test_auto_without_the_encoder_says_what_to_download(stocked: Server, plain: np.ndarray) -> None:
    graph = text_to_image(Simply(kind="full face"), checkpoint=named("sd15.safetensors"))
    message = refused_while_running(stocked, graph, "simple")
    assert f"{named('unread.safetensors')} reads CLIP-ViT-H-14, and no such encoder was found" in message
    assert str(stocked.base / "models" / "clip_vision") in message
    assert re.search(r"^Download https://\S+ and put it at models/clip_vision/\S+\.safetensors; ", message)
    assert np.array_equal(stocked.run(text_to_image()).image(), plain)
