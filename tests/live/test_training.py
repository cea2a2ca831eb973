"""Training on a running ComfyUI: an adapter comes out that works, runs go on, and mistakes are named beforehand."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from fabricate.towers import TINY, tiny_tower
from live import specimens
from live.graphs import Graph, text_to_image
from live.models import fabricate_models
from live.prompting import OTHER, REFERENCE, Prompted, difference, stock
from live.published import BASE, ENCODER, PLUS
from live.results import ExecutionError
from live.server import Server
from live.specimens import named
from live.training import draw_pictures, painted, saved, training

ACTS = 1.0


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: what is trained stays out of the menus of the one that tests share."""
    base = tmp_path_factory.mktemp("training")
    fabricate_models(base / "models")
    draw_pictures(base / "input" / "pictures")
    wide = {"clip_vision/wide.safetensors": lambda path: tiny_tower(path, size=TINY._replace(width=96, embed_dim=48))}
    with Server(base) as server:
        stock(server)
        specimens.add(base / "models", wide | {"ipadapter/sd15.safetensors": specimens.sd15_adapter})
        yield server


def said(server: Server, graph: Graph, node: str) -> str:
    """The text that a node shows."""
    found: str = server.run(graph).outputs[node]["text"][0]
    return found


def menu(server: Server) -> list[str]:
    """The files that Load IP-Adapter offers."""
    kind, *rest = server.object_info("IPA_LoadAdapter")["IPA_LoadAdapter"]["input"]["required"]["file"]
    return list(rest[0]["options"] if kind == "COMBO" else kind)


def losses(server: Server, name: str) -> list[float]:
    """The losses that a run has kept."""
    state = load_file(server.base / "output" / "ip_adapter_training" / name / "state.safetensors")
    return list(state["losses"].tolist())


@pytest.mark.parametrize(("kind", "projection"), [("base", "proj.weight"), ("plus", "latents")])
def test_what_is_trained_is_saved_listed_loaded_and_acts(trainer: Server, kind: str, projection: str) -> None:
    graph = saved(training(name=f"whole {kind}", kind=kind), f"mine/{kind}", "fp32")
    assert said(trainer, graph, "save") == f"mine/{kind}_00001.safetensors"
    file = f"mine/{kind}_00001.safetensors"
    assert file in menu(trainer)
    weights = load_file(trainer.base / "models" / "ipadapter" / file)
    numbers = [f"ip_adapter.{n}.{which}.weight" for n in range(1, 32, 2) for which in ("to_k_ip", "to_v_ip")]
    assert {name for name in weights if not name.startswith("image_proj.")} == set(numbers)
    assert f"image_proj.{projection}" in weights
    plain = trainer.run(text_to_image()).image()
    one, other = (
        trainer.run(text_to_image(Prompted(adapter=file, tower=ENCODER, images=(image,)))).image()
        for image in (REFERENCE, OTHER)
    )
    assert difference(one, plain) > ACTS
    assert not np.array_equal(one, other)


def test_the_adapter_works_at_once_as_it_does_from_its_file(trainer: Server) -> None:
    at_once = trainer.run(painted(saved(training(name="at once"), "at once", "fp32"), REFERENCE)).image()
    from_file = Prompted(adapter="at once_00001.safetensors", tower=ENCODER)
    assert np.array_equal(trainer.run(text_to_image(from_file)).image(), at_once)


def test_half_precision_is_half_as_large_and_nothing_is_overwritten(trainer: Server) -> None:
    graph = training(name="precisions")
    names = [said(trainer, saved(graph, "sizes", dtype), "save") for dtype in ("fp32", "fp16")]
    assert names == ["sizes_00001.safetensors", "sizes_00002.safetensors"]
    whole, half = (load_file(trainer.base / "models" / "ipadapter" / name) for name in names)
    assert all(weight.element_size() == 2 * half[name].element_size() for name, weight in whole.items())
    assert all((weight - half[name].float()).abs().max() < 2e-3 for name, weight in whole.items())


def test_the_curve_is_shown_and_kept(trainer: Server) -> None:
    shown = trainer.run(training(name="curve", steps=5)).image("curve")
    assert shown.shape == (360, 640, 3)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 4
    assert (trainer.base / "output" / "ip_adapter_training" / "curve" / "loss.png").exists()


def test_a_finished_run_goes_on_with_more_steps_as_if_it_had_never_stopped(trainer: Server) -> None:
    for steps in (2, 4):
        trainer.run(training(name="longer", steps=steps))
    trainer.run(training(name="in one go", steps=4))
    assert losses(trainer, "longer") == losses(trainer, "in one go")


def test_every_advanced_setting_trains(trainer: Server) -> None:
    more: dict[str, Any] = {
        "accumulate": 2,
        "ema": 0.9,
        "precision": "bf16",
        "gradient_checkpointing": True,
        "save_every": 1,
    }
    trainer.run(training(name="advanced", **more))
    assert len(losses(trainer, "advanced")) == 3


def test_training_goes_on_from_an_adapter_that_is_connected(trainer: Server) -> None:
    graph = saved(training(name="from", learning_rate=1e-9), "from", "fp32")
    graph["train"]["inputs"]["ip_adapter"] = graph.add("IPA_LoadAdapter", "start", file=BASE)[0]
    file = said(trainer, graph, "save")
    folder = trainer.base / "models" / "ipadapter"
    began, ended = load_file(folder / BASE), load_file(folder / file)
    assert all((ended[name] - weight.float()).abs().max() < 1e-4 for name, weight in began.items())


