"""Where model files are found: ComfyUI's folder, the user's extra paths, the package's own; and what starting costs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fabricate.adapters import tiny_adapter
from fabricate.towers import tiny_tower
from live.graphs import Graph, text_to_image
from live.models import fabricate_models
from live.prompting import REFERENCE, Prompted, blobs, difference
from live.server import PACKS, Server

ADAPTERS = {
    "models/ipadapter/in comfyui.safetensors": 1,
    "elsewhere/adapters/in extra.safetensors": 2,
    "elsewhere/adapters/folder/in extra.bin": 3,
    "custom_nodes/comfyui-ip-adapter/models/ipadapter/in package.safetensors": 4,
    "custom_nodes/comfyui-ip-adapter/models/ipadapter/folder/in package too.bin": 5,
}
ENCODERS = ("models/clip_vision", "elsewhere/encoders", "custom_nodes/comfyui-ip-adapter/models/clip_vision")
EXTRA = "user:\n  base_path: {base}/elsewhere\n  ipadapter: adapters\n  clip_vision: encoders\n"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: with extra model paths, and with a package whose `models` folder holds files."""
    base = tmp_path_factory.mktemp("folders")
    packs = install_package(base)
    for file, seed in ADAPTERS.items():
        tiny_adapter(base / file, seed=seed)
    for number, folder in enumerate(ENCODERS):
        (base / folder).mkdir(parents=True, exist_ok=True)
        tiny_tower(base / folder / f"tower{number}.safetensors", seed=number)
    fabricate_models(base / "models")
    extra = base / "extra.yaml"
    extra.write_text(EXTRA.format(base=base))
    with Server(base, options=["--extra-model-paths-config", str(extra)], packs=packs) as server:
        server.upload(REFERENCE, blobs(0, 64, 64))
        yield server


def install_package(base: Path) -> dict[str, Path]:
    """The packs, with ours as a user has it, code and all, but with a `models` folder that tests may write to."""
    name = "comfyui-ip-adapter"
    copy = base / "custom_nodes" / name
    copy.mkdir(parents=True)
    for part in ("__init__.py", "nodes", "ip_adapter_core"):
        (copy / part).symlink_to(PACKS[name] / part)
    (copy / "models").mkdir()
    (copy / "models" / "small_world").symlink_to(PACKS[name] / "models" / "small_world")
    return {other: folder for other, folder in PACKS.items() if other != name}


def test_starting_comfyui_does_not_import_openclip(elsewhere: Server) -> None:
    for node in ("IPA_LoadAdapter", "IPA_LoadVision"):
        elsewhere.object_info(node)
    graph = Graph()
    for module in ("torch", "open_clip", "timm"):
        graph.add("TestImported", module, module=module)
    answers = {module: report["text"][0] for module, report in elsewhere.run(graph).outputs.items()}
    assert answers == {"torch": "True", "open_clip": "False", "timm": "False"}


def menu(server: Server, node: str) -> set[str]:
    """The files that a loader offers."""
    kind, *rest = server.object_info(node)[node]["input"]["required"]["file"]
    return set(rest[0]["options"] if kind == "COMBO" else kind)


def test_the_menus_offer_the_files_of_all_folders(elsewhere: Server) -> None:
    offered = menu(elsewhere, "IPA_LoadAdapter")
    for file in (
        "in comfyui.safetensors",
        "in extra.safetensors",
        "in package.safetensors",
        "folder/in package too.bin",
    ):
        assert file in offered
    assert "folder/in extra.bin" in offered
    assert menu(elsewhere, "IPA_LoadVision") >= {"tower0.safetensors", "tower1.safetensors", "tower2.safetensors"}


def test_no_menu_offers_a_file_of_another_kind_or_a_file_twice(elsewhere: Server) -> None:
    offered = menu(elsewhere, "IPA_LoadAdapter")
    assert not [file for file in offered if "tower" in file or "ipadapter" in file]
    weights = (".safetensors", ".bin", ".pt")
    assert not [file for file in menu(elsewhere, "IPA_LoadVision") if not file.endswith(weights)]


def test_a_file_of_every_folder_makes_a_picture_of_its_own(elsewhere: Server) -> None:
    names = [file.split("adapters/")[-1].split("models/")[-1].removeprefix("ipadapter/") for file in ADAPTERS]
    hooks = [Prompted(adapter=name, tower="tower1.safetensors") for name in names]
    found = [elsewhere.run(text_to_image(hook)).image() for hook in hooks]
    for number, picture in enumerate(found):
        assert all(difference(picture, other) > 1 for other in found[:number])


def test_an_encoder_of_every_folder_reads_in_its_own_way(elsewhere: Server) -> None:
    towers = [f"tower{number}.safetensors" for number in range(len(ENCODERS))]
    hooks = [Prompted(adapter="in extra.safetensors", tower=tower) for tower in towers]
    one, other, last = (elsewhere.run(text_to_image(hook)).image() for hook in hooks)
    assert not np.array_equal(one, other)
    assert not np.array_equal(other, last)


def test_a_file_that_is_added_later_is_found(elsewhere: Server) -> None:
    tiny_adapter(elsewhere.base / "elsewhere" / "adapters" / "later.safetensors", seed=9)
    assert "later.safetensors" in menu(elsewhere, "IPA_LoadAdapter")
