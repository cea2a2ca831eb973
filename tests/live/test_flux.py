"""The template for Flux on a server: the stock loaders read its miniatures, and its image prompt does what λ says."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from develop import demo_graph
from fabricate import adapters, flux, siglip
from live.miniatures import shrunk
from live.models import fabricate_models
from live.pictures import draw_inputs
from live.server import PACKS, Server
from live.ui_graphs import place, read, to_prompt
from package import SUPPORT

NAME = "flux_image_prompt"
runs = count()
SMALL = {"width": 64, "height": 64, "steps": 3, "seed": 7}


INSTANTX, SIGLIP = "ip-adapter_flux_instantx.bin", "siglip-so400m-patch14-384.safetensors"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that can build a small SigLIP, with InstantX's adapter in half precision beside the files of all tests.

    It is one of its own, as the others shall start without timm, which that encoder needs.
    """
    base = tmp_path_factory.mktemp("flux")
    models, tiny = base / "models", flux.TINY
    fabricate_models(models)
    widths = (tiny.width,) * (tiny.double + tiny.single)
    nested = adapters.counted(adapters.adapter("InstantX Flux", widths, tiny.context, siglip.WIDTH, tokens=16))
    adapters.save(models / "ipadapter" / INSTANTX, nested, torch.bfloat16)
    siglip.tiny_siglip(models / "clip_vision" / SIGLIP)
    with Server(base, packs={**PACKS, "tinysiglip": SUPPORT / "tinysiglip"}) as server:
        draw_inputs(base / "input")
        yield server


@pytest.fixture(scope="module", params=["XLabs", "InstantX"])
def prompt(server: Server, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The template as the editor would send it, small, with either adapter."""
    given = shrunk(to_prompt(read(place(NAME)), server.object_info()), SMALL)
    if request.param == "XLabs":
        return given
    return with_inputs(with_inputs(given, "IPA_LoadAdapter", file=INSTANTX), "IPA_LoadVision", file=SIGLIP)


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
    return server.run(with_inputs(prompt, "SaveImage", filename_prefix=f"flux_{next(runs)}_{name}")).image(saver)


@pytest.fixture(scope="module")
def bare(server: Server, prompt: dict[str, Any]) -> np.ndarray:
    """The picture of the model alone."""
    return picture(server, with_inputs(prompt, "KSampler", model=[of(prompt, "UNETLoader"), 0]), "bare")


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
    alone = with_inputs(prompt, "KSampler", model=[of(prompt, "UNETLoader"), 0])
    assert not np.array_equal(picture(server, with_inputs(alone, "CLIPTextEncode", text="a cat"), "text"), bare)


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