def interrupted(server: Server, graph: Graph) -> None:
    """Run a graph until a step is made, and interrupt it then."""
    name = graph["train"]["inputs"]["name"]
    prompt_id = server.queue(graph)
    wait(lambda: f"Training {name}: step 1 of" in server.log())
    server.opener.open(f"{server.address}/interrupt", b"{}").close()
    wait(lambda: bool(server.get(f"/history/{prompt_id}")))
    messages = dict(server.get(f"/history/{prompt_id}")[prompt_id]["status"]["messages"])
    assert "execution_interrupted" in messages, messages


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupted_run_goes_on_where_it_stopped(trainer: Server) -> None:
    long: dict[str, Any] = {"name": "stopped", "save_every": 10**6}
    interrupted(trainer, training(steps=10**6, **long))
    before = losses(trainer, "stopped")
    assert 0 < len(before) < 10**5
    trainer.run(training(steps=len(before) + 2, **long))
    assert losses(trainer, "stopped")[: len(before)] == before
    assert len(losses(trainer, "stopped")) == len(before) + 2
    assert f"Training stopped: step {len(before) + 1} of" in trainer.log()


def test_pictures_are_encoded_once_for_all_runs(trainer: Server) -> None:
    trainer.run(training(name="first"))
    shards = list((trainer.base / "output" / "ip_adapter_training" / "_features").rglob("shard-*"))
    trainer.run(training(name="second"))
    assert list((trainer.base / "output" / "ip_adapter_training" / "_features").rglob("shard-*")) == shards


def refused(server: Server, graph: Graph, node: str = "train") -> str:
    """The message of the node that fails, a sentence for people."""
    with pytest.raises(ExecutionError) as failed:
        server.run(graph)
    assert failed.value.node_id == node
    assert not re.search(r"Traceback|tensor\(|object at 0x", failed.value.message)
    return failed.value.message


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no such data set": ({"dataset": "nowhere"}, "nowhere does not exist. Needed is a folder of pictures"),
    "no data set": ({"dataset": " "}, "Write dataset as the path of a folder"),
    "no pictures": ({"dataset": "empty"}, "none were found in .*empty. Needed is a folder"),
    "unreadable": ({"dataset": "broken"}, "of 2 none can, .* 0.png: the file is no picture"),
    "name": ({"name": "../out"}, "Set name to letters and digits, .* '../out' cannot name a run"),
    "a long name": ({"name": "x" * 300}, "'x+…' cannot name a run"),
    "half a letter": ({"dataset": "\ud83d"}, "Write dataset anew: .*ud83d.* cannot be written as UTF-8"),
    "too many shards": ({"dataset": "x-{0000..99999999}.tar"}, r"Name 1 to 1000000 shards.* names 100000000\."),
    "no number": ({"learning_rate": float("nan")}, "Set learning_rate to a finite number such as .*; found nan"),
    "drops": ({"drop_text": 0.9, "drop_image": 0.9}, "add up to more than 1"),
}


@pytest.mark.parametrize(("settings", "says"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_trained_on_is_refused(trainer: Server, settings: dict[str, Any], says: str) -> None:
    (trainer.base / "input" / "empty").mkdir(exist_ok=True)
    broken = trainer.base / "input" / "broken"
    broken.mkdir(exist_ok=True)
    for number in range(2):
        (broken / f"{number}.png").write_text("no picture")
    message = refused(trainer, training(**({"name": "refused"} | settings)))
    assert re.search(says, message), message
    assert not (trainer.base / "output" / "ip_adapter_training" / "refused").exists()


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (PLUS, "is plus, .*, and this training is base, .*16 layers, context 64"),
        (named("sd15.safetensors"), r"4 layers, context 768.*, and this training is base, .*16 layers, context 64"),
    ],
)
def test_an_adapter_of_another_kind_or_model_is_refused(trainer: Server, file: str, says: str) -> None:
    graph = training(name="refused")
    graph["train"]["inputs"]["ip_adapter"] = graph.add("IPA_LoadAdapter", "start", file=file)[0]
    message = refused(trainer, graph)
    assert re.search(says, message), message
    assert message.startswith("Connect an adapter of the same kind, model and encoder, or none to begin a new one;")


def test_an_adapter_of_another_encoder_is_refused(trainer: Server) -> None:
    graph = training(name="refused", encoder=named("wide.safetensors"))
    graph["train"]["inputs"]["ip_adapter"] = graph.add("IPA_LoadAdapter", "start", file=BASE)[0]
    assert re.search(r"\(width 32\), and this training is .* of width 48", refused(trainer, graph))


def test_changed_pictures_are_noticed_by_the_same_graph(trainer: Server) -> None:
    folder = draw_pictures(trainer.base / "input" / "changing", 2)
    graph = training(name="changing", dataset="changing")
    trainer.run(graph)
    assert "train" in trainer.run(graph).cached
    (folder / "0.txt").write_text("another caption")
    assert "holds a training on other pictures or captions than there are now" in refused(trainer, graph)
    trainer.run(training(name="changed", dataset="changing"))


def test_a_run_with_other_settings_needs_another_name(trainer: Server) -> None:
    trainer.run(training(name="settled"))
    assert "with learning_rate 0.001; this one has learning_rate 0.01" in refused(
        trainer, training(name="settled", learning_rate=0.01)
    )


@pytest.mark.parametrize("prefix", ["../out", "/tmp/out", "", "folder/"])
def test_a_name_outside_the_folder_is_refused(trainer: Server, prefix: str) -> None:
    message = refused(trainer, saved(training(name="settled"), prefix), "save")
    assert f"{prefix!r} is no name there" in message
