"""A prompt in the place of another on a MODEL acts as if it had been applied in the first place."""

from pathlib import Path
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import concat_parts
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from face_prompts import face_prompt, found
from sampled import apply, make_prompt, sample
from twins import Twins

FADING = Schedule((Curve("linear", "steps", 1.0, 0.2),))
USES: dict[str, dict[str, Any]] = {
    "weight": {"weight": 0.6},
    "time": {"span": Span(1, 3, "steps")},
    "layers": {"layer_weights": from_weight_type("weak input")},
    "schedule": {"schedule": FADING},
    "scaling": {"scaling": "K+V"},
    "mask": {"mask": torch.eye(8)[None]},
    "no middle block": {"skip_middle": True},
}


@pytest.fixture(scope="module")
def prompts(small: Twins, tmp_path_factory: pytest.TempPathFactory) -> list[ImagePrompt]:
    return [make_prompt(small, tmp_path_factory.mktemp("adapters"), seed) for seed in (1, 2, 3)]


@pytest.fixture
def exchange(comfy: None) -> Any:
    from comfyui_ip_adapter.nodes.host.sampling import exchange

    return exchange


@pytest.mark.parametrize("use", USES)
def test_the_new_prompt_acts_with_what_was_set_for_the_old_one_bit_for_bit(
    model: Any, prompts: list[ImagePrompt], exchange: Any, use: str
) -> None:
    old, new, other = prompts

    def drawn(prompt: ImagePrompt) -> Any:
        return apply(apply(apply(model, other, 0.4), prompt, **USES[use]), other, 0.3)

    before = sample(drawn(old))
    given = drawn(old)
    replaced = exchange.exchange(given, old, new)
    assert torch.equal(sample(replaced), sample(drawn(new)))
    assert not torch.equal(sample(drawn(new)), before)
    assert torch.equal(sample(given), before)  # the given model is as it was
    assert torch.equal(sample(exchange.exchange(replaced, new, old)), before)


def test_a_prompt_that_was_applied_twice_is_replaced_twice(
    model: Any, prompts: list[ImagePrompt], exchange: Any
) -> None:
    old, new, _ = prompts
    twice = [apply(apply(model, one, 0.5), one, 0.7, Span(0.0, 0.5)) for one in (old, new)]
    replaced = exchange.exchange(twice[0], old, new)
    assert torch.equal(sample(replaced), sample(twice[1]))
    assert exchange.prompts_of(replaced) == (new, new)


def test_prompts_are_listed_as_they_were_applied(model: Any, prompts: list[ImagePrompt], exchange: Any) -> None:
    one, two, three = prompts
    assert exchange.prompts_of(model) == ()
    assert exchange.prompts_of(apply(apply(apply(model, two), one, 0.0), three)) == (two, three)
    parts = concat_parts([one, two])
    assert len(parts.parts) == 2
    assert exchange.prompts_of(apply(apply(model, parts), one)) == (parts, one)


def test_prompts_of_other_parts_and_tokens_take_its_place(
    model: Any, small: Twins, prompts: list[ImagePrompt], exchange: Any, tmp_path: Path
) -> None:
    one, two, three = prompts
    for new in (concat_parts([one, two]), make_prompt(small, tmp_path, 4, tokens=16)):
        given = [apply(apply(model, first, 0.7), three) for first in (one, new)]
        assert torch.equal(sample(exchange.exchange(given[0], one, new)), sample(given[1]))


def test_a_prompt_for_another_model_is_refused(
    model: Any, prompts: list[ImagePrompt], exchange: Any, sd15: Twins, tmp_path: Path
) -> None:
    given = apply(model, prompts[0])
    with pytest.raises(ValueError, match=r"^Load an adapter made for this model"):
        exchange.exchange(given, prompts[0], make_prompt(sd15, tmp_path, 1))


def test_a_prompt_that_the_model_does_not_follow_is_told(model: Any, prompts: list[ImagePrompt], exchange: Any) -> None:
    one, two, _ = prompts
    for given, many in ((apply(model, one), 1), (model, 0), (apply(model, two, 0.0), 0)):
        with pytest.raises(ValueError, match=rf"^Give a prompt that the model follows.*found {many} on the model"):
            exchange.exchange(given, two, one)


def test_the_lora_of_the_same_adapter_stays_on_the_weights_as_it_is(comfy: None, exchange: Any, tmp_path: Path) -> None:
    twins = Twins("one level")  # that no sampler has loaded
    old, new = (face_prompt(twins, tmp_path) for _ in range(2))
    given = apply(twins.patcher, old, 0.7, lora_strength=0.5)
    replaced = exchange.exchange(given, old, new)
    assert replaced.patches_uuid == given.patches_uuid  # else the host would load the weights anew
    assert torch.equal(found(twins, replaced), found(twins, apply(twins.patcher, new, 0.7, lora_strength=0.5)))
    assert replaced.patches.keys() == given.patches.keys() != set()


def test_another_lora_is_refused(small: Twins, prompts: list[ImagePrompt], exchange: Any, tmp_path: Path) -> None:
    old = face_prompt(small, tmp_path)
    with pytest.raises(ValueError, match=r"^Give a prompt of the same adapter.*found faceid\.safetensors and none\.$"):
        exchange.exchange(apply(small.patcher, old), old, prompts[0])
    with pytest.raises(ValueError, match=r"found none and faceid\.safetensors\.$"):
        exchange.exchange(apply(small.patcher, prompts[0]), prompts[0], old)
