"""What a ControlNet reads of a face prompt, and of which prompts it can read nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import add_mask, concat_parts, scale_prompt
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.control import control_tokens
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from fabricate.adapters import KINDS, adapter, save

BLANK = (torch.zeros(1, 512),)


@pytest.fixture(scope="module")
def instant_id(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return load(save(tmp_path_factory.mktemp("adapters") / "ip-adapter.bin", adapter(**KINDS["portrait unnorm"])))


def raw(count: int = 1) -> torch.Tensor:
    return 20 * torch.randn(count, 512, generator=torch.Generator().manual_seed(count))


def prompt(network: Adapter, count: int = 1, how: str = "concat", **gathered: Any) -> ImagePrompt:
    return image_prompt(network, (raw(count),), BLANK, Gathering(how, **gathered))


def test_the_tokens_are_those_of_the_face_and_those_of_an_embedding_of_zeros(instant_id: Adapter) -> None:
    tokens = control_tokens(prompt(instant_id))
    assert torch.equal(tokens.cond, instant_id.tokens(raw()))
    assert torch.equal(tokens.uncond, instant_id.tokens(*BLANK))
    assert (*tokens.cond.shape[:2], tokens.context) == (1, 16, tokens.uncond.shape[-1])


def test_several_faces_are_a_mixture_or_stand_side_by_side(instant_id: Adapter) -> None:
    mixed = control_tokens(prompt(instant_id, 3, "average"))
    torch.testing.assert_close(mixed.cond, instant_id.tokens(raw(3).mean(0, keepdim=True)))
    assert control_tokens(prompt(instant_id, 3)).cond.shape[1] == 48


def test_another_kind_of_adapter_is_refused(tmp_path: Path) -> None:
    other = load(save(tmp_path / "faceid.safetensors", adapter(**KINDS["FaceID"])))
    with pytest.raises(
        ValueError,
        match=r"^Encode the face with InstantID's ip-adapter\.bin, of kind portrait unnorm, .* of kind FaceID\.",
    ):
        control_tokens(prompt(other))


def test_what_a_controlnet_cannot_follow_is_refused(instant_id: Adapter) -> None:
    plain = prompt(instant_id)
    cannot = [
        prompt(instant_id, 2, "separate"),
        prompt(instant_id, 2, "one per frame"),
        prompt(instant_id, 2, weights=(1.0, 0.5)),
        scale_prompt(plain, 0.5),
        add_mask(plain, torch.ones(1, 8, 8)),
        concat_parts([plain, plain]),
        ImagePrompt(plain.identity, ()),
    ]
    for one in cannot:
        with pytest.raises(ValueError, match=r"^Connect Encode Face Prompt with combine set to concat or average"):
            control_tokens(one)
