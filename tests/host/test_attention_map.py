"""Image Prompt Attention on real models in ComfyUI's hands: what it sees is what happens, and it changes nothing."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention.attention_map import MAP_KINDS
from comfyui_ip_adapter.ip_adapter_core.attention.reference import plain_image_attention
from comfyui_ip_adapter.ip_adapter_core.layers import layout
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import CONCAT, Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom
from constructions import EMBED, halved
from fabricate import adapters
from sampled import apply, cond, make_prompt, sample
from twins import Twins
from watched import SIDE, latent, look, look_whole

pytestmark = pytest.mark.usefixtures("comfy")

FIRST = custom("input.1 = 1")  # a layer on the grid of the latent picture, before any prompt has acted
LEFT = torch.zeros(1, SIDE, SIDE)
LEFT[..., : SIDE // 2] = 1


@pytest.fixture(scope="module")
def model(sd15: Twins) -> Any:
    return sd15.patcher


@pytest.fixture(scope="module")
def network(sd15: Twins, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    widths = tuple(layer.width for layer in layout.layers(sd15.patcher.model.model_config.unet_config))
    nested = adapters.adapter("base", widths, sd15.context, EMBED, 1, tokens=4)
    return load(adapters.save(tmp_path_factory.mktemp("adapters") / "adapter.safetensors", nested))


def prompt(network: Adapter, images: int = 1, seed: int = 0, gathering: Gathering = CONCAT) -> ImagePrompt:
    embeds = torch.randn(images, EMBED, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return image_prompt(network, (embeds,), (torch.zeros(1, EMBED),), gathering)


def only(maps: dict[str, Tensor]) -> Tensor:
    (found,) = maps.values()
    return found


@pytest.fixture
def seen(model: Any) -> Iterator[SimpleNamespace]:
    """What the model is given and gives, as its own modules see it, in all calls of a test."""
    calls = SimpleNamespace(x=[], t=[], out=[], q=[], attended=[])
    network = model.model.diffusion_model
    first = network.input_blocks[1][1].transformer_blocks[0].attn2

    def call(module: Any, given: Any, named: Any, found: Tensor) -> None:
        calls.x.append(given[0])
        calls.t.append(given[1])
        calls.out.append(found)

    hooks = [
        network.register_forward_hook(call, with_kwargs=True),
        first.to_q.register_forward_hook(lambda module, given, found: calls.q.append(found)),
        first.to_out.register_forward_pre_hook(lambda module, given: calls.attended.append(given[0])),
    ]
    yield calls
    for hook in hooks:
        hook.remove()


# What is seen


@pytest.mark.parametrize("scaling", ["V only", "K+V"])
def test_influence_is_the_plain_formula_in_a_layer(
    model: Any, network: Adapter, seen: SimpleNamespace, scaling: str
) -> None:
    one = prompt(network)
    found = only(look(apply(model, one, 0.6, scaling=scaling), layers=FIRST, steps=(0.4,)))
    keys, values = (part[:1] * 0.6 for part in one.parts[0].keys_values[0])
    keys = keys / 0.6 if scaling == "V only" else keys
    added = plain_image_attention(seen.q[0], keys, values, heads=8)
    text = seen.attended[0] - added
    expected = rearrange(added.norm(dim=-1) / text.norm(dim=-1), "1 (h w) -> h w", h=SIDE)
    assert torch.allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_balanced_references_have_the_say_that_their_weight_says(model: Any, network: Adapter, count: int) -> None:
    prompted = model
    for seed in range(count):
        prompted = apply(prompted, prompt(network, 2, seed), 0.4, balance="equalise")
    assert list(look_whole(prompted).shares.values()) == pytest.approx([0.4] * 16, abs=1e-4)
    loud = look_whole(apply(model, prompt(network, 2), 0.4)).shares
    assert max(abs(share - 0.4) for share in loud.values()) > 0.05


def test_balance_is_in_the_influence_of_a_reference_and_not_in_shares(model: Any, network: Adapter) -> None:
    one = prompt(network, 2)
    for show, is_scaled in (("influence", True), ("share", False)):
        plain, held = (
            look(apply(model, one, 0.4, balance=way), show, layers=FIRST, steps=(0.4,)) for way in ("off", "equalise")
        )
        (share,) = look_whole(apply(model, one, 0.4), layers=FIRST, steps=(0.4,)).shares.values()
        for name, found in held.items():
            wanted = plain[name] * (0.4 / share) if is_scaled else plain[name]
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_influence_doubles_with_the_weight(model: Any, network: Adapter) -> None:
    one = prompt(network)
    weak, strong = (only(look(apply(model, one, weight), layers=FIRST)) for weight in (0.4, 0.8))
    assert torch.allclose(strong, 2 * weak, rtol=1e-4)


def test_influence_is_where_the_mask_is(model: Any, network: Adapter) -> None:
    masked = apply(model, prompt(network), mask=LEFT)
    fine = only(look(masked, layers=custom("input.1 = 1, output.11 = 1")))
    assert (fine[:, : SIDE // 2] > 0).all()
    assert (fine[:, SIDE // 2 :] == 0).all()
    coarse = only(look(masked))
    assert (coarse[:, : SIDE // 2] > 0).all()
    assert (coarse[:, -2:] == 0).all()


def test_shares_of_references_under_one_softmax_sum_to_1(model: Any, network: Adapter) -> None:
    maps = look(apply(model, prompt(network, 3)), "share")
    assert list(maps) == ["reference 1", "reference 2", "reference 3"]
    shares = torch.stack(list(maps.values()))
    assert (shares > 0.01).all()
    assert torch.allclose(shares.sum(0), torch.ones(SIDE, SIDE), atol=1e-5)


def test_shares_follow_the_weights_of_the_images(model: Any, network: Adapter) -> None:
    alike = look(apply(model, prompt(network, 2)), "share")
    heavy = look(apply(model, prompt(network, 2, gathering=Gathering(weights=(3.0, 1.0)))), "share")
    assert (heavy["reference 1"] > alike["reference 1"]).all()


def test_each_reference_under_one_softmax_has_its_own_influence(
    model: Any, network: Adapter, seen: SimpleNamespace
) -> None:
    both = prompt(network, 2)
    maps = look(apply(model, both), layers=FIRST, steps=(0.4,))
    keys, values = (part[:1] for part in both.parts[0].keys_values[0])
    text = seen.attended[0] - plain_image_attention(seen.q[0], keys, values, heads=8)
    for number, found in enumerate(maps.values()):
        own = values.clone()
        own[:, 4 * (1 - number) : 4 * (2 - number)] = 0
        added = plain_image_attention(seen.q[0], keys, own, heads=8)
        expected = rearrange(added.norm(dim=-1) / text.norm(dim=-1), "1 (h w) -> h w", h=SIDE)
        assert torch.allclose(found, expected, rtol=1e-4)


def test_tokens_of_one_image_share_all_attention(model: Any, network: Adapter) -> None:
    maps = look(apply(apply(model, prompt(network)), prompt(network, seed=3)), "tokens")
    assert list(maps) == ["token 1", "token 2", "token 3", "token 4"]
    assert torch.allclose(torch.stack(list(maps.values())).sum(0), torch.ones(SIDE, SIDE), atol=1e-5)


def test_references_are_numbered_over_all_prompts_and_weight_0_is_none(model: Any, network: Adapter) -> None:
    several = apply(apply(apply(model, prompt(network, 2)), prompt(network, seed=1), 0.0), prompt(network, seed=2))
    assert list(look(several)) == ["reference 1", "reference 2", "reference 3"]
    assert list(look(several, "share")) == ["reference 1", "reference 2"]


def test_prompts_are_told_apart_whatever_else_acts(model: Any, network: Adapter) -> None:
    """Also where one pushes away in negative rows, which nobody looks at, or rests at this step."""
    one, other = prompt(network), prompt(network, seed=1)
    alone = only(look(apply(model, other), layers=FIRST))
    swapping = from_weight_type("composition precise")
    for first in (
        apply(model, one),
        apply(model, one, layer_weights=swapping),
        apply(model, one, span=Span(0.0, 0.5)),
        apply(model, one, schedule=Schedule((Curve("points", "percent", points="0:1, 0.5:1, 0.5:0, 1:0"),))),
    ):
        found = look(apply(first, other), layers=FIRST)
        assert torch.allclose(found["reference 2"], alone, rtol=1e-4)


def test_what_only_pushes_away_has_no_influence(model: Any, network: Adapter) -> None:
    pushing = apply(model, prompt(network), layer_weights=from_weight_type("composition precise"))
    shares = from_weight_type("composition precise").per_layer(layout.layers(model.model.model_config.unet_config))
    straight = [layer for layer, share in shares.items() if share.positive]
    listed = ", ".join(f"{layer.stage}.{layer.block} = 1" for layer in straight)
    assert torch.equal(only(look(pushing)), only(look(pushing, layers=custom(listed))))


def test_layers_are_averaged_by_their_weights(model: Any, network: Adapter) -> None:
    prompted = apply(model, prompt(network))
    first, last = (only(look(prompted, layers=custom(text))) for text in ("input.1 = 1", "output.9 = 1"))
    both = only(look(prompted, layers=custom("input.1 = 3, output.9 = 1")))
    assert torch.allclose(both, (3 * first + last) / 4, rtol=1e-5)
    assert torch.equal(only(look(prompted, layers=custom("input.1 = 1, output.9 = -2"))), first)


def test_steps_are_averaged(model: Any, network: Adapter) -> None:
    prompted = apply(model, prompt(network))
    early, late, both = (only(look(prompted, steps=steps)) for steps in ((0.2,), (0.8,), (0.2, 0.8)))
    assert torch.allclose(both, (early + late) / 2, rtol=1e-5)
    assert not torch.allclose(early, late, rtol=1e-2)


def test_a_prompt_counts_where_it_acts(model: Any, network: Adapter) -> None:
    brief = apply(model, prompt(network), span=Span(0.0, 0.5))
    assert torch.equal(only(look(brief, steps=(0.2, 0.8))), only(look(brief, steps=(0.2,))))


def test_foreign_patches_are_part_of_the_text(model: Any, network: Adapter) -> None:
    prompted = apply(model, prompt(network))
    quieter = apply(halved(model, "input", 1), prompt(network))
    assert torch.allclose(only(look(quieter, layers=FIRST)), 2 * only(look(prompted, layers=FIRST)), rtol=1e-3)


def test_each_frame_has_its_own_map(model: Any, network: Adapter) -> None:
    prompted = apply(model, prompt(network), mask=torch.cat([LEFT, 1 - LEFT]))
    for frame, (here, there) in enumerate([(slice(0, 8), slice(8, 16)), (slice(8, 16), slice(0, 8))]):
        found = only(look(prompted, given=latent(2), frame=frame, layers=FIRST))
        assert (found[:, here] > 0).all()
        assert (found[:, there] == 0).all()


def test_frames_of_their_own_prompts_are_told_apart(model: Any, network: Adapter) -> None:
    framed = apply(model, prompt(network, 2, gathering=Gathering("one per frame", weights=(1.0, 0.0))))
    assert (only(look(framed, given=latent(2), frame=0)) > 0).all()
    assert (only(look(framed, given=latent(2), frame=1)) == 0).all()


def test_conds_with_an_area_are_seen_in_their_place(model: Any, network: Adapter) -> None:
    prompted = apply(model, prompt(network), mask=1 - LEFT)
    right = [[cond(1)[0][0], {"area": (SIDE, SIDE // 2, 0, SIDE // 2), "strength": 1.0}]]
    found = only(look(prompted, positive=right, layers=FIRST))
    assert (found[:, : SIDE // 2] == 0).all()
    assert (found[:, SIDE // 2 :] > 0).all()
    everywhere = only(look(prompted, positive=[*cond(1), *right], layers=FIRST))
    assert (everywhere[:, SIDE // 2 :] > 0).all()
    assert (everywhere[:, : SIDE // 2] == 0).all()


# How it looks


def test_the_model_is_called_with_the_noise_of_each_step(model: Any, network: Adapter, seen: SimpleNamespace) -> None:
    import comfy.sample

    sampling = model.get_model_object("model_sampling")
    steps = (0.0, 0.25, 0.8, 1.0)
    given = latent()
    look(apply(model, prompt(network)), given=given, steps=steps, seed=7)
    drawn = comfy.sample.prepare_noise(given["samples"], 7)
    inside = model.model.process_latent_in(given["samples"])
    sigmas = [sampling.sigma_max, sampling.percent_to_sigma(0.25), sampling.percent_to_sigma(0.8), sampling.sigma_min]
    assert len(seen.x) == len(steps)
    for x, t, sigma in zip(seen.x, seen.t, sigmas, strict=True):
        level = torch.tensor([float(sigma)])
        assert t.item() == sampling.timestep(level).item()
        assert torch.allclose(x, sampling.calculate_input(level, inside + level * drawn), rtol=1e-5)


def test_seeds_differ_and_repeat(model: Any, network: Adapter) -> None:
    prompted = apply(model, prompt(network))
    one, same, other = (only(look(prompted, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_who_looks_changes_nothing(
    model: Any, network: Adapter, seen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host import attention_map

    prompted = apply(apply(model, prompt(network, 2), 0.7, mask=LEFT), prompt(network, seed=4), span=Span(0.0, 0.5))
    look(prompted)
    watched = list(seen.out)
    seen.out.clear()
    monkeypatch.setattr(attention_map._CapturingSampler, "_with_hook", lambda sampler, given: given)
    with pytest.raises(ValueError, match="does not act"):  # nobody looked
        look(prompted)
    assert len(watched) == 2
    for one, other in zip(watched, seen.out, strict=True):  # the fast form sums in another order
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_sampling_is_not_watched(model: Any, network: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import layer_patch

    calls = {"_attend": 0, "_show_to_hook": 0}

    def counting(name: str) -> Any:
        real = getattr(layer_patch, name)

        def counted(*given: Any) -> Tensor:
            calls[name] += 1
            return real(*given)

        return counted

    prompted = apply(model, prompt(network))
    for name in calls:
        monkeypatch.setattr(layer_patch, name, counting(name))
    before = sample(prompted)
    assert calls == {"_attend": 16 * 4, "_show_to_hook": 0}
    look(prompted)
    assert calls == {"_attend": 16 * 6, "_show_to_hook": 16 * 2}
    assert torch.equal(sample(prompted), before)
    assert calls == {"_attend": 16 * 10, "_show_to_hook": 16 * 2}


def test_looking_leaves_the_model_as_it_was(model: Any, network: Adapter) -> None:
    prompted = apply(model, prompt(network))
    options, wrappers = str(prompted.model_options), str(prompted.wrappers)
    look(prompted)
    assert (str(prompted.model_options), str(prompted.wrappers)) == (options, wrappers)


def test_the_maps_are_plain_numbers_on_the_cpu(network: Adapter) -> None:
    half = Twins("SD1.5").patcher
    half.model.manual_cast_dtype = torch.bfloat16
    half.model.diffusion_model.to(torch.bfloat16)
    half.model.diffusion_model.dtype = torch.bfloat16
    found = only(look(apply(half, prompt(network))))
    assert (found.dtype, found.device.type, found.requires_grad) == (torch.float32, "cpu", False)


def test_guidance_is_left_out(model: Any, network: Adapter, seen: SimpleNamespace) -> None:
    def refused(args: Any) -> None:
        raise AssertionError("guidance is not looked at")

    guided = apply(model, prompt(network))
    guided.set_model_sampler_cfg_function(refused)
    guided.set_model_sampler_post_cfg_function(refused, disable_cfg1_optimization=True)
    look(guided)
    assert [len(x) for x in seen.x] == [1, 1]


@pytest.fixture
def traceable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attention that dynamo traces in one graph; with another, image prompts run without compilation anyhow."""
    import torch._dynamo
    from comfy.ldm.modules import attention
    from torch._dynamo.utils import counters

    monkeypatch.setattr(attention, "optimized_attention", attention.attention_pytorch)
    torch._dynamo.reset()
    counters.clear()


