"""The ground the live tests stand on: stock ComfyUI runs, repeats itself, and reacts to what it is given."""

from pathlib import Path

import numpy as np
import pytest

from live.graphs import Graph, control, text_to_image
from live.results import ExecutionError, ValidationError
from live.server import Server, prepare
from package import ROOT


def test_the_stock_graph_makes_a_picture_with_something_in_it(server: Server) -> None:
    picture = server.run(text_to_image()).image()
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 5
    assert 40 < picture.mean() < 215


def test_the_same_seed_repeats_bit_for_bit_and_another_differs(server: Server) -> None:
    first = server.run(text_to_image(seed=1)).image()
    other = server.run(text_to_image(seed=2)).image()
    again = server.run(text_to_image(seed=1))
    assert "sampler" not in again.cached
    assert np.array_equal(again.image(), first)
    assert not np.array_equal(other, first)


def test_an_unchanged_loader_comes_from_the_cache(server: Server) -> None:
    server.run(text_to_image(seed=3))
    assert "loader" in server.run(text_to_image(seed=4)).cached


def test_the_text_changes_the_picture(server: Server) -> None:
    apple, sea = (server.run(text_to_image(text=text)).image() for text in ("a red apple", "the sea at night"))
    assert not np.array_equal(apple, sea)


def test_a_controlnet_changes_the_picture(server: Server) -> None:
    plain = server.run(text_to_image()).image()
    controlled = server.run(text_to_image(conditioning_hook=control)).image()
    assert not np.array_equal(plain, controlled)


def test_the_inpainting_model_makes_a_picture(server: Server) -> None:
    picture = server.run(text_to_image(checkpoint="tiny_inpaint.safetensors")).image()
    assert picture.std() > 5


def test_an_uploaded_picture_comes_back_as_it_was(server: Server) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    graph = Graph()
    loaded = graph.add("LoadImage", image=server.upload("noise.png", picture))
    graph.add("SaveImage", "saved", images=loaded, filename_prefix="test")
    assert np.array_equal(server.run(graph).image("saved"), picture)


def test_a_refused_graph_tells_the_node_and_the_input(server: Server) -> None:
    with pytest.raises(ValidationError) as refused:
        server.run(text_to_image(steps="many"))
    assert refused.value.node_errors["sampler"]["errors"][0]["extra_info"]["input_name"] == "steps"


def test_a_failing_node_is_named_with_its_message(server: Server) -> None:
    (server.base / "models" / "checkpoints" / "broken.safetensors").write_text("not a checkpoint")
    with pytest.raises(ExecutionError) as failed:
        server.run(text_to_image(checkpoint="broken.safetensors"))
    assert (failed.value.node_id, failed.value.node_type) == ("loader", "CheckpointLoaderSimple")
    assert "header" in failed.value.message


def test_the_package_is_loaded_without_a_failure(server: Server) -> None:
    ours = [line for line in server.log().splitlines() if "comfyui-ip-adapter" in line]
    assert ours
    assert not [line for line in ours if "FAILED" in line or "Error" in line or "Cannot import" in line]


def test_the_help_page_of_every_node_is_handed_out(server: Server) -> None:
    ours = [id for id, node in server.object_info().items() if id.startswith("IPA_") and not node["dev_only"]]
    assert ours
    for node in ours:
        page = (ROOT / "web" / "docs" / f"{node}.md").read_bytes()
        assert server.fetch(f"/extensions/comfyui-ip-adapter/docs/{node}.md") == page, node


def test_a_package_whose_folder_has_moved_is_linked_anew(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("before", "after")]
    for place in places:
        place.mkdir()
        prepare(tmp_path / "base", {"pack": place})
        assert (tmp_path / "base" / "custom_nodes" / "pack").resolve() == place
