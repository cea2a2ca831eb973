"""`make demo GRAPH=…`: which graph a name means, and how its pictures are laid out."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from develop import demo_graph
from develop.demo_graph import NoGraphError, chosen
from live import server
from live.miniatures import MINIATURES, drawn, shrunk, stock
from live.small_world_graphs import with_twin
from live.thumbnails import MARGIN, Saved, contact, sheet
from live.titles import TITLES, TWIN
from live.ui_graphs import named, originals, place, read, twins

SCRIPT = Path(demo_graph.__file__)
WITHOUT_TWIN = sorted({named(path) for path in originals()} - {named(path) for path in with_twin()} - MINIATURES.keys())


def picture(level: int, size: tuple[int, int] = (256, 256)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def places(paper: Image.Image, level: int) -> np.ndarray:
    """Where a grey picture lies on a sheet, as (pixels, row and column)."""
    return np.argwhere((np.asarray(paper) == level).all(axis=-1))


@pytest.mark.parametrize("path", twins(), ids=named)
def test_every_graph_with_a_twin_is_found_by_its_name(path: Path) -> None:
    name = named(path).removeprefix(TWIN)
    assert chosen(name) == (name, path)


@pytest.mark.parametrize(
    "wish",
    [
        "two_adapters",
        "two-adapters",
        "Two Adapters",
        " two-adapters ",
        "small_world_two_adapters",
        "small-world-two-adapters",
        "two_adapters.json",
        "workflows/small_world_two_adapters.json",
        "IP-Adapter 08 Two adapters",
        "workflows/IP-Adapter 08 Two adapters (demo).json",
        "workflows\\IP-Adapter 08 Two adapters.json",
        "ip-adapter 08 two adapters (DEMO)",
        "08 Two adapters",
        "8 two adapters (demo)",
        "TWO_ADAPTERS",
        "08",
        "8",
    ],
)
def test_a_name_may_be_written_in_many_ways(wish: str) -> None:
    name, path = chosen(wish)
    assert (name, path.name) == ("two_adapters", "IP-Adapter 08 Two adapters (demo).json")


@pytest.mark.parametrize("wish", ["two subjects", "Two Subjects", "two-subjects"])
def test_a_title_will_do_without_its_number(wish: str) -> None:
    assert chosen(wish)[0] == "regions"


@pytest.mark.parametrize("wish", ["28 Flux", "28", "flux", "flux_image_prompt", "IP-Adapter 28 Flux.json"])
def test_a_graph_with_a_miniature_has_as_many_names(wish: str) -> None:
    assert chosen(wish)[0] == "flux_image_prompt"


def test_no_two_graphs_have_a_name_in_common() -> None:
    called = [one for name in TITLES for one in demo_graph._names(name)]
    assert len(called) == len(set(called))


@pytest.mark.parametrize("name", MINIATURES)
def test_a_graph_with_a_miniature_is_run_as_it_is(name: str) -> None:
    assert chosen(name.replace("_", "-")) == (name, place(name))


@pytest.mark.parametrize("name", MINIATURES)
def test_a_miniature_has_every_file_that_its_graph_names_and_makes_none_again(name: str, tmp_path: Path) -> None:
    graph = read(place(name))
    models = [model for node in graph["nodes"] for model in node["properties"].get("models", [])]
    stock(tmp_path, graph)
    first = files(tmp_path)
    stock(tmp_path, graph)
    assert files(tmp_path) == first
    assert {path.parts[-2:] for path in first} == {(model["directory"], model["name"]) for model in models}
    assert sum(path.stat().st_size for path in first) < 64 << 20


def files(base: Path) -> dict[Path, int]:
    """The model files below a server's folder, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in base.rglob("*.safetensors")}


@pytest.mark.parametrize("name", MINIATURES)
def test_the_reference_of_a_miniature_is_drawn_and_read_as_before(name: str) -> None:
    graph = read(place(name))
    changed = drawn(graph, name)
    assert not [node for node in changed["nodes"] if node["type"] == "LoadImage"]
    assert changed["links"] == graph["links"]
    paper, bare = (sheet(one, [Saved("", [picture(7)])]) for one in (changed, graph))
    assert paper.width > bare.width + 256


def test_only_inputs_that_a_node_has_are_made_smaller() -> None:
    prompt = {"1": {"class_type": "A", "inputs": {"width": 1024, "seed": 3}}, "2": {"class_type": "B", "inputs": {}}}
    small = shrunk(prompt, {"width": 256, "steps": 8})
    assert (small["1"]["inputs"], small["2"]["inputs"]) == ({"width": 256, "seed": 3}, {})
    assert prompt["1"]["inputs"] == {"width": 1024, "seed": 3}


