"""Every input of every node with values that make no sense: an answer in words each time, and the queue goes on."""

import os
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save

from fabricate.adapters import tiny_adapter
from fabricate.towers import tiny_tower
from live.every_input import GIVES, Case, cases, good, nodes
from live.graphs import Graph, text_to_image
from live.models import fabricate_models
from live.published import of_kind
from live.results import ValidationError
from live.server import Server

LATIN = os.fsdecode(b"caf\xe9")
"""A file name that is no UTF-8."""

PYTHONS = re.compile(
    r"Traceback|object at 0x|positional argument|has no attribute|not subscriptable|unsupported operand|NoneType|"
    r"codec can't|surrogates|embedded null|Errno|must be real number|not in the subpath|invalid literal|unexpected "
    r"keyword|not iterable|out of range|tensor\(|KeyError|TypeError|\n\s*\n"
)
"""What Python says, not we."""

RAISED = ("", "ValueError", "UnsupportedCheckpoint", "ModuleNotFoundError")
LONGEST = 6_000  # letters, of a message that lists the files of a folder


class Answer(NamedTuple):
    """How a server answers a graph: what it says of the node, whether it says so before anything runs, and where."""

    said: tuple[str, ...]
    before: bool = False
    node: str = "node"
    raised: str = ""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("every")
    fabricate_models(base / "models")
    for folder in ("face_embeds", "image_prompts"):
        (base / "models" / folder).mkdir()
    np.save(base / "models" / "face_embeds" / "me.npy", np.full((1, 512), 0.5, np.float32))
    with Server(base) as server:
        yield server


@pytest.fixture(scope="module")
def described(own: Server) -> dict[str, Any]:
    return own.object_info()


def asked(server: Server, graphs: list[Graph]) -> list[Answer]:
    """The answers to graphs that are handed in all at once."""
    handed = [_handed(server, graph) for graph in graphs]
    return [one if isinstance(one, Answer) else _awaited(server, one) for one in handed]


def _handed(server: Server, graph: Graph) -> Answer | str:
    try:
        return server.queue(graph)
    except ValidationError as refused:
        return _refusal(refused.node_errors.get("node", {}).get("errors", []))


def _refusal(errors: list[dict[str, Any]]) -> Answer:
    """What we said before anything ran; core's own checks have words of their own."""
    assert errors
    assert not [error for error in errors if error["type"].startswith("exception_during")]
    return Answer(tuple(error["details"] for error in errors if error["type"] == "custom_validation_failed"), True)


def _awaited(server: Server, prompt_id: str) -> Answer:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        server.check_alive()
        if entry := server.get(f"/history/{prompt_id}").get(prompt_id):
            messages = dict(entry["status"]["messages"])
            failed = messages.get("execution_error")
            if failed is None:
                return Answer(())
            said = failed["exception_message"].strip()
            return Answer((said,), node=failed["node_id"].split(".")[0], raised=failed["exception_type"])
        time.sleep(0.01)
    raise TimeoutError(f"No answer within a minute. The log ends:\n{server.log()[-3000:]}")


def complaints(case: Case, answer: Answer) -> list[str]:
    """What is wrong with an answer."""
    found = [f"in Python's words: {said}" for said in answer.said if PYTHONS.search(said)]
    found += [f"too long: {len(said)}" for said in answer.said if len(said) > LONGEST]
    found += [f"no sentence: {said}" for said in answer.said if said.rstrip()[-1:] not in (".", ")", "”")]
    found += ["said several times"] if len(answer.said) > 1 else []
    found += (
        [f"raised {answer.raised}"] if answer.raised not in ("", "ValueError") and "Unsupp" not in answer.raised else []
    )
    found += [f"on the node {answer.node}"] if answer.node != "node" else []
    for said in answer.said:
        said.encode("utf-8")
    return [f"{case}: {what}" for what in found]


def test_every_type_of_socket_of_ours_has_something_that_gives_it(described: dict[str, Any]) -> None:
    assert len(nodes(described)) > 20
    lacking = {kind for node in nodes(described).values() for kind in node["output"]} - {*GIVES, "STRING", "FLOAT"}
    assert not lacking


def test_every_wrong_input_is_answered_in_words_and_a_good_graph_runs_afterwards(
    own: Server, described: dict[str, Any]
) -> None:
    before = own.run(text_to_image()).image()
    every = list(cases(described))
    answers = asked(own, [case.graph for case in every])
    wrong = [what for case, answer in zip(every, answers, strict=True) for what in complaints(case, answer)]
    assert not wrong, f"{len(wrong)} of {len(every)}:\n" + "\n".join(wrong[:60])
    assert 0 < sum(answer.before for answer in answers) < len(every)
    assert np.array_equal(own.run(text_to_image()).image(), before)


def test_null_for_what_may_be_left_out_is_as_leaving_it_out(own: Server, described: dict[str, Any]) -> None:
    ours = nodes(described)
    nulls = [case for case in cases(described) if case.same_as_left_out]
    without = dict(zip(ours, asked(own, [good(kind, node) for kind, node in ours.items()]), strict=True))
    answers = asked(own, [case.graph for case in nulls])
    assert len(nulls) > 20
    assert {str(case) for case, answer in zip(nulls, answers, strict=True) if answer != without[case.kind]} == set()
    assert sum(not answer.said for answer in without.values()) > len(ours) / 2  # most of the graphs are good


FILES = {
    "ipadapter/{}.safetensors": ("IPA_LoadAdapter", tiny_adapter),
    "ipadapter/{}.bin": ("IPA_LoadAdapter", of_kind("FaceID", 3)),
    "clip_vision/{}.safetensors": ("IPA_LoadVision", tiny_tower),
    "face_embeds/{}.npy": ("IPA_FaceEmbeds", lambda path: np.save(path, np.ones(512, np.float32))),
    "face_embeds/{}.safetensors": ("IPA_FaceEmbeds", lambda path: path.write_bytes(save({"a": torch.ones(512)}))),
    "image_prompts/{}.safetensors": ("IPA_LoadPrompt", lambda path: path.write_text("no prompt")),
    "image_prompts/{}.ipadpt": ("IPA_LoadPrompt", lambda path: path.write_text("no embeds")),
}


@pytest.mark.parametrize(("place", "by"), FILES.items(), ids=FILES)
def test_a_file_whose_name_is_no_text_is_read_or_refused_as_what_it_is(own: Server, place: str, by: Any) -> None:
    kind, fabricate = by
    path = own.base / "models" / place.format(LATIN)
    made = path.with_stem("plain")  # fabricators want names that are text
    fabricate(made)
    for file in path.parent.glob("plain.*"):
        file.rename(file.with_name(file.name.replace("plain", LATIN)))
    described = own.object_info(kind)[kind]
    graph = good(kind, described, {"file": path.name})
    (answer,) = asked(own, [graph])
    if "image_prompts" in place:
        assert "caf" in answer.said[0]
        assert not complaints(Case(kind, "file", path.name, graph), answer)
    else:
        assert answer == Answer(())
    assert own.run(text_to_image()).image().any()
