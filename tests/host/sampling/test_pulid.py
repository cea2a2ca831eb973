"""PuLID on a whole UNet: equal to its own attention formula in diffusers' UNet, layer by layer, and wrong maps fail."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention.application import ApplyOptions
from comfyui_ip_adapter.ip_adapter_core.attention.projection import METHODS
from comfyui_ip_adapter.ip_adapter_core.layers import layout
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt, image_prompt
from fabricate import adapters
from fabricate.adapters import KINDS, LEVELS, Nested
from face_prompts import widths
from sampled import apply, difference, sample, with_layers
from twins import TOLERANCE, Twins, call, error

pytestmark = pytest.mark.usefixtures("comfy")

ZEROS = {"fidelity": 8, "editable": 20, "style": 16, "neutral": 0}
each_kind = pytest.mark.parametrize("kind", ["PuLID v1", "PuLID v1.1"])


@pytest.fixture(scope="module")
def twins(comfy: None) -> Twins:
    return Twins("SDXL")


def pulid(twins: Twins, kind: str = "PuLID v1", seed: int = 0) -> Nested:
    """Tokens of either version are about as long: with longer ones a UNet of 70 layers magnifies its own rounding."""
    nested = adapters.adapter(widths=widths(twins), context=twins.context, seed=seed, **KINDS[kind])
    projection = nested["image_proj"]
    quieter = {name: value / 4 if name == "proj_out" else value for name, value in projection.items()}
    return {**nested, "image_proj": quieter}


def face(seed: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """What a face recognition network and EVA02 might say of a face."""
    random = torch.Generator().manual_seed(seed)
    found = [torch.randn(shape, generator=random) for shape in ((1, 512), (1, 64), (1, LEVELS, 5, 192))]
    return found[0], found[1] / found[1].norm(), found[2]


def prompt_of(nested: Nested, folder: Path) -> ImagePrompt:
    cond = face()
    network = load(adapters.save(folder / "pulid.safetensors", nested))
    return image_prompt(network, cond, tuple(torch.zeros_like(part) for part in cond))


class PlainProcessor:
    """Attention of diffusers with PuLID's term, row for row and head for head (pulid/attention_processor.py)."""

    def __init__(self, layer: dict[str, Tensor], tokens: Tensor, method: str, weight: float) -> None:
        """tokens: (rows, tokens, context), a row for each of the batch."""
        zeros = tokens.new_zeros(len(tokens), ZEROS[method], tokens.shape[-1])
        padded = torch.cat([tokens, zeros], dim=1)
        self.keys, self.values = (padded @ layer[f"to_{name}_ip.weight"].T for name in "kv")
        self.method, self.weight = method, weight

    def __call__(self, attn: Any, hidden: Tensor, *, encoder_hidden_states: Tensor, **_: Any) -> Tensor:
        context = encoder_hidden_states
        q, k, v = attn.to_q(hidden), attn.to_k(context), attn.to_v(context)
        rows = []
        for row in range(len(hidden)):
            text, _ = attended(q[row], k[row], v[row], attn.heads)
            seen, looks = attended(q[row], self.keys[row], self.values[row], attn.heads)
            part = text * (text * seen).sum(0) / (text * text).sum(0)
            stays = {"neutral": 1.0, "style": 0.0}.get(self.method, looks)
            rows.append(text + self.weight * (seen + (stays - 1) * part))
        return attn.to_out[0](torch.stack(rows))