@pytest.mark.parametrize("wish", ["", "sunflower", "two_adapter", "0", "100"])
def test_a_name_without_a_graph_is_answered_with_the_names(wish: str) -> None:
    offered = r"01 One node \(image-prompt-in-one-node\), .*08 Two adapters \(two-adapters\), .*28 Flux"
    with pytest.raises(NoGraphError, match=f"There is no graph called '{wish}'; name one of {offered}"):
        chosen(wish)


@pytest.mark.parametrize("name", WITHOUT_TWIN)
def test_a_graph_that_the_small_world_cannot_run_says_what_it_lacks(name: str) -> None:
    with pytest.raises(
        NoGraphError, match=rf"cannot run {name}: it has no small counterpart of \S+\.(bin|pt|safetensors)"
    ):
        chosen(name)


def test_a_wrong_name_ends_the_command_with_status_two_and_no_traceback() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "sunflower"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("There is no graph called 'sunflower'")


def test_one_picture_stays_as_it_is_beside_every_reference_of_its_graph() -> None:
    graph = read(chosen("two_adapters")[1])
    paper = sheet(graph, [Saved("", [picture(7)])])
    found = places(paper, 7)
    assert len(found) == 256 * 256
    left = paper.crop((0, 0, found[:, 1].min(), paper.height))
    assert len(left.getcolors(1 << 16) or []) > 10
    assert left.width > 2 * 256


def test_a_batch_lies_in_rows_of_at_most_eight_in_order() -> None:
    paper = contact([picture(level) for level in range(16)])
    corners = [tuple(places(paper, level).min(axis=0)) for level in range(16)]
    assert corners == sorted(corners)
    assert len({row for row, _ in corners}) == 2
    assert len({column for _, column in corners}) == 8


def test_wide_pictures_of_a_batch_keep_their_shape() -> None:
    paper = contact([picture(1, (512, 256)), picture(2, (512, 256))])
    height, width = np.ptp(places(paper, 2), axis=0) + 1
    assert width == 2 * height


def test_several_saved_pictures_lie_side_by_side_and_batches_below_each_other() -> None:
    graph = read(chosen("two_adapters")[1])
    across = sheet(graph, [Saved("without", [picture(1)]), Saved("with", [picture(2)])])
    below = sheet(graph, [Saved("first", [picture(1)] * 2), Saved("second", [picture(2)] * 2)])
    assert places(across, 1)[:, 1].max() < places(across, 2)[:, 1].min()
    assert places(below, 1)[:, 0].max() < places(below, 2)[:, 0].min()


def test_a_tiny_picture_is_enlarged_and_its_title_stays_whole() -> None:
    graph = read(chosen("two_adapters")[1])
    short, long = (
        sheet(graph, [Saved(title, [picture(1, (32, 32))]), Saved("x", [picture(2)])]) for title in ("x", "x" * 80)
    )
    assert len(places(short, 1)) == 256 * 256
    assert long.width > short.width + 200


def test_a_text_stays_whole_below_the_pictures() -> None:
    paper = np.asarray(sheet(read(chosen("faceid")[1]), [Saved("", [picture(7)])]).convert("L")).astype(int)
    below = paper[MARGIN + 256 :]
    inked = (below < 150).any(axis=0)
    assert inked.sum() > 200
    assert not inked[: MARGIN // 2].any()
    assert not inked[-MARGIN // 2 :].any()


def test_a_batch_is_an_animation_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_graph, "PLACE", tmp_path)
    saved = [Saved("one", [picture(0)]), Saved("batch", [picture(80), picture(160), picture(240)])]
    written = demo_graph.write_files(read(chosen("two_adapters")[1]), saved, "graph")
    assert [path.name for path in written] == ["graph.png", "graph.gif"]
    with Image.open(written[1]) as animation:
        assert (animation.n_frames, animation.info["loop"]) == (3, 0)


@pytest.mark.parametrize("wish", [None, "3"])
def test_a_demo_has_all_cores_unless_somebody_said_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: str | None
) -> None:
    """A process of the tests has one thread, and so has a server of theirs."""
    monkeypatch.setattr(server, "CHOSEN", wish)
    monkeypatch.setenv(server.THREADS, wish or "1")
    assert server.Server(tmp_path).variables[server.THREADS] == (wish or "1")
    assert server.Server(tmp_path, all_cores=True).variables.get(server.THREADS) == wish