@pytest.mark.usefixtures("traceable")
@pytest.mark.parametrize("order", ["compiled last", "compiled first"])
def test_compiled_models_are_seen_as_others_are_and_not_compiled_anew(small: Twins, tmp_path: Path, order: str) -> None:
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from torch._dynamo.utils import counters

    def compiled(model: Any) -> Any:
        clone = model.clone()
        options = {"guard_filter_fn": lambda guards: [("transformer_options" not in guard.name) for guard in guards]}
        set_torch_compile_wrapper(model=clone, backend="eager", options=options)  # as core's node does
        return clone

    one = make_prompt(small, tmp_path, 1)
    plain = apply(small.patcher, one)
    found = compiled(plain) if order == "compiled last" else apply(compiled(small.patcher), one)
    before, graphs = sample(found), counters["stats"]["unique_graphs"]
    assert torch.equal(only(look(found)), only(look(plain)))
    assert counters["stats"]["unique_graphs"] == graphs > 0
    assert torch.equal(sample(found), before)


def test_an_interrupt_ends_it_at_once(model: Any, network: Adapter, seen: SimpleNamespace) -> None:
    import comfy.model_management as memory

    memory.interrupt_current_processing()
    with pytest.raises(memory.InterruptProcessingException):
        look(apply(model, prompt(network)))
    assert not seen.x
    look(apply(model, prompt(network)))


