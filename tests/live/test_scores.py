"""Score Images on a server: OpenCLIP's own numbers, what the node shows, and what it refuses in words."""

import json
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity

from live import specimens
from live.graphs import Graph
from live.listening import run_listening
from live.prompting import blobs, load
from live.results import ExecutionError, Result
from live.server import Server
from package import ROOT

SMALL_WORLD = ROOT / "models" / "small_world"
CLIP = SMALL_WORLD / "clip_vision" / "small_world_clip.safetensors"
TEXTS = ["a red circle", "a green star on a blue background"]
PICTURES = ("score1.png", "score2.png", "score3.png")
SLOTS = ("clip_i", "clip_t", "scores")


@pytest.fixture(scope="module")
def scored(stocked: Server) -> Server:
    """The shared server with pictures of the small encoder's own size, so that nothing has to be fitted."""
    for seed, name in enumerate(PICTURES, start=10):
        Image.fromarray(blobs(seed, 32, 32)).save(stocked.base / "input" / name)
    return stocked


def graph(encoder: str = CLIP.name, references: int = 2, texts: str = "\n".join(TEXTS), **more: Any) -> Graph:
    """The first picture twice and the third, scored against the first ones."""
    made = Graph()
    tower = made.add("IPA_LoadVision", "tower", file=encoder, activation="auto")
    given: dict[str, Any] = {"pictures": load(made, PICTURES[0], PICTURES[2]), "texts": texts} | more
    if references:
        given["references"] = load(made, *PICTURES[:references])
    score = made.add("IPA_Score", "score", clip_vision=tower, **given)
    for slot, name in enumerate(SLOTS):
        made.add("PreviewAny", name, source=score[slot])
    made.add("SaveImage", "table", images=score[3], filename_prefix="score")
    return made


def said(result: Result, name: str) -> str:
    text: str = result.outputs[name]["text"][0]
    return text


def wanted() -> tuple[torch.Tensor, torch.Tensor]:
    """CLIP-I and CLIP-T as OpenCLIP's own model has them."""
    model = open_clip.CLIP(**json.loads(CLIP.with_suffix(".json").read_text())["model_cfg"])
    model.load_state_dict({name: value.float() for name, value in load_file(CLIP).items()})
    mean, std = (
        torch.tensor(part)[:, None, None] for part in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    pictures = torch.stack([torch.from_numpy(blobs(seed, 32, 32)).movedim(-1, 0) / 255 for seed in (10, 11, 12)])
    tokens = SimpleTokenizer(bpe_path=str(SMALL_WORLD / "tokenizer" / "merges.txt.gz"), context_length=32)(TEXTS)
    with torch.no_grad():
        images, texts = model.eval().encode_image((pictures - mean) / std), model.encode_text(tokens)
    mine = images[[0, 2]]
    return tuple(cosine_similarity(mine[:, None], other[None], dim=-1) for other in (images[:2], texts))  # type: ignore[return-value]


def test_the_numbers_are_those_of_openclip(scored: Server) -> None:
    result = scored.run(graph())
    clip_i, clip_t = wanted()
    assert float(said(result, "clip_i")) == pytest.approx(float(clip_i.mean()), abs=1e-5)
    assert float(said(result, "clip_t")) == pytest.approx(float(clip_t.mean()), abs=1e-5)
    head, _, *rows, _ = said(result, "scores").splitlines()
    assert head == f"| picture | reference 1 | reference 2 | {TEXTS[0]} | {TEXTS[1]} |"
    found = np.array([[float(number) for number in row.strip("| ").split(" | ")[1:]] for row in rows])
    assert np.allclose(found, torch.cat([clip_i, clip_t], dim=1).numpy(), atol=6e-5)
    assert found[0, 0] == 1  # a picture and itself
    assert result.image("table").shape[1] > 4 * 100


def test_the_node_shows_its_table_and_its_means(scored: Server) -> None:
    shown = run_listening(scored, graph(texts=TEXTS[0]))["score"]
    clip_i, clip_t = wanted()
    assert shown["text"] == [f"CLIP-I {clip_i.mean():.4f}, CLIP-T {clip_t[:, 0].mean():.4f}"]
    assert len(shown["images"]) == 1


def test_without_one_of_them_there_is_one_number(scored: Server) -> None:
    only_texts, only_references = (scored.run(graph(**given)) for given in ({"references": 0}, {"texts": " \n"}))
    assert said(only_texts, "clip_i") == said(only_references, "clip_t") == "nan"
    assert float(said(only_texts, "clip_t")) == pytest.approx(float(wanted()[1].mean()), abs=1e-5)
    assert float(said(only_references, "clip_i")) == pytest.approx(float(wanted()[0].mean()), abs=1e-5)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to compare with": ({"references": 0, "texts": ""}, "Connect references, or write a text into texts"),
    "no text half": (
        {"encoder": specimens.named("tower.safetensors")},
        "Connect a CLIP of the encoder's family to clip",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_scored_is_told(scored: Server, case: str) -> None:
    given, words = REFUSED[case]
    with pytest.raises(ExecutionError) as failure:
        scored.run(graph(**given))
    assert failure.value.node_id == "score"
    assert failure.value.message.startswith(words)


def test_a_clip_without_its_projection_is_told(scored: Server) -> None:
    """ComfyUI's SD1.5 gives texts before the projection, of the width that pictures have after theirs."""
    made = graph()
    made["score"]["inputs"]["clip"] = made.add("CheckpointLoaderSimple", "loader", ckpt_name="tiny.safetensors")[1]
    with pytest.raises(ExecutionError, match="Connect a CLIP that was published with its projection"):
        scored.run(made)
