"""The templates for Flux, SD3.5 and Anima on a server: stock loaders read their miniatures, and λ does what it says."""

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from develop import demo_graph
from fabricate import adapters, flux, siglip
from live.hosts import skip_if_too_old
from live.miniatures import shrunk
from live.models import fabricate_models
from live.pictures import draw_inputs
from live.published import SD35_ADAPTER, SIGLIP, instantx_sd35
from live.server import PACKS, Server
from live.ui_graphs import place, read, to_prompt
from package import SUPPORT

NAME = "flux_image_prompt"
INSTANTX = "ip-adapter_flux_instantx.bin"
SMALL = {"width": 64, "height": 64, "steps": 3, "seed": 7}
runs = count()


class Case(NamedTuple):
    """A template by its plain name, and other files than its own, by type of node."""

    graph: str
    files: tuple[tuple[str, str], ...] = ()


CASES = {
    "XLabs": Case(NAME),
    "InstantX": Case(NAME, (("IPA_LoadAdapter", INSTANTX), ("IPA_LoadVision", SIGLIP))),
    "SD3.5": Case("sd35_image_prompt"),
    "Anima": Case("anima_image_prompt"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that can build a small SigLIP, with InstantX's adapters for it beside the files of all tests, that for
    Flux in half precision.

    It is one of its own, as the others shall start without timm, which that encoder needs.
    """
    base = tmp_path_factory.mktemp("newer")
    models, tiny = base / "models", flux.TINY
    fabricate_models(models)
    widths = (tiny.width,) * (tiny.double + tiny.single)
    nested = adapters.counted(adapters.adapter("InstantX Flux", widths, tiny.context, siglip.WIDTH, tokens=16))
    adapters.save(models / "ipadapter" / INSTANTX, nested, torch.bfloat16)
    siglip.tiny_siglip(models / "clip_vision" / SIGLIP)
    instantx_sd35(models / "ipadapter" / SD35_ADAPTER, siglip.WIDTH)
    with Server(base, packs={**PACKS, "tinysiglip": SUPPORT / "tinysiglip"}) as server:
        draw_inputs(base / "input")
        yield server


@pytest.fixture(scope="module", params=CASES)
def prompt(server: Server, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The template of a case as the editor would send it, small."""
    graph, files = CASES[request.param]
    skip_if_too_old(server, graph)
    given = shrunk(to_prompt(read(place(graph)), server.object_info()), SMALL)
    for kind, file in files:
        given = with_inputs(given, kind, file=file)
    return given


def of(prompt: dict[str, Any], kind: str) -> str:
    """The number of the one node of a type."""
    (number,) = (number for number, node in prompt.items() if node["class_type"] == kind)
    return number


def with_inputs(prompt: dict[str, Any], kind: str, **inputs: Any) -> dict[str, Any]:
    """The prompt with other inputs of the one node of a type."""
    number = of(prompt, kind)
    return {**prompt, number: {**prompt[number], "inputs": prompt[number]["inputs"] | inputs}}


def picture(server: Server, prompt: dict[str, Any], name: str) -> np.ndarray:
    """What the prompt saves, under a name of its own."""
    saver = of(prompt, "SaveImage")
    return server.run(with_inputs(prompt, "SaveImage", filename_prefix=f"newer_{next(runs)}_{name}")).image(saver)


def alone(prompt: dict[str, Any]) -> dict[str, Any]:
    """The prompt whose sampler has the model without the image prompt."""
    return with_inputs(prompt, "KSampler", model=prompt[of(prompt, "IPA_Apply")]["inputs"]["model"])


@pytest.fixture(scope="module")
def bare(server: Server, prompt: dict[str, Any]) -> np.ndarray:
    """The picture of the model alone."""
    return picture(server, alone(prompt), "bare")


def test_at_weight_0_the_picture_is_that_of_the_model_alone_bit_for_bit(
    server: Server, prompt: dict[str, Any], bare: np.ndarray
) -> None:
    assert bare.std() > 5
    assert np.array_equal(picture(server, with_inputs(prompt, "IPA_Apply", weight=0.0), "zero"), bare)


def test_the_picture_moves_further_away_with_the_weight(
    server: Server, prompt: dict[str, Any], bare: np.ndarray
) -> None:
    weights = (0.0, 0.1, 0.5, 1.0)
    found = [picture(server, with_inputs(prompt, "IPA_Apply", weight=weight), f"at{weight}") for weight in weights]
    moved = [np.abs(one.astype(float) - bare).mean() for one in found]
    assert moved == sorted(set(moved)), moved


def test_both_adapters_act_on_one_model_in_either_order(server: Server) -> None:
    given = shrunk(to_prompt(read(place(NAME)), server.object_info()), SMALL)
    numbers = [of(given, kind) for kind in ("IPA_LoadAdapter", "IPA_LoadVision", "IPA_Encode", "IPA_Apply")]
    loader, vision, encode, apply = numbers
    more = {f"second {number}": given[number] for number in numbers}
    for number, file in ((loader, INSTANTX), (vision, SIGLIP)):
        more[f"second {number}"] = {**given[number], "inputs": given[number]["inputs"] | {"file": file}}
    links = {"ip_adapter": [f"second {loader}", 0], "clip_vision": [f"second {vision}", 0]}
    more[f"second {encode}"] = {**given[encode], "inputs": given[encode]["inputs"] | links}
    model, second = given[apply]["inputs"]["model"], [f"second {encode}", 0]

    def chain(first: Any, last: Any) -> np.ndarray:
        start = {**given[apply], "inputs": given[apply]["inputs"] | {"model": model, "image_prompt": first}}
        end = {"model": [f"second {apply}", 0], "image_prompt": last}
        both = {**given, **more, f"second {apply}": start}
        return picture(server, with_inputs_of(both, apply, end), "both")

    one, other = chain([encode, 0], second), chain(second, [encode, 0])
    assert np.abs(one.astype(float) - other).max() <= 1
    assert not np.array_equal(one, picture(server, given, "one"))


def with_inputs_of(prompt: dict[str, Any], number: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The prompt with other inputs of one node."""
    return {**prompt, number: {**prompt[number], "inputs": prompt[number]["inputs"] | inputs}}


def test_another_text_makes_another_picture(server: Server, prompt: dict[str, Any], bare: np.ndarray) -> None:
    number = prompt[of(prompt, "KSampler")]["inputs"]["positive"][0]
    while prompt[number]["class_type"] != "CLIPTextEncode":
        number = prompt[number]["inputs"]["conditioning"][0]
    assert not np.array_equal(picture(server, with_inputs_of(alone(prompt), number, {"text": "a cat"}), "text"), bare)


def test_the_demo_runs_it_says_that_it_is_noise_and_writes_a_picture(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_graph, "PLACE", tmp_path)
    monkeypatch.setattr("sys.argv", ["demo_graph.py", "flux-image-prompt"])
    demo_graph.main()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(str(tmp_path / f"{NAME}.png"))
    assert said[1].startswith("The picture is noise")
    assert (tmp_path / f"{NAME}.png").stat().st_size > 10_000
