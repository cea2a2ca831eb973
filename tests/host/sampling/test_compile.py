"""Image prompts on compiled models: what comes out is what the uncompiled model gives."""

import gc
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import combine_prompts
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from constructions import ADAPTED, Adapted, encoder
from flux_twins import FluxTwins
from sampled import STEPS, apply, difference, make_prompt, sample
from twins import Twins


def compiled(model: Any) -> Any:
    """As core's TorchCompileModel does it, with dynamo's own backend: no compiler is needed."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    clone = model.clone()
    options = {"guard_filter_fn": lambda guards: [("transformer_options" not in guard.name) for guard in guards]}
    set_torch_compile_wrapper(model=clone, backend="eager", options=options)
    return clone


@pytest.fixture(scope="module")
def small_prompts(small: Twins, tmp_path_factory: pytest.TempPathFactory) -> list[ImagePrompt]:
    return [make_prompt(small, tmp_path_factory.mktemp("adapters"), seed) for seed in (1, 2)]


@pytest.fixture
def attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's attention of this name: dynamo traces pytorch's in one graph, and sub_quad's in many."""
    import torch._dynamo
    from comfy.ldm.modules import attention
    from torch._dynamo.utils import counters

    usual, chosen = attention.optimized_attention, getattr(attention, f"attention_{request.param}")
    for module in [module for name, module in sys.modules.items() if name.startswith("comfy.ldm.")]:
        if getattr(module, "optimized_attention", None) is usual:
            monkeypatch.setattr(module, "optimized_attention", chosen)
    torch._dynamo.reset()
    counters.clear()


def bare(model: Any) -> Any:
    return model


IN_MANY_GRAPHS = ("UNet", "sub_quad")
TRACED = pytest.mark.parametrize(
    ("adapted", "attention"), [IN_MANY_GRAPHS, *((name, "pytorch") for name in ADAPTED)], indirect=True
)
FEW = 4
"""To trace a structure takes seconds: what is of all constructions alike is asked of the UNet alone."""


@TRACED
def test_a_compiled_model_gives_what_the_eager_one_gives(
    adapted: Adapted, twins: Twins, prompts: list[ImagePrompt], attention: None
) -> None:
    """Whether it is compiled before or after."""
    one, other = prompts
    scaling, patched = adapted.refused.get("scaling", "K+V"), next(iter(adapted.others.values()))
    uses: list[Callable[[Any], Any]] = [
        lambda model: apply(model, one, 0.7),
        bare,
        lambda model: apply(model, one, 0.2),
        lambda model: patched(apply(model, one, 0.7)),
        lambda model: apply(model, other, 0.7),
        lambda model: apply(apply(model, one, 0.7), other, 0.5),
        lambda model: apply(model, one, 1.0, Span(1, 3, "steps")),
        lambda model: apply(model, one, 1.0, schedule=Schedule((Curve("linear", "steps", 1.0, 0.2),))),
        lambda model: apply(model, one, 1.0, mask=torch.eye(8)[None]),
        lambda model: apply(model, combine_prompts(one, other, "side by side", (1.0, 0.4)), scaling=scaling),
        bare,
    ]
    for number, use in enumerate(uses if adapted is ADAPTED["UNet"] else uses[:FEW]):
        model = twins.patcher
        found = sample(compiled(use(model)) if number % 2 else use(compiled(model)))
        assert difference(found, sample(use(model))) < 1e-5, number


@pytest.mark.parametrize("attention", ["pytorch"], indirect=True)
def test_a_compiled_model_with_balanced_prompts_gives_what_the_eager_one_gives(
    small: Twins, small_prompts: list[ImagePrompt], attention: None
) -> None:
    """A factor is measured anew in each call, and a graph that was traced with one limit must serve another."""
    one, other = small_prompts
    uses: list[Callable[[Any], Any]] = [
        lambda model: apply(model, one, 0.7, balance="equalise"),
        lambda model: apply(model, one, 0.2, balance="equalise"),
        lambda model: apply(model, one, 0.2, balance="cap"),
        lambda model: apply(model, one, 0.7),
        lambda model: apply(model, one, 1.0, Span(1, 3, "steps"), balance="equalise", mask=torch.eye(8)[None]),
        lambda model: apply(apply(model, one, 0.7, balance="cap"), other, 0.5, balance="equalise"),
    ]
    for number, use in enumerate(uses):
        found = sample(compiled(use(small.patcher)))
        assert difference(found, sample(use(small.patcher))) < 1e-5, number


