"""What others may call is what the page says, and wrong values are told; whole examples run in live/test_python_api."""

import ast
import inspect
import re
from copy import deepcopy

import pytest
import torch

from package import ROOT

pytestmark = pytest.mark.usefixtures("comfy")

PAGE = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")


def signature(function: object) -> str:
    """A function as the page writes it."""
    given = inspect.signature(function)  # type: ignore[arg-type]
    plain = [parameter.replace(annotation=parameter.empty) for parameter in given.parameters.values()]
    return str(given.replace(parameters=plain, return_annotation=given.empty)).replace("'", '"')


def test_the_page_names_everything_that_may_be_called_as_it_is_called() -> None:
    from comfyui_ip_adapter.nodes import api

    functions = [name for name in api.__all__ if inspect.isfunction(getattr(api, name))]
    assert functions == ["apply", "encode", "load", "load_files", "prompts", "replace"]
    for name in functions:
        assert f"`{name}{signature(getattr(api, name))}`" in PAGE
    for name in api.__all__:
        assert f"`{name}" in PAGE


def test_the_name_for_scripts_offers_the_same() -> None:
    from comfyui_ip_adapter.nodes import api

    text = (ROOT / "nodes" / "python" / "comfyui_ip_adapter" / "__init__.py").read_text(encoding="utf-8")
    (offered,) = re.findall(r"^OFFERED = (\(.*\))$", text, re.MULTILINE)
    assert list(ast.literal_eval(offered)) == api.__all__


@pytest.mark.parametrize(
    ("pictures", "found"),
    [
        (torch.zeros(8, 8, 3), r"torch.float32 of shape \(8, 8, 3\)"),
        (torch.zeros(1, 3, 8, 8), r"shape \(1, 3, 8, 8\)"),
        (torch.zeros(1, 8, 8, 3, dtype=torch.uint8), "torch.uint8"),
    ],
)
def test_what_are_no_pictures_is_refused(pictures: torch.Tensor, found: str) -> None:
    from comfyui_ip_adapter.nodes import api

    with pytest.raises(ValueError, match=f"Give pictures as .images, height, width, 3. in floats.*{found}"):
        api.encode(api.Loaded(None, None), pictures)  # type: ignore[arg-type]


def test_files_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    from comfyui_ip_adapter.nodes import api

    monkeypatch.setattr(folder_paths, "folder_names_and_paths", deepcopy(folder_paths.folder_names_and_paths))
    api.register()
    with pytest.raises(ValueError, match=r"^Choose another file, or put nothing\.safetensors into models/ipadapter;"):
        api.load_files("nothing.safetensors")
