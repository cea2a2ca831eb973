"""What others may call is what the page says, and wrong values are told; whole examples run in live/test_python_api."""

import ast
import inspect
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from package import ROOT
from sampled import apply, make_prompt
from twins import Twins, call, error

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
    assert functions == ["apply", "encode", "export", "load", "load_files", "prompts", "replace"]
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


class WithPrompts:
    """A processor of diffusers: attention to the text in plain torch, and what the page's example adds to it."""

    def __init__(self, add_prompts: Any, layer: int, sides: list[int]) -> None:
        self.add_prompts, self.layer, self.sides = add_prompts, layer, sides

    def __call__(self, attn: Any, x: Tensor, encoder_hidden_states: Tensor, *rest: Any, **more: Any) -> Tensor:
        q, k, v = attn.to_q(x), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        heads = [part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (q, k, v)]
        attended = scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        rows = [
            self.add_prompts(attended[row : row + 1], q[row : row + 1], self.layer, side)
            for row, side in enumerate(self.sides)
        ]
        return attn.to_out[1](attn.to_out[0](torch.cat(rows)))


@pytest.mark.parametrize("name", ["SD1.5", "SDXL"])
def test_the_example_applies_exported_prompts_in_diffusers_as_comfyui_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes import api

    twins, sides = Twins(name), [0, 1, 1]
    one, other = (make_prompt(twins, tmp_path, seed, tokens=4 * seed) for seed in (1, 2))
    model = apply(twins.patcher, one, 0.7, layer_weights=from_weight_type("style transfer precise", 1.0, 0.6))
    model = apply(apply(model, other, 0.5), one, 0.4, scaling="K+V")
    api.export(model, tmp_path / "prompt.safetensors")

    (example,) = re.findall(r"```python\n(import json\n.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    there: dict[str, Any] = {}
    exec(example, there)
    given = call(twins.context, len(sides))
    bare, wanted = (twins.call_comfy(given, one, cond_or_uncond=sides) for one in (twins.patcher, model))
    cross = [name for name in twins.reference.attn_processors if "attn2" in name]
    numbers = {name: WithPrompts(there["add_prompts"], layer, sides) for layer, name in enumerate(cross)}
    twins.reference.set_attn_processor({**twins.reference.attn_processors, **numbers})
    found = twins.call_reference(given)
    assert error(found, wanted) <= 1e-5
    assert error(found, bare) > 0.05