@pytest.mark.parametrize("name", ["2 regions", "3 equal regions", "module exchanged", "pixels merged"])
@pytest.mark.parametrize("attention", ["pytorch"], indirect=True)
def test_a_compiled_model_beside_packs_that_change_what_happens_in_a_layer(
    small: Twins, small_prompts: list[ImagePrompt], attention: None, name: str
) -> None:
    from packs.neighbours.manners import MANNERS

    for use in (
        lambda model: MANNERS[name](apply(model, small_prompts[0])),
        lambda model: apply(model, small_prompts[0]),
        MANNERS[name],
    ):
        assert difference(sample(compiled(use(small.patcher)), steps=2), sample(use(small.patcher), steps=2)) < 1e-5


@pytest.mark.parametrize("attention", ["pytorch"], indirect=True)
def test_adapters_of_both_authors_of_flux_are_compiled_in_one_graph(
    wide: FluxTwins, attention: None, tmp_path: Path
) -> None:
    from torch._dynamo.utils import counters

    inside = encoder(ADAPTED["InstantX on Flux"], wide, tmp_path, 1)(2)
    both = apply(apply(wide.patcher, make_prompt(wide, tmp_path, 1), 0.5), inside, 0.7)
    assert difference(sample(compiled(both)), sample(both)) < 1e-5
    assert not counters["graph_break"]


@TRACED
def test_a_compiled_bare_model_notices_a_prompt(twins: Twins, prompts: list[ImagePrompt], attention: None) -> None:
    for use in (bare, lambda model: apply(model, prompts[0], 0.7), bare):
        assert difference(sample(compiled(use(twins.patcher))), sample(use(twins.patcher))) < 1e-5


def test_as_many_tokens_in_other_groups_are_another_structure(comfy: None) -> None:
    """What groups there are is written into a traced graph, and no tensor tells it."""
    from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
    from comfyui_ip_adapter.ip_adapter_core.attention.grouped import GroupedKV, ImageKV, group_images
    from comfyui_ip_adapter.nodes.host.sampling.compile import _signature

    def stack(images: int, tokens: int) -> GroupedKV:
        image = ImageKV(KeysValues(torch.zeros(2, tokens, 8), torch.zeros(2, tokens, 8)))
        (found,) = group_images([image] * images, 2)
        assert isinstance(found, GroupedKV)
        return found

    assert stack(2, 16).kv.keys.shape == stack(8, 4).kv.keys.shape
    assert _signature(stack(2, 16)) != _signature(stack(8, 4))
    assert _signature(stack(2, 16)) == _signature(stack(2, 16))


def anew(model: Any, factors: list[float], collected: bool = False) -> Any:
    """Another pack's wrapper, that makes a patch anew for each call of the model: text values count by one of these,
    one after another; collected: the patches are other code each time, and gone when the next is made."""
    from comfy.ldm.modules.attention import attention_pytorch
    from comfy.patcher_extension import WrappersMP

    calls = iter(factors * STEPS)

    def made(factor: float) -> Any:
        if collected:
            there: dict[str, Any] = {"attend": attention_pytorch}
            exec(f"def patch(q, k, v, extra): return attend(q, k, v * {factor}, extra['n_heads'])", there)
            return there["patch"]
        return lambda q, k, v, extra: attention_pytorch(q, k, v * factor, extra["n_heads"])

    def wrapper(
        executor: Any, x: Any, t: Any, concat: Any, text: Any, control: Any, options: dict[str, Any], **more: Any
    ) -> Any:
        replace = {"attn2": {("middle", 0): made(next(calls))}}
        return executor(x, t, concat, text, control, {**options, "patches_replace": replace}, **more)

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "another pack", wrapper)
    return clone


def graphs() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def breaks() -> int:
    from torch._dynamo.utils import counters

    return sum(counters["graph_break"].values())


@pytest.mark.parametrize("attention", ["pytorch"], indirect=True)
def test_another_packs_patch_made_anew_for_each_call_is_traced_once(
    small: Twins, small_prompts: list[ImagePrompt], attention: None
) -> None:
    prompt = small_prompts[0]
    found = sample(compiled(apply(anew(small.patcher, [0.5]), prompt, 0.7)))
    assert graphs() == 1
    assert difference(found, sample(apply(anew(small.patcher, [0.5]), prompt, 0.7))) < 1e-5