def test_progress_is_shown_step_by_step(model: Any, network: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.utils

    told = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda done, of, *rest, **more: told.append((done, of)))
    look(apply(model, prompt(network)), steps=(0.5,))
    assert told == [(1, 1)]


# What cannot be seen


def test_steps_that_are_counted_need_the_noise_levels_of_the_sampling(model: Any, network: Adapter) -> None:
    import comfy.samplers

    first = apply(model, prompt(network), span=Span(0, 2, "steps"))
    faded = apply(model, prompt(network), schedule=Schedule((Curve("linear", "steps"),)))
    for counted in (first, faded):
        with pytest.raises(ValueError, match="counts steps"):
            look(counted)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 4)
    assert torch.equal(
        only(look(first, sigmas=sigmas, steps=(0.1, 0.4, 0.9))), only(look(first, sigmas=sigmas, steps=(0.1, 0.4)))
    )
    with pytest.raises(ValueError, match="no image prompt acts"):
        look(first, sigmas=sigmas, steps=(0.9,))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"given": {"samples": torch.zeros(1, 4, SIDE, SIDE)}}, "this one is empty"),
        ({"given": {"samples": torch.ones(1, 16, SIDE, SIDE)}}, "1x16x16x16, and the model makes"),
        ({"given": {"samples": torch.ones(1, 4, 1, SIDE, SIDE)}}, "1x4x1x16x16, and the model makes"),
        ({"frame": 1}, "Set frame to less than 1, .*; found 1"),
        ({"images": torch.zeros(1, 128, 64, 3)}, "another shape"),
        ({"images": torch.zeros(2, 128, 128, 3)}, "images: 2"),
        ({"show": "share"}, "no shares to show"),
        ({"steps": (0.6, 0.8)}, r"acts at these steps \(0.6, 0.8\)"),
        ({"layers": custom("input.1 = 0")}, "in these layers"),
    ],
)
def test_what_cannot_be_seen_is_said_before_the_model_is_called(
    model: Any, network: Adapter, seen: SimpleNamespace, how: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        look(apply(model, prompt(network), span=Span(0.0, 0.5)), **how)
    assert not seen.x


def test_a_model_without_prompts_is_refused(model: Any, network: Adapter) -> None:
    for bare in (model, apply(model, prompt(network), 0.0)):
        with pytest.raises(ValueError, match="Connect the model after Apply Image Prompt"):
            look(bare)


def test_conds_that_rest_at_these_steps_are_named(model: Any, network: Adapter) -> None:
    resting = [[cond(1)[0][0], {"start_percent": 0.9, "end_percent": 1.0}]]
    with pytest.raises(ValueError, match="positive conditioning does not act"):
        look(apply(model, prompt(network)), positive=resting)


# The node


def run(model: Any, **more: Any) -> Any:
    from comfyui_ip_adapter.nodes.attention_map import AttentionMap

    image = torch.rand(1, 8 * SIDE, 8 * SIDE, 3)
    given = {"model": model, "positive": cond(1), "latent": latent(), "image": image, "show": "influence"}
    return AttentionMap.execute(**(given | {"percents": "0.3, 0.7", "seed": 0} | more))


def test_the_node_gives_a_picture_and_a_mask_for_each_reference(model: Any, network: Adapter) -> None:
    output = run(apply(model, prompt(network, 2)))
    picture, masks = output.args
    assert picture.shape[0] == 1
    assert picture.shape[-1] == 3
    assert masks.shape == (2, 8 * SIDE, 8 * SIDE)
    assert 0 <= masks.min() < masks.max() == 1
    assert len(output.ui["images"]) == 1


def test_masks_of_the_node_are_where_the_prompt_acts(model: Any, network: Adapter) -> None:
    masks = run(apply(model, prompt(network), mask=LEFT), layers=FIRST).args[1]
    assert (masks[..., :56] > 0).all()
    assert (masks[..., 72:] == 0).all()


def test_the_node_says_at_once_which_steps_cannot_be_read() -> None:
    from comfyui_ip_adapter.nodes.attention_map import AttentionMap

    assert AttentionMap.validate_inputs(percents="0.5") is True
    assert AttentionMap.validate_inputs(percents=None) is True
    assert "Write the steps to look at as fractions" in AttentionMap.validate_inputs(percents="half")


def test_the_node_offers_everything_there_is() -> None:
    from comfyui_ip_adapter.nodes.attention_map import AttentionMap

    inputs = {one.id: one for one in AttentionMap.define_schema().inputs}
    assert list(inputs["show"].options) == list(MAP_KINDS)
    assert inputs["seed"].control_after_generate is False
    assert all(one.tooltip for one in inputs.values())
