"""What an adapter is told: each side its own texts, images all the same ones, and nothing to those that do not read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.features import AdapterInputs
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, PromptPart, image_prompt
from comfyui_ip_adapter.ip_adapter_core.prompts.told import Sides, tell
from comfyui_ip_adapter.ip_adapter_core.settings.instruction import Instruction
from fabricate import adapters
from instructed import plain_tokens
from same_prompt import read, told


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    nested = adapters.adapter(**adapters.KINDS["Instruct"])
    return load(adapters.save(tmp_path_factory.mktemp("adapters") / "a.safetensors", nested))


def instruction(network: Adapter, seed: int = 3) -> Instruction:
    found = told(network.identity(), seed)
    assert found is not None
    return found


def made(network: Adapter, images: int = 1, said: Instruction | None = None, **how: Any) -> PromptPart:
    identity = network.identity()
    given = image_prompt(
        network, read(identity, images), read(identity, 1, seed=1), Gathering(**how), said or instruction(network)
    )
    (part,) = given.parts
    return part


def plain(network: Adapter, given: AdapterInputs, told: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    return plain_tokens(dict(network.image_proj.state_dict()), given[0][0], told[0], prompt[0])


def test_each_side_is_told_its_own_texts(network: Adapter) -> None:
    said, identity = instruction(network), network.identity()
    part = made(network)
    cond = plain(network, read(identity, 1), said.instruction, said.prompt)
    uncond = plain(network, read(identity, 1, seed=1), said.nothing, said.negative)
    torch.testing.assert_close(part.side(COND)[0], cond, atol=1e-5, rtol=0)
    torch.testing.assert_close(part.side(UNCOND)[0], uncond, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("text", "side"), [("instruction", 0), ("prompt", 0), ("negative", 1), ("nothing", 1)])
def test_each_text_acts_on_its_side_alone(network: Adapter, text: str, side: int) -> None:
    usual, other = instruction(network), instruction(network, seed=8)
    found = made(network, said=replace(usual, **{text: getattr(other, text)}))
    expected = made(network, said=usual)
    assert not torch.allclose(found.side(side), expected.side(side), atol=1e-2)
    assert torch.equal(found.side(1 - side), expected.side(1 - side))


def test_all_images_are_told_the_same(network: Adapter) -> None:
    identity, said = network.identity(), instruction(network)
    both = made(network, 2).side(COND)[0]
    for number in range(2):
        one = (read(identity, 2)[0][number : number + 1],)
        alone = plain(network, one, said.instruction, said.prompt)
        torch.testing.assert_close(both[16 * number : 16 * number + 16], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", ["average", "add", "subtract"])
def test_a_mixture_of_images_is_told_the_same_and_not_a_mixture(network: Adapter, how: str) -> None:
    """Texts are no features: doubled or subtracted they would say nothing."""
    identity, said = network.identity(), instruction(network)
    one, other = read(identity, 2)[0]
    mixed = {"average": (one + other) / 2, "add": one + other, "subtract": one - other}[how]
    found = made(network, 2, how=how).side(COND)[0]
    expected = plain(network, (mixed[None],), said.instruction, said.prompt)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_an_adapter_that_must_be_told_refuses_to_guess(network: Adapter) -> None:
    identity = network.identity()
    with pytest.raises(ValueError, match=r"^Connect Image Prompt Instruction to .* Instruct adapters must be told"):
        image_prompt(network, read(identity), read(identity, 1))


def test_texts_of_another_encoder_are_named_with_both_widths(network: Adapter) -> None:
    said = Instruction(*(torch.zeros(1, 7, 48) for _ in range(4)))
    with pytest.raises(ValueError, match=r"^Connect the CLIP of the model .* texts of width 64, and those have 48\."):
        made(network, said=said)


def test_other_kinds_are_told_nothing(adapter: Adapter, network: Adapter) -> None:
    identity = adapter.identity()
    assert identity.text_width is None
    assert tell(identity, instruction(network)) == Sides({}, {})
    given = read(identity), read(identity, 1, seed=1)
    (one,), (other,) = (image_prompt(adapter, *given, instruction=said).parts for said in (None, instruction(network)))
    assert torch.equal(one.tokens, other.tokens)


def test_a_line_for_people_says_that_it_is_told_something(network: Adapter, tmp_path: Path) -> None:
    assert network.identity().describe().endswith("and an instruction")
