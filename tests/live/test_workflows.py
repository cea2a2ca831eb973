"""Every graph in workflows/ is offered by the server, is valid as it stands, says what it needs, and runs."""

from io import BytesIO
from itertools import combinations, count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from comfyui_ip_adapter.ip_adapter_core.catalogue.downloads import ADAPTER_FILES, ENCODER_FILES
from live.hosts import skip_if_too_old
from live.layout import arranged, sizes
from live.needed_files import PACKS, RENAMED, without
from live.pictures import FACE, MASKED
from live.results import ExecutionError
from live.server import Server
from live.small_world_graphs import twin, with_twin
from live.ui_graphs import (
    NOTES,
    TWIN,
    WORKFLOWS,
    is_valid,
    named,
    originals,
    place,
    read,
    to_prompt,
    twins,
    widget_values,
    workflows,
    working,
)

PACK = "comfyui-ip-adapter"
OURS = {
    "ipadapter": [*ADAPTER_FILES.values(), *RENAMED["ipadapter"]],
    "clip_vision": ENCODER_FILES.values(),
    "insightface": [file for pack in PACKS.values() for file in pack],
}
MODEL_FILES = (".safetensors", ".bin", ".pt", ".ckpt")
SMALL = {"width": 64, "height": 64, "steps": 3, "megapixels": 0.01}
AS_IS: dict[str, Any] = {}  # of the twins, which are small already
SHIPPED = WORKFLOWS.parent / "models" / "small_world"
WEIGHTS = {  # what λ is called on the nodes that apply prompts
    "IPA_Apply": ("weight",),
    "IPA_InstantIDControl": ("strength",),
    "IPA_Simple": ("weight",),
    "IPA_Region": ("weight",),
    "IPA_Moodboard": ("weight",),
    "IPA_StyleComposition": ("style_weight", "composition_weight"),
}
TITLE = 30  # height of a node's title bar, which lies above its position

each_workflow = pytest.mark.parametrize("path", workflows(), ids=named)
each_original = pytest.mark.parametrize("path", originals(), ids=named)
each_with_twin = pytest.mark.parametrize("path", with_twin(), ids=named)
each_twin = pytest.mark.parametrize("path", twins(), ids=named)
runs = count()


@pytest.fixture(scope="module")
def described(server: Server) -> dict[str, Any]:
    """What the server knows of every node type, asked as the editor does that opens the graphs of the demo."""
    server.post("/ip_adapter/demo_files", [read(path) for path in twins()])
    return server.object_info()


def edited(prompt: dict[str, Any], values: dict[str, Any], weight: float | None = None) -> dict[str, Any]:
    """The prompt with other values by input, with uploads that have a mask or a face where one is read, and perhaps
    another weight.

    Every prompt saves under a name of its own: before 0.30 a picture that comes from the cache is not reported.
    """
    masks = {link[0] for node in prompt.values() for link in node["inputs"].values() if is_mask(prompt, link)}
    faces = any(node["class_type"] == "IPA_Face" for node in prompt.values())
    changed = {}
    for node_id, node in prompt.items():
        inputs = node["inputs"] | {name: value for name, value in values.items() if name in node["inputs"]}
        if node_id in masks:
            inputs["image"] = MASKED
        if faces and node["class_type"] == "LoadImage":
            inputs["image"] = FACE
        if weight is not None:
            inputs |= dict.fromkeys(WEIGHTS.get(node["class_type"], ()), weight)
        if node["class_type"] == "SaveImage":
            inputs["filename_prefix"] = f"workflow{next(runs)}"
        changed[node_id] = node | {"inputs": inputs}
    return changed


def is_mask(prompt: dict[str, Any], link: Any) -> bool:
    """Whether an input is the second output of a LoadImage."""
    return isinstance(link, list) and link[1] == 1 and prompt[link[0]]["class_type"] == "LoadImage"


def picture(server: Server, prompt: dict[str, Any]) -> np.ndarray:
    """The pictures that the prompt saves, (pictures, height, width, channels)."""
    (saver,) = (node_id for node_id, node in prompt.items() if node["class_type"] == "SaveImage")
    return np.stack(server.run(prompt).images(saver))


def files_of(node: dict[str, Any], described: dict[str, Any]) -> set[str]:
    """The model files that a node's widgets name."""
    values = [value for _, value in widget_values(node, described[node["type"]])]
    return {value for value in values if isinstance(value, str) and value.endswith(MODEL_FILES)}


def models(node: dict[str, Any]) -> list[dict[str, str]]:
    """The model files that a node says it needs, each with its name, url and directory."""
    needed: list[dict[str, str]] = node["properties"].get("models", [])
    return needed