@pytest.mark.parametrize("attention", ["pytorch"], indirect=True)
def test_a_prompt_in_the_place_of_another_is_served_by_the_same_graph(
    small: Twins, small_prompts: list[ImagePrompt], attention: None
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.exchange import exchange

    one, other = small_prompts
    given = compiled(apply(small.patcher, one, 0.7, Span(1, 3, "steps")))
    sample(given)
    traced = graphs()
    found = sample(exchange(given, one, other))
    assert graphs() == traced > 0
    assert difference(found, sample(apply(small.patcher, other, 0.7, Span(1, 3, "steps")))) < 1e-5


@pytest.mark.parametrize("collected", [False, True])
@pytest.mark.parametrize("attention", ["pytorch"], indirect=True)
def test_another_packs_patch_that_is_another_one_later_is_not_served_an_old_graph(
    small: Twins, small_prompts: list[ImagePrompt], attention: None, collected: bool
) -> None:
    prompt, factors = small_prompts[0], [0.5, 0.1]
    found = sample(compiled(apply(anew(small.patcher, factors, collected), prompt, 0.7)))
    assert difference(found, sample(apply(anew(small.patcher, factors, collected), prompt, 0.7))) < 1e-5


# Graph breaks


@pytest.mark.parametrize("attention", ["pytorch"], indirect=True)
def test_a_break_in_what_is_nothing_to_this_model_leaves_image_prompts_compiled(
    small: Twins, small_prompts: list[ImagePrompt], attention: None
) -> None:
    def foreign(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return x + 1

    torch.compile(foreign, backend="eager")(torch.ones(2))
    assert breaks() == 1
    prompted = apply(small.patcher, small_prompts[0], 0.7)
    found = sample(compiled(prompted))
    assert graphs() > 1
    assert breaks() == 1
    assert difference(found, sample(prompted)) < 1e-5


class Network(torch.nn.Module):
    """One that passes keywords on."""

    def forward(self, x: torch.Tensor, **names: bool) -> tuple[torch.Tensor, list[str]]:
        return x, list(names)


class Executor:
    """Calls a network, and notes by which name; those called "broken" break a graph."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.class_obj = SimpleNamespace(diffusion_model=network)
        self.named: list[str] = []

    def __call__(self, x: torch.Tensor, **names: bool) -> torch.Tensor:
        from torch._dynamo.utils import counters

        self.named.append(next(iter(names), ""))
        counters["graph_break"]["a reason"] += "broken" in names
        return x + 1


def test_a_structure_whose_graph_breaks_runs_without_compilation_and_others_go_on(comfy: None) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.compile import call_compiled

    one, another = Executor(Network()), Executor(Network())
    for structure in ("whole", "broken", "whole", "broken", ""):
        assert call_compiled(one, torch.ones(1), structure=structure) == 2
    assert one.named == ["whole", "broken", "", "whole", "", ""]
    call_compiled(another, torch.ones(1), structure="broken")
    assert another.named == ["broken", ""]


def test_what_broke_is_forgotten_with_its_network(comfy: None) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.compile import _broken, call_compiled

    executor = Executor(Network())
    call_compiled(executor, torch.ones(1), structure="broken")
    network = weakref.ref(executor.class_obj.diffusion_model)
    assert _broken[executor.class_obj.diffusion_model] == {"broken"}
    del executor
    gc.collect()
    assert network() is None


def test_a_network_that_looks_at_no_keywords_runs_image_prompts_without_compilation(comfy: None) -> None:
    """Dynamo guards no names that nobody reads."""
    from comfy.ldm.anima.model import Anima
    from comfy.ldm.flux.model import Flux
    from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    from comfyui_ip_adapter.nodes.host.sampling.compile import _looks_at_keywords, call_compiled

    looking = {kind: _looks_at_keywords(kind) for kind in (UNetModel, Flux, Anima, OpenAISignatureMMDITWrapper)}
    assert looking == {UNetModel: True, Flux: True, Anima: True, OpenAISignatureMMDITWrapper: False}
    executor = Executor(torch.nn.Identity())
    assert call_compiled(executor, torch.ones(1), structure="whole") == 2
    assert executor.named == [""]
