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

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from fabricate import adapters
from face_prompts import widths
from package import ROOT
from same_prompt import read
from sampled import apply, make_prompt
from telling import IMAGES, loaded, small_clip, small_encoder
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
    assert functions == ["apply", "encode", "export", "instruct", "load", "load_files", "prompts", "replace"]
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


def test_an_adapter_is_told_from_python_what_the_nodes_tell_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes import api
    from comfyui_ip_adapter.nodes.encode import Encode
    from comfyui_ip_adapter.nodes.instruction import Instruction

    clip, pair = small_clip("SD1.5"), api.Loaded(loaded(tmp_path), small_encoder(monkeypatch))
    monkeypatch.setattr("comfyui_ip_adapter.nodes.encode.preview", lambda *_: None)
    texts = ("use the style", "a house", "rain")
    told = api.instruct(clip, *texts)
    with torch.no_grad():
        wanted = Encode.execute(*pair, IMAGES, "center crop", instruction=Instruction.execute(clip, *texts)[0])[0]
    (found,), (part,) = api.encode(pair, IMAGES, instruction=told).parts, wanted.parts
    assert torch.equal(found.tokens, part.tokens) and not found.tokens.requires_grad
    (other,) = api.encode(pair, IMAGES, instruction=api.instruct(clip, "use the pose", *texts[1:])).parts
    assert not torch.equal(other.tokens, part.tokens)


def test_what_tells_an_adapter_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes import api

    pair = api.Loaded(loaded(tmp_path), small_encoder(monkeypatch))
    with pytest.raises(ValueError, match=r"^Connect Image Prompt Instruction .*in Python: give encode what instruct"):
        api.encode(pair, IMAGES)
    with pytest.raises(ValueError, match=r"^Give instruction as instruct\(clip, …\) returns it; found str"):
        api.encode(pair, IMAGES, instruction="use the style")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^Connect the CLIP of an SD1\.5 or SDXL checkpoint"):
        api.instruct(None, "use the style", "a house")
    with pytest.raises(ValueError, match=r"^Write into instruction what to take"):
        api.instruct(None, " ", "a house")
    with pytest.raises(ValueError, match=r"^Give prompt as a text; found int"):
        api.instruct(None, "use the style", 3)  # type: ignore[arg-type]


def test_a_method_of_pulid_is_applied_and_other_kinds_refuse_it(tmp_path: Path) -> None:
    from comfyui_ip_adapter.nodes import api
    from comfyui_ip_adapter.nodes.host.sampling.model_patch import installed_applications

    twins = Twins("SD1.5")
    nested = adapters.adapter(widths=widths(twins), context=twins.context, **adapters.KINDS["PuLID v1"])
    network = load(adapters.save(tmp_path / "pulid.safetensors", nested))
    prompt = image_prompt(network, read(network.identity(), 1), read(network.identity(), 1, seed=1))
    for how, method in (({}, "fidelity"), ({"method": "style"}, "style"), ({"method": "neutral"}, "neutral")):
        (application,) = installed_applications(api.apply(twins.patcher, prompt, **how))
        assert application.method == method
    with pytest.raises(ValueError, match=r'^Set method to "auto"; "style" is for adapters of PuLID'):
        api.apply(twins.patcher, make_prompt(twins, tmp_path, 0), method="style")


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