def attended(q: Tensor, keys: Tensor, values: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Attention of one row, and how much each query looks at the first five tokens when scores are not scaled."""
    parts = [x.chunk(heads, -1) for x in (q, keys, values)]
    scores = [one @ other.T for one, other in zip(*parts[:2], strict=True)]
    size = q.shape[-1] // heads
    seen = [(score / size**0.5).softmax(-1) @ value for score, value in zip(scores, parts[2], strict=True)]
    looks = torch.stack([score.softmax(-1)[:, :5].sum(-1) for score in scores]).mean(0)
    return torch.cat(seen, -1), looks[:, None]


def reference(twins: Twins, nested: Nested, tokens: Tensor, method: str, weight: float = 1.0) -> Twins:
    """The twins whose UNet of diffusers has the plain term, by the places of its attentions (`attn_processors`)."""
    own = twins.with_own_reference()
    unet, processors = own.reference, {}
    for number, (name, usual) in enumerate(unet.attn_processors.items()):
        stem = f"{number}."
        layer = {key[len(stem) :]: value for key, value in nested["ip_adapter"].items() if key.startswith(stem)}
        assert bool(layer) == (".attn2." in name)
        processors[name] = PlainProcessor(layer, tokens, method, weight) if layer else usual
    unet.set_attn_processor(processors)
    return own


def rows_of(prompt: ImagePrompt, order: list[int]) -> Tensor:
    """Tokens of each row of a batch with two pictures on each side."""
    (part,) = prompt.parts
    return torch.cat([part.side(side).expand(2, -1, -1) for side in order])


@each_kind
@pytest.mark.parametrize("method", METHODS)
def test_prompted_models_agree(twins: Twins, tmp_path: Path, kind: str, method: str) -> None:
    nested, order = pulid(twins, kind), [COND, UNCOND]
    prompt, given = prompt_of(nested, tmp_path), call(twins.context, 4)
    expected = reference(twins, nested, rows_of(prompt, order), method, 0.8).call_reference(given)
    found = twins.call_comfy(given, apply(twins.patcher, prompt, 0.8, method=method), cond_or_uncond=order)
    assert error(found, expected) < TOLERANCE
    assert error(found, twins.call_comfy(given, twins.patcher)) > 0.1


def test_methods_differ(twins: Twins, tmp_path: Path) -> None:
    prompt, given = prompt_of(pulid(twins), tmp_path), call(twins.context)
    found = [twins.call_comfy(given, apply(twins.patcher, prompt, method=name), cond_or_uncond=[0]) for name in METHODS]
    for number, one in enumerate(found):
        assert all(error(one, other) > 1e-2 for other in found[number + 1 :])


@pytest.mark.parametrize(("kind", "usual"), [("PuLID v1", "fidelity"), ("PuLID v1.1", "editable")])
def test_each_version_has_the_method_of_its_authors(twins: Twins, tmp_path: Path, kind: str, usual: str) -> None:
    prompt, given = prompt_of(pulid(twins, kind), tmp_path), call(twins.context)
    found, wanted = (
        twins.call_comfy(given, apply(twins.patcher, prompt, **how), cond_or_uncond=[0])
        for how in ({}, {"method": usual})
    )
    assert torch.equal(found, wanted)


def _error_of_map(twins: Twins, folder: Path, change: Any) -> float:
    nested, given = pulid(twins), call(twins.context)
    prompt = prompt_of(nested, folder)
    expected = reference(twins, nested, rows_of(prompt, [COND]), "fidelity").call_reference(given)
    layers = change(layout.layers(twins.patcher.model.model_config.unet_config))
    model = with_layers(twins.patcher, prompt, layers, twins.context)
    return error(twins.call_comfy(given, model, cond_or_uncond=[0]), expected)


def _last_two_of_the_middle(layers: Any) -> Any:
    return [*layers[:-2], layers[-1], layers[-2]]


def _output_one_further(layers: Any) -> Any:
    """The output blocks of one width, each with the tensors of the next."""
    places = [number for number, layer in enumerate(layers) if layer.stage == "output" and layer.width == 128]
    turned = {place: layers[other] for place, other in zip(places, places[1:] + places[:1], strict=True)}
    return [turned.get(number, layer) for number, layer in enumerate(layers)]


def test_the_map_of_this_package_is_right(twins: Twins, tmp_path: Path) -> None:
    assert _error_of_map(twins, tmp_path, list) < TOLERANCE


@pytest.mark.parametrize("change", [_last_two_of_the_middle, _output_one_further])
def test_other_maps_are_wrong(twins: Twins, tmp_path: Path, change: Any) -> None:
    assert _error_of_map(twins, tmp_path, change) > 0.01


def test_weight_zero_and_steps_outside_are_the_model_bit_for_bit(twins: Twins, tmp_path: Path) -> None:
    from comfyui_ip_adapter.ip_adapter_core.settings.span import Span

    prompt, given = prompt_of(pulid(twins), tmp_path), call(twins.context)
    plain = twins.call_comfy(given, twins.patcher, cond_or_uncond=[0])
    silent = apply(twins.patcher, prompt, 0.0)
    over = apply(twins.patcher, prompt, 1.0, Span(0.0, 0.0))
    assert all(torch.equal(twins.call_comfy(given, one, cond_or_uncond=[0]), plain) for one in (silent, over))


def test_a_row_of_weight_zero_is_the_model_bit_for_bit(twins: Twins, tmp_path: Path) -> None:
    """Image prompts of frames: in the second, nothing acts."""
    from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering

    network = load(adapters.save(tmp_path / "pulid.safetensors", pulid(twins)))
    two = tuple(torch.cat([part, part]) for part in face())
    prompt = image_prompt(
        network, two, tuple(torch.zeros_like(part[:1]) for part in two), Gathering("one per frame", (1.0, 0.0))
    )
    given = call(twins.context)
    found = twins.call_comfy(given, apply(twins.patcher, prompt), cond_or_uncond=[0])
    plain = twins.call_comfy(given, twins.patcher, cond_or_uncond=[0])
    assert torch.equal(found[1], plain[1])
    assert error(found[:1], plain[:1]) > 0.1


def test_prompts_are_turned_from_the_text_alone_whatever_their_order(twins: Twins, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    one, other = prompt_of(pulid(twins), tmp_path), prompt_of(pulid(twins, "PuLID v1.1", 3), tmp_path / "b")
    given, plain = call(twins.context), twins.patcher
    both = [
        twins.call_comfy(given, apply(apply(plain, first, 0.5), second, 0.5), cond_or_uncond=[0])
        for first, second in ((one, other), (other, one))
    ]
    assert error(*both) < TOLERANCE


def test_a_mask_shows_where_it_acts(twins: Twins, tmp_path: Path) -> None:
    prompt, given = prompt_of(pulid(twins), tmp_path), call(twins.context)
    full, none = torch.ones(1, 16, 16), torch.zeros(1, 16, 16)
    usual = twins.call_comfy(given, apply(twins.patcher, prompt), cond_or_uncond=[0])
    assert torch.equal(twins.call_comfy(given, apply(twins.patcher, prompt, mask=full), cond_or_uncond=[0]), usual)
    plain = twins.call_comfy(given, twins.patcher, cond_or_uncond=[0])
    assert torch.equal(twins.call_comfy(given, apply(twins.patcher, prompt, mask=none), cond_or_uncond=[0]), plain)
    half = torch.cat([full[:, :8], none[:, 8:]], dim=1)
    partly = twins.call_comfy(given, apply(twins.patcher, prompt, mask=half), cond_or_uncond=[0])
    assert min(error(partly, usual), error(partly, plain)) > 0.01


def test_balanced_it_is_held_as_it_is_turned(twins: Twins, tmp_path: Path) -> None:
    """A cap far above what it says changes nothing; a louder adapter is held."""
    prompt, given = prompt_of(pulid(twins), tmp_path), call(twins.context)
    loud, capped, equal = (
        twins.call_comfy(given, apply(twins.patcher, prompt, 0.1, balance=balance), cond_or_uncond=[0])
        for balance in ("off", "cap", "equalise")
    )
    assert error(loud, capped) > 1e-3
    assert error(capped, equal) < 1e-4  # it says more than a tenth of the text in each layer


def test_whole_sampling_follows_it_and_leaves_the_model_alone(tmp_path: Path) -> None:
    small = Twins("one level")
    plain = sample(small.patcher)
    prompted = sample(apply(small.patcher, prompt_of(pulid(small), tmp_path)))
    assert difference(prompted, plain) > 0.01
    assert torch.equal(sample(small.patcher), plain)


@pytest.mark.parametrize("method", ["fidelity", "style"])
def test_other_kinds_refuse_it_before_sampling(twins: Twins, tmp_path: Path, method: str) -> None:
    from sampled import make_prompt

    with pytest.raises(ValueError, match=rf'^Set method to "auto"; "{method}" is for adapters of PuLID.* of kind base'):
        apply(twins.patcher, make_prompt(twins, tmp_path, 0), method=method)
    with pytest.raises(ValueError, match=r"^Set method to one of auto, fidelity"):
        apply(twins.patcher, make_prompt(twins, tmp_path, 0), method="nearest")


def test_the_default_is_auto() -> None:
    assert ApplyOptions().method == "auto"
