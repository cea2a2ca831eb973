"""Balance in ComfyUI's samplers: every layer is the plain formula, and several references have the say of one."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention import grouped
from comfyui_ip_adapter.ip_adapter_core.attention.balance import BALANCES, OFF, Balanced, plain_balance
from comfyui_ip_adapter.ip_adapter_core.attention.reference import plain_image_attention
from comfyui_ip_adapter.ip_adapter_core.attention.scaling import SCALINGS, scale_kv
from comfyui_ip_adapter.ip_adapter_core.layers.layout import layers
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from constructions import EMBED
from fabricate import adapters
from parts import half
from sampled import apply, difference, noise, sample
from twins import Twins

pytestmark = [pytest.mark.usefixtures("comfy"), pytest.mark.filterwarnings("ignore:Should have tb")]

ON = [mode for mode in BALANCES if mode != OFF]
each_mode = pytest.mark.parametrize("mode", ON)
Encoder = Callable[..., ImagePrompt]


@pytest.fixture(scope="module")
def encode(small: Twins, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Prompts of one adapter: of images by their seeds, gathered in some way."""
    widths = tuple(layer.width for layer in layers(small.patcher.model.model_config.unet_config))
    nested = adapters.adapter("base", widths, small.context, EMBED, 3, tokens=4)
    network = load(adapters.save(tmp_path_factory.mktemp("adapters") / "balance.safetensors", nested))

    def encoded(*seeds: int, how: str = "separate", **gathered: Any) -> ImagePrompt:
        images = [torch.randn(EMBED, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return image_prompt(network, (torch.stack(images),), (torch.zeros(1, EMBED),), Gathering(how, **gathered))

    return encoded


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """Of every layer in turn: its address, q, the text's attention, what came out, and whether the text is in that."""
    from comfyui_ip_adapter.nodes.host.sampling import layer_patch
    from comfyui_ip_adapter.nodes.host.sampling.layer_options import address_of

    calls: list[SimpleNamespace] = []
    original = layer_patch.add_images

    def recording(attended: Tensor, q: Tensor, options: Any, in_place: bool, text: Tensor | None = None) -> Tensor:
        before, address, heads = (attended if text is None else text).clone(), address_of(options), options["n_heads"]
        z = original(attended, q, options, in_place, text)
        calls.append(SimpleNamespace(address=address, heads=heads, q=q, text=before, z=z, inside=text is None))
        return z

    monkeypatch.setattr(layer_patch, "add_images", recording)
    return calls


def shares(seen: list[SimpleNamespace]) -> Tensor:
    """What is added over the text's norm, (layers, rows)."""
    return torch.stack([(call.z - call.text).norm(dim=(1, 2)) / call.text.norm(dim=(1, 2)) for call in seen])


# The formula


@each_mode
@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_layer_is_the_plain_formula(
    small: Twins, encode: Encoder, seen: list[SimpleNamespace], mode: str, scaling: str
) -> None:
    """Two references that are balanced, and one that is not; on the cond side."""
    from comfyui_ip_adapter.nodes.host.sampling.model_patch import installed_applications

    weights = {1: 0.9, 2: -0.4, 3: 0.6}
    model = small.patcher
    for seed, weight in weights.items():
        model = apply(model, encode(seed), weight, scaling=scaling, balance=OFF if seed == 3 else mode)
    sample(model, cfg=1.0, steps=1)
    assert len(seen) == small.construction.layers
    by_address = [
        {layer.address: term.kv for layer, (term,) in application.layers.items()}
        for application in installed_applications(model)
    ]
    for call in seen:
        added = []
        for application, found, weight in zip(installed_applications(model), by_address, weights.values(), strict=True):
            kv = type(found[call.address])(*(x[application.part.row_index[COND]] for x in found[call.address]))
            added.append(plain_image_attention(call.q, *scale_kv(kv, weight, scaling), call.heads))
        held = [Balanced(mode, each, torch.full((1, 1, 1), 0.9)) for each in added[:2]]
        expected = plain_balance(call.text, held) + added[2]
        torch.testing.assert_close(call.z, expected, atol=1e-5, rtol=1e-5)


@each_mode
def test_the_form_for_gpus_gives_what_that_for_processors_gives(
    small: Twins, encode: Encoder, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    used = apply(small.patcher, encode(1, 2, weights=(1.0, 0.4)), 0.7, balance=mode)
    used = apply(apply(used, encode(3), 0.4, balance=mode, mask=half("left")), encode(4), 0.3)
    expected = sample(used)
    monkeypatch.setitem(grouped.FORM_OF, "cpu", grouped.FORM_OF["cuda"])
    assert difference(sample(used), expected) < 1e-5
    monkeypatch.delitem(grouped.FORM_OF, "cpu")
    assert difference(sample(used), expected) < 1e-5


# What is held


@pytest.mark.parametrize("count", [1, 2, 4])
def test_equalised_references_say_together_what_the_weight_says(
    small: Twins, encode: Encoder, seen: list[SimpleNamespace], count: int
) -> None:
    """As applications one after the other, and as images of one prompt; on both sides of guidance."""
    apart = small.patcher
    for seed in range(count):
        apart = apply(apart, encode(seed), 0.6, balance="equalise")
    for used in (apart, apply(small.patcher, encode(*range(count)), 0.6, balance="equalise")):
        seen.clear()
        sample(used, steps=2)
        assert shares(seen).shape[1] == 2
        torch.testing.assert_close(shares(seen), torch.full_like(shares(seen), 0.6), atol=1e-4, rtol=0)


def test_capped_references_never_say_more_than_the_weight(
    small: Twins, encode: Encoder, seen: list[SimpleNamespace]
) -> None:
    for weight in (0.02, 3.0):
        seen.clear()
        sample(apply(small.patcher, encode(1, 2), weight, balance="cap"), steps=2)
        assert (shares(seen) <= weight * 1.0001).all()
    seen.clear()
    sample(apply(small.patcher, encode(1, 2), 0.3), steps=2)
    assert (shares(seen) > 0.3).any()


def test_each_layer_is_held_at_its_own_weight(small: Twins, encode: Encoder, seen: list[SimpleNamespace]) -> None:
    from comfyui_ip_adapter.nodes.host import models

    weights = from_weight_type("ease in")
    sample(apply(small.patcher, encode(1), 0.5, layer_weights=weights, balance="equalise"), steps=1)
    wanted = {
        layer.address: 0.5 * own.positive for layer, own in weights.per_layer(models.layers(small.patcher)).items()
    }
    assert len(set(wanted.values())) > 1
    for call, found in zip(seen, shares(seen), strict=True):
        assert found.tolist() == pytest.approx([wanted[call.address]] * 2, abs=1e-4)


def test_a_side_that_reads_nothing_is_left_alone(small: Twins, encode: Encoder, seen: list[SimpleNamespace]) -> None:
    """avoid acts on the negative side; the rows of the positive side are the text's, bit for bit."""
    from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import LayerWeight, LayerWeights

    avoid = LayerWeights("avoid", lambda model: [LayerWeight(0.0, 1.0)] * len(model))
    sample(apply(small.patcher, encode(1), 0.5, layer_weights=avoid, balance="equalise"), steps=1)
    found = shares(seen)
    assert {round(share, 3) for share in found.flatten().tolist()} == {0.0, 0.5}
    for call, row in zip(seen, found, strict=True):
        (quiet,) = (row == 0).nonzero()
        assert torch.equal(call.z[quiet], call.text[quiet])


def test_a_region_is_held_by_itself(small: Twins, encode: Encoder, seen: list[SimpleNamespace]) -> None:
    masks = {"left": 0.9, "right": 0.3}
    used = small.patcher
    for number, (side, weight) in enumerate(masks.items()):
        used = apply(used, encode(number), weight, mask=half(side), balance="equalise")
    sample(used, steps=1)
    for call in seen:
        if call.text.shape[1] < 64:
            continue
        added, text = ((x.reshape(2, 8, 8, -1)) for x in (call.z - call.text, call.text))
        for side, weight in zip((slice(4), slice(4, 8)), masks.values(), strict=True):
            found = added[:, :, side].norm() / text[:, :, side].norm()
            assert float(found) == pytest.approx(weight, abs=1e-4)


@each_mode
def test_frames_are_held_each_by_its_own_weight(
    small: Twins, encode: Encoder, seen: list[SimpleNamespace], mode: str
) -> None:
    falling = Schedule((Curve("linear", "frames", 1.0, 0.0),))
    sample(apply(small.patcher, encode(1), 0.8, schedule=falling, balance=mode), given=noise(3), steps=1, cfg=1.0)
    limits = torch.tensor([0.8, 0.4, 0.0])
    assert (shares(seen) <= limits * 1.0001).all()
    if mode == "equalise":
        torch.testing.assert_close(shares(seen), limits.expand(len(seen), 3), atol=1e-4, rtol=0)


# What stays


@each_mode
def test_weight_zero_is_the_model_and_a_black_mask_too_bit_for_bit(small: Twins, encode: Encoder, mode: str) -> None:
    bare = sample(small.patcher)
    assert torch.equal(sample(apply(small.patcher, encode(1), 0.0, balance=mode)), bare)
    assert torch.equal(sample(apply(small.patcher, encode(1), balance=mode, mask=torch.zeros(1, 8, 8))), bare)
    never = apply(small.patcher, encode(1), span=Span(10, 11, "steps"), balance=mode)
    assert torch.equal(sample(never), bare)


def test_off_is_what_it_was_bit_for_bit_beside_any_other(small: Twins, encode: Encoder) -> None:
    used = apply(small.patcher, encode(1), 0.7)
    assert torch.equal(sample(apply(small.patcher, encode(1), 0.7, balance=OFF)), sample(used))
    silent = apply(used, encode(2), 0.0, balance="equalise")
    assert torch.equal(sample(silent), sample(used))


@each_mode
def test_the_order_of_applications_does_not_matter(small: Twins, encode: Encoder, mode: str) -> None:
    first = apply(apply(small.patcher, encode(1), 0.7, balance=mode), encode(2), 0.5)
    other = apply(apply(small.patcher, encode(2), 0.5), encode(1), 0.7, balance=mode)
    assert difference(sample(first), sample(other)) < 1e-5
    assert difference(sample(first), sample(apply(apply(small.patcher, encode(1), 0.7), encode(2), 0.5))) > 1e-3


@each_mode
def test_a_schedule_that_passes_zero_gives_numbers(small: Twins, encode: Encoder, mode: str) -> None:
    crossing = Schedule((Curve("linear", "steps", 1.0, -1.0),))
    used = apply(apply(small.patcher, encode(1), 0.7, schedule=crossing, balance=mode), encode(2), 0.2, balance=mode)
    assert sample(used, steps=5).isfinite().all()


def test_an_unknown_balance_is_told_before_sampling(small: Twins, encode: Encoder) -> None:
    with pytest.raises(ValueError, match="Set balance to one of off, cap, equalise; found"):
        apply(small.patcher, encode(1), balance="loud")


# Beside other packs


@pytest.mark.parametrize("name", ["2 regions", "module exchanged", "pixels merged"])
def test_where_a_pack_changes_a_layer_the_text_before_it_is_measured(
    small: Twins, encode: Encoder, seen: list[SimpleNamespace], name: str
) -> None:
    from packs.neighbours.manners import MANNERS

    sample(MANNERS[name](apply(small.patcher, encode(1), 0.6, balance="equalise")), steps=2)
    assert not all(call.inside for call in seen)
    for call in seen:
        added = call.z - call.text if call.inside else call.z
        found = added.norm(dim=(1, 2)) / call.text.norm(dim=(1, 2))
        torch.testing.assert_close(found, torch.full_like(found, 0.6), atol=1e-4, rtol=0)
