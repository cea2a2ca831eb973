"""Image prompts on compiled models: what comes out is what the uncompiled model gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.arithmetic import combined
from comfyui_ip_adapter.ip_adapter_core.curves import Course, Schedule
from comfyui_ip_adapter.ip_adapter_core.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.schedule import Span
from sampled import apply, difference, halved, make_prompt, sample
from twins import Twins


def compiled(model: Any) -> Any:
    """As core's TorchCompileModel does it, with dynamo's own backend: no compiler is needed."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    clone = model.clone()
    options = {"guard_filter_fn": lambda guards: [("transformer_options" not in guard.name) for guard in guards]}
    set_torch_compile_wrapper(model=clone, backend="eager", options=options)
    return clone


@pytest.fixture(scope="module")
def small(comfy: None) -> Twins:
    """Six layers: tracing takes time with every one."""
    return Twins("one level")


@pytest.fixture(scope="module")
def small_prompts(small: Twins, tmp_path_factory: pytest.TempPathFactory) -> list[ImagePrompt]:
    return [make_prompt(small, tmp_path_factory.mktemp("adapters"), seed) for seed in (1, 2)]


@pytest.fixture
def attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's attention of this name: dynamo traces pytorch's in one graph, and sub_quad's in many."""
    import torch._dynamo
    from comfy.ldm.modules import attention
    from torch._dynamo.utils import counters

    monkeypatch.setattr(attention, "optimized_attention", getattr(attention, f"attention_{request.param}"))
    torch._dynamo.reset()
    counters.clear()


def bare(model: Any) -> Any:
    return model


@pytest.mark.parametrize("order", ["compiled last", "compiled first"])
@pytest.mark.parametrize("attention", ["pytorch", "sub_quad"], indirect=True)
def test_a_compiled_model_gives_what_the_eager_one_gives(
    small: Twins, small_prompts: list[ImagePrompt], attention: None, order: str
) -> None:
    one, other = small_prompts
    uses: list[Callable[[Any], Any]] = [
        lambda model: apply(model, one, 0.7),
        bare,
        lambda model: apply(model, one, 0.2),
        lambda model: apply(model, other, 0.7),
        lambda model: apply(apply(model, one, 0.7), other, 0.5),
        lambda model: apply(model, one, 1.0, Span(1, 3, "steps")),
        lambda model: apply(model, one, 1.0, schedule=Schedule((Course("linear", "steps", 1.0, 0.2),))),
        lambda model: apply(model, one, 1.0, mask=torch.eye(8)[None]),
        lambda model: apply(model, combined(one, other, "side by side", (1.0, 0.4)), scaling="K+V"),
        lambda model: halved(apply(model, one, 0.7), "middle", 0),
        bare,
    ]
    for number, use in enumerate(uses):
        model = small.patcher
        found = sample(use(compiled(model)) if order == "compiled first" else compiled(use(model)))
        assert difference(found, sample(use(model))) < 1e-5, number


@pytest.mark.parametrize("attention", ["pytorch", "sub_quad"], indirect=True)
def test_a_compiled_bare_model_notices_a_prompt(
    small: Twins, small_prompts: list[ImagePrompt], attention: None
) -> None:
    for use in (bare, lambda model: apply(model, small_prompts[0], 0.7), bare):
        assert difference(sample(compiled(use(small.patcher))), sample(use(small.patcher))) < 1e-5


def test_as_many_tokens_in_other_groups_are_another_structure(comfy: None) -> None:
    """What groups there are is written into a traced graph, and no tensor tells it."""
    from comfyui_ip_adapter.ip_adapter_core.adapter import KeysValues
    from comfyui_ip_adapter.ip_adapter_core.stacks import Image, Stack, stacked
    from comfyui_ip_adapter.nodes.host.compiled import _shape

    def stack(images: int, tokens: int) -> Stack:
        image = Image(KeysValues(torch.zeros(2, tokens, 8), torch.zeros(2, tokens, 8)))
        (found,) = stacked([image] * images, 2)
        assert isinstance(found, Stack)
        return found

    assert stack(2, 16).keys.shape == stack(8, 4).keys.shape
    assert _shape(stack(2, 16)) != _shape(stack(8, 4))
    assert _shape(stack(2, 16)) == _shape(stack(2, 16))
