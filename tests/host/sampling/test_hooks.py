"""What a row of HOOKS says of its construction: beside patches of other packs, and what is refused before sampling."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.layers import architectures
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from constructions import ADAPTED, Adapted, having, in_each_call, without_blocks
from sampled import apply, difference, sample
from twins import Twins

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.fixture(scope="module")
def model(twins: Twins) -> Any:
    return twins.patcher


def of(names: list[str]) -> Any:
    """For these constructions alone."""
    return pytest.mark.parametrize("adapted", names, indirect=True)


def test_every_row_is_tried_here(comfy: None) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.hooks import HOOKS

    assert set(HOOKS) == {"input", "middle", "output"} | {row.last.split(".")[0] for row in ADAPTED.values()}
    assert {row.loader for row in ADAPTED.values()} == {"", "Flux", "SD3.5", "Anima"}
    assert len(architectures.ARCHITECTURES) == 4


# Other packs


PATCHES = [
    *((name, other, "once") for name, row in ADAPTED.items() for other in row.others),
    *((name, next(iter(row.others)), "in each call") for name, row in ADAPTED.items()),
    ("Anima", "the text", "in each call"),
]


@pytest.mark.parametrize(("adapted", "other", "when"), PATCHES, indirect=["adapted"], scope="module")
def test_foreign_patches_keep_their_effect_in_any_order(
    adapted: Adapted, model: Any, prompts: list[ImagePrompt], bare: Tensor, prompted: Tensor, other: str, when: str
) -> None:
    change = adapted.others[other] if when == "once" else in_each_call(adapted.others[other], adapted.wrapped)
    theirs = sample(change(model))
    if torch.equal(theirs, bare):
        pytest.skip("this ComfyUI has no such patch")  # of what is before attention, 0.16
    ours_last = sample(apply(change(model), prompts[0]))
    assert torch.equal(ours_last, sample(change(apply(model, prompts[0]))))
    assert difference(ours_last, prompted) > 1e-4
    assert difference(ours_last, theirs) > 1e-2


@of(having(lambda row: row.attention))
def test_what_a_foreign_attention_gives_is_left_as_it_is(
    adapted: Adapted, model: Any, prompts: list[ImagePrompt]
) -> None:
    given: list[tuple[Tensor, Tensor]] = []

    def noted(attended: Tensor) -> Tensor:
        given.append((attended, attended.clone()))
        return attended

    assert adapted.attention
    sample(apply(adapted.attention(model, noted), prompts[0]))
    assert given
    assert all(torch.equal(*pair) for pair in given)


@pytest.mark.parametrize("when", ["once", "in each call"])
@of(having(lambda row: row.blocks))
def test_a_patch_that_leaves_blocks_out_leaves_their_images_out(
    adapted: Adapted, model: Any, prompts: list[ImagePrompt], when: str
) -> None:
    leaving_out = without_blocks(adapted)
    skipping = leaving_out if when == "once" else in_each_call(leaving_out, adapted.wrapped)
    assert torch.equal(sample(skipping(apply(model, prompts[0]))), sample(skipping(model)))


# What is refused


@pytest.mark.parametrize(("option", "value"), [("balance", "cap"), ("balance", "equalise"), ("scaling", "K+V")])
def test_an_option_acts_where_it_is_not_refused(
    adapted: Adapted, model: Any, prompts: list[ImagePrompt], bare: Tensor, option: str, value: str
) -> None:
    only, chosen = adapted.refused.get(option), {option: value}
    if only is None:
        found = sample(apply(model, prompts[0], 3.0, **chosen))
        assert difference(found, sample(apply(model, prompts[0], 3.0))) > 1e-3
        assert difference(found, bare) > 1e-3
        return
    with pytest.raises(ValueError, match=rf'^Set {option} to "{only}".*"{re.escape(value)}"'):
        apply(model, prompts[0], 3.0, **chosen)


@pytest.mark.parametrize("name", ["style transfer", "strong style transfer", "weak input", "InstantStyle layout"])
@of(having(lambda row: not row.has_stages))
def test_weights_of_stages_and_roles_are_refused_where_there_are_none(
    model: Any, prompts: list[ImagePrompt], name: str
) -> None:
    with pytest.raises(ValueError, match=rf"^Choose linear, ease in, .* or a custom list .*; {name} names stages"):
        apply(model, prompts[0], layer_weights=from_weight_type(name))


@of(having(lambda row: not row.has_stages))
def test_attention_maps_export_and_training_are_refused_where_there_is_no_unet(
    model: Any, prompts: list[ImagePrompt]
) -> None:
    from comfyui_ip_adapter.ip_adapter_core.attention.export import export
    from comfyui_ip_adapter.nodes.host.sampling.model_patch import installed_applications
    from comfyui_ip_adapter.nodes.host.training.base_model import HostBase, attention_weights
    from watched import look

    used = apply(model, prompts[0])
    asked: list[Any] = [lambda: look(used), lambda: HostBase(model), lambda: attention_weights(model)]
    for ask in asked:
        with pytest.raises(ValueError, match=r"^Connect a UNet such as .*, which is needed here; this model is "):
            ask()
    layers = architectures.layers(model.model.model_config.unet_config, prompts[0].identity.geometry)
    with pytest.raises(ValueError, match=r"^Give a model with a UNet; "):
        export(installed_applications(used), layers)


@of(having(lambda row: row.loader))
def test_a_model_whose_blocks_another_pack_has_built_is_refused(
    adapted: Adapted, model: Any, prompts: list[ImagePrompt]
) -> None:
    exchanged = model.clone()
    exchanged.model = type(model.model).__new__(type(model.model))
    torch.nn.Module.__init__(exchanged.model)
    exchanged.model.model_config, exchanged.model.diffusion_model = model.model.model_config, torch.nn.Identity()
    own = rf"^Load this {adapted.loader} model with a loader of ComfyUI's own, .*another pack's"
    with pytest.raises(ValueError, match=own):
        apply(exchanged, prompts[0])
