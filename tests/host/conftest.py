"""The fixtures that the tests of the host's rooms share: models, folders of model files, and the mode nodes run in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from anima_twins import AnimaTwins
from flux_twins import WIDE, FluxTwins
from sd3_twins import SD3Twins
from twins import Twins


@pytest.fixture(scope="module")
def small(comfy: None) -> Twins:
    """A model of six cross-attentions, for what does not depend on their number."""
    return Twins("one level")


@pytest.fixture(scope="module")
def sd15(comfy: None) -> Twins:
    """A model with the sixteen cross-attentions of SD1.5, in four levels."""
    return Twins("SD1.5")


@pytest.fixture(scope="module")
def flux(comfy: None) -> FluxTwins:
    """A Flux of three double blocks."""
    return FluxTwins()


@pytest.fixture(scope="module")
def wide(comfy: None) -> FluxTwins:
    """A Flux of two double blocks and three single ones, with heads of the published width."""
    return FluxTwins(WIDE)


@pytest.fixture(scope="module")
def sd3(comfy: None) -> SD3Twins:
    """An SD3.5 of three joint blocks."""
    return SD3Twins()


@pytest.fixture(scope="module")
def anima(comfy: None) -> AnimaTwins:
    """An Anima of three blocks, on a ComfyUI whose Anima takes image prompts."""
    from comfyui_ip_adapter.nodes.host.sampling import cross_blocks

    twins = AnimaTwins()
    try:
        cross_blocks.check(twins.patcher)
    except ValueError as refusal:
        pytest.skip(str(refusal))
    return twins


@pytest.fixture
def inference_mode() -> Iterator[None]:
    """ComfyUI runs nodes in inference mode."""
    with torch.inference_mode():
        yield


@pytest.fixture
def model_folders(comfy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which ComfyUI finds `ipadapter/` and `clip_vision/`, both empty."""
    import folder_paths

    for category in ("ipadapter", "clip_vision"):
        (tmp_path / category).mkdir()
        entry = ([str(tmp_path / category)], folder_paths.supported_pt_extensions)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, category, entry)
    return tmp_path