def box(node: dict[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a node with its title, which is all that is seen of a collapsed one."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y if node["flags"].get("collapsed") else y + height


@each_workflow
def test_it_has_the_title_of_the_table(path: Path) -> None:
    assert path == place(named(path))


def test_the_graph_that_teaches_first_is_listed_first() -> None:
    assert [named(path) for path in workflows()][:2] == [f"{TWIN}image_prompt_in_one_node", "image_prompt_in_one_node"]


@each_workflow
def test_it_lies_where_the_layout_puts_it(path: Path) -> None:
    assert read(path) == arranged(read(path), sizes())


@each_workflow
def test_none_of_its_nodes_is_deprecated(described: dict[str, Any], path: Path) -> None:
    assert not [node["type"] for node in working(read(path)) if described[node["type"]].get("deprecated")]


def test_there_are_workflows() -> None:
    assert len(originals()) >= 12
    assert len(with_twin()) >= 7
    assert len(workflows()) == len(originals()) + len(twins())


@each_with_twin
def test_it_has_a_twin_in_the_small_world_that_is_derived_from_it(path: Path) -> None:
    assert read(place(TWIN + named(path))) == arranged(twin(read(path), named(path)), sizes())


@each_with_twin
def test_making_the_twin_leaves_the_graph_as_it_was(path: Path) -> None:
    graph = read(path)
    twin(graph, named(path))
    assert graph == read(path)


def test_every_twin_has_a_graph_that_it_is_the_twin_of() -> None:
    assert {named(path).removeprefix(TWIN) for path in twins()} == {named(path) for path in with_twin()}


@each_twin
def test_it_takes_models_that_the_package_brings_and_no_upload(described: dict[str, Any], path: Path) -> None:
    shipped = {file.name for file in SHIPPED.rglob("*.safetensors")}
    nodes = working(read(path))
    assert not [node["type"] for node in nodes if node["type"].startswith("LoadImage") or models(node)]
    wanted = {name for node in nodes for name in files_of(node, described)}
    assert wanted
    assert wanted <= shipped


@each_workflow
def test_the_server_offers_it_as_a_template_with_a_thumbnail(server: Server, path: Path) -> None:
    assert path.stem in server.get("/workflow_templates")[PACK]
    assert server.get(f"/api/workflow_templates/{PACK}/{quote(path.name)}") == read(path)
    thumbnail = server.fetch(f"/api/workflow_templates/{PACK}/{quote(path.stem)}.jpg")
    assert 400 <= Image.open(BytesIO(thumbnail)).width <= 600
    assert len(thumbnail) < 60_000


@each_workflow
def test_the_server_knows_its_node_types_and_takes_its_values(described: dict[str, Any], path: Path) -> None:
    for node in working(without(read(path))):
        assert node["type"] in described
        wrong = {w.name: value for w, value in widget_values(node, described[node["type"]]) if not is_valid(w, value)}
        assert not wrong, node["type"]


@each_original
def test_each_model_file_has_a_place_to_download_it_from(described: dict[str, Any], path: Path) -> None:
    for node in working(read(path)):
        assert files_of(node, described) <= {model["name"] for model in models(node)}, node["type"]


@each_original
def test_the_downloads_are_the_published_ones_and_the_files_of_the_tests(server: Server, path: Path) -> None:
    for model in (model for node in working(read(path)) for model in models(node)):
        place = server.base / "models" / model["directory"] / model["name"]
        assert (place.parent if model["directory"] == "insightface" else place).exists()
        if model["directory"] in OURS:
            assert (model["name"], model["url"]) in OURS[model["directory"]]
        elif (model["name"], model["url"]) not in RENAMED.get(model["directory"], ()):
            assert model["url"].startswith("https://")
            assert model["url"].endswith(model["name"])


@each_workflow
def test_a_note_explains_it_and_no_node_covers_another(path: Path) -> None:
    nodes = read(path)["nodes"]
    assert [node for node in nodes if node["type"] in NOTES]
    for one, other in combinations(nodes, 2):
        (left, top, right, bottom), (x0, y0, x1, y1) = box(one), box(other)
        assert x1 <= left or right <= x0 or y1 <= top or bottom <= y0, (one["type"], other["type"])


@each_workflow
def test_it_runs_and_its_image_prompts_change_the_picture(
    server: Server, described: dict[str, Any], path: Path
) -> None:
    skip_if_too_old(server, named(path))
    prompt, values = to_prompt(read(path), described), AS_IS if path in twins() else SMALL
    prompted = picture(server, edited(prompt, values))
    assert prompted.std() > 5
    if any(node["class_type"] == "IPA_AttentionMap" for node in prompt.values()):
        with pytest.raises(ExecutionError, match="carries no image prompt"):
            picture(server, edited(prompt, values, 0.0))
    else:
        assert not np.array_equal(prompted, picture(server, edited(prompt, values, 0.0)))
