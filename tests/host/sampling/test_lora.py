"""LoRA on a MODEL: what FaceID files bring along acts as in diffusers, once, and beside the LoRA of others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.layers import layout
from fabricate.adapters import KINDS, Nested
from face_prompts import FACE, face, face_prompt, faceid, found
from sampled import apply, sample
from twins import TOLERANCE, Twins, call, error

WEIGHTS = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}
pytestmark = pytest.mark.usefixtures("comfy")


@pytest.fixture(scope="module", params=["SD1.5", "SD2", "SDXL"])
def twins(request: pytest.FixtureRequest, comfy: None) -> Twins:
    return Twins(request.param)


def loras(twins: Twins, nested: Nested) -> dict[str, Tensor]:
    """The LoRA of a file as diffusers' own loader names it: `unet.<processor>.to_q_lora.down.weight`."""
    return twins.reference._load_ip_adapter_loras([nested])[0]


def merged(twins: Twins, *files: Nested, strength: float = 1.0, weight: float = 1.0) -> Twins:
    """Twins whose reference has LoRAs in its weights, and the first adapter attached by diffusers' own loader."""
    made = twins.with_own_reference()
    for lora in (loras(twins, nested) for nested in files):
        for name in lora:
            if name.endswith("_lora.down.weight"):
                attention, which = name.removeprefix("unet.").removesuffix("_lora.down.weight").split(".processor.")
                layer = made.reference.get_submodule(f"{attention}.{WEIGHTS[which]}")
                layer.weight += strength * lora[name.replace(".down.", ".up.")] @ lora[name]
    made.reference._load_ip_adapter_weights([files[0]], low_cpu_mem_usage=False)
    for processor in made.reference.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [weight]
    return made


def expected(reference: Twins, order: tuple[int, ...] = (0,)) -> Tensor:
    """What diffusers predicts for two pictures of each side of the batch."""
    rows = torch.cat([(face(), torch.zeros(1, FACE))[side].expand(2, 1, FACE) for side in order])
    return reference.call_reference(call(reference.context, len(rows)), rows)


@pytest.mark.parametrize("order", [(0,), (1, 0)])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_faceid_with_its_lora_predicts_what_diffusers_does(
    twins: Twins, tmp_path: Path, strength: float, order: tuple[int, ...]
) -> None:
    reference = merged(twins, faceid(twins), strength=strength)
    model = apply(twins.patcher, face_prompt(twins, tmp_path), lora_strength=strength)
    assert error(found(twins, model, order), expected(reference, order)) < TOLERANCE


def test_the_lora_is_a_visible_part_of_it(twins: Twins, tmp_path: Path) -> None:
    given = face_prompt(twins, tmp_path)
    with_lora, without = (found(twins, apply(twins.patcher, given, lora_strength=s)) for s in (1.0, 0.0))
    assert error(with_lora, without) > 0.05
    assert error(without, expected(merged(twins, faceid(twins), strength=0.0))) < TOLERANCE


def test_two_uses_of_one_adapter_have_its_lora_once(twins: Twins, tmp_path: Path) -> None:
    given = face_prompt(twins, tmp_path)
    model = apply(apply(twins.patcher, given), given)
    assert error(found(twins, model), expected(merged(twins, faceid(twins), weight=2.0))) < TOLERANCE


@pytest.mark.parametrize(
    ("said", "acts"),
    [
        ((0.5, 1.0), 1.0),
        ((1.0, 0.5), 0.5),
        ((-0.5, 0.5, 1.5), 1.5),
        ((1.0, 0.0), 0.0),
        ((0.0, 1.0), 1.0),
        ((0.0, None), 0.0),
        ((0.5, None, None), 0.5),
        ((None, 0.5), 0.5),
        ((None, None), 1.0),
    ],
)
@pytest.mark.parametrize("read_twice", [False, True])
def test_of_several_uses_the_last_strength_counts(
    small: Twins, tmp_path: Path, said: tuple[float | None, ...], acts: float, read_twice: bool
) -> None:
    given, again = face_prompt(small, tmp_path), face_prompt(small, tmp_path)
    model = small.patcher
    for number, strength in enumerate(said):
        model = apply(model, again if read_twice and number % 2 else given, lora_strength=strength)
    wanted = expected(merged(small, faceid(small), strength=acts, weight=len(said)))
    assert error(found(small, model), wanted) < TOLERANCE
    assert len(model.patches) == (8 * small.construction.layers if acts else 0)


def test_a_later_strength_leaves_the_earlier_model_and_other_loras_as_they_are(small: Twins, tmp_path: Path) -> None:
    own, other = faceid(small), faceid(small, 1)
    given = face_prompt(small, tmp_path)
    first = apply(by_loader(small.patcher, loras(small, other)), given, lora_strength=0.5)
    before, weights = found(small, first), first.patches_uuid
    for strength in (1.0, 0.0):
        later = apply(first, given, 1.0, lora_strength=strength)
        assert later.patches_uuid != weights  # by which the host knows that it has to load them
        wanted = merged(small, other, weight=0.0)
        wanted = expected(merged(wanted, own, strength=strength, weight=2.0)) if strength else None
        if wanted is not None:
            assert error(found(small, later), wanted) < TOLERANCE
        assert {len(patches) for patches in later.patches.values()} == {2 if strength else 1}
    assert torch.equal(found(small, first), before)


def test_strengths_that_differ_are_told_once(small: Twins, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = face_prompt(small, tmp_path)
    with caplog.at_level("INFO"):
        apply(apply(small.patcher, given, lora_strength=0.5), given, lora_strength=0.5)
        apply(apply(small.patcher, given, lora_strength=0.5), given)
        assert not [record for record in caplog.records if "lora_strength" in record.message]
        apply(apply(small.patcher, given, lora_strength=0.5), given, lora_strength=1.0)
    (told,) = [record.message for record in caplog.records if "lora_strength" in record.message]
    assert told == (
        "The LoRA of faceid.safetensors acts once on a model, at the lora_strength that is said last: 1. "
        "Said before: 0.5."
    )


@pytest.mark.parametrize("strength", [1e-3, -1e-3])
def test_the_strength_of_the_lora_is_a_number_of_its_own(small: Twins, tmp_path: Path, strength: float) -> None:
    """Next to weight 0 all of it is there, and at lora_strength 0 nothing of it."""
    given, bare = face_prompt(small, tmp_path), found(small, small.patcher)
    whole = expected(merged(small, faceid(small), weight=strength))
    assert error(found(small, apply(small.patcher, given, strength)), whole) < TOLERANCE
    assert error(whole, bare) > 0.05
    assert error(found(small, apply(small.patcher, given, strength, lora_strength=0.0)), bare) < 0.01


def test_weight_zero_says_nothing_about_the_lora_of_others(small: Twins, tmp_path: Path) -> None:
    given = face_prompt(small, tmp_path)
    once = apply(small.patcher, given, 0.7, lora_strength=0.5)
    twice = apply(once, given, 0.0, lora_strength=1.0)
    assert torch.equal(found(small, twice), found(small, once))


def test_two_adapters_have_both_loras(twins: Twins, tmp_path: Path) -> None:
    """The second acts by its LoRA, and for the rest as good as not."""
    first, second = (face_prompt(twins, tmp_path / str(seed), seed) for seed in (0, 1))
    model = apply(apply(twins.patcher, first), second, 1e-9)
    reference = merged(twins, faceid(twins), faceid(twins, 1))
    assert error(found(twins, model), expected(reference)) < TOLERANCE


def test_weight_zero_leaves_the_model_as_it_is_lora_included(twins: Twins, tmp_path: Path) -> None:
    bare = found(twins, twins.patcher)
    for strength in (1.0, 0.5, None):
        model = apply(twins.patcher, face_prompt(twins, tmp_path), 0.0, lora_strength=strength)
        assert not model.patches
        assert torch.equal(found(twins, model), bare)
    apply(twins.patcher, face_prompt(twins, tmp_path))
    assert not twins.patcher.patches
    assert torch.equal(found(twins, twins.patcher), bare)


def test_skipping_the_middle_block_leaves_out_its_layers_alone(
    twins: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import layer_patch

    attend, called = layer_patch._attend, []

    def noting(text: Any, q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
        called.append(options["block"][0])
        return attend(text, q, k, v, options)

    monkeypatch.setattr(layer_patch, "_attend", noting)
    model = apply(twins.patcher, face_prompt(twins, tmp_path), skip_middle=True)
    found(twins, model)
    middle = {16: 1, 70: 10}[twins.construction.layers]
    assert len(called) == twins.construction.layers - middle
    assert set(called) == {"input", "output"}
    assert len(model.patches) == 8 * twins.construction.layers  # the LoRA acts there all the same


def kohya(named: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """As the separate files for SDXL are published: with an alpha that is the rank."""
    for name, value in named.items():
        attention, which, half = name.removeprefix("unet.").replace(".processor", "").rsplit(".", 3)[:3]
        stem = f"lora_unet_{attention}_{which.removesuffix('_lora')}".replace(".", "_").replace("to_out", "to_out_0")
        yield f"{stem}.lora_{half}.weight", value.clone()
        yield f"{stem}.alpha", torch.tensor(KINDS["FaceID"]["rank"])


FILES = {"as diffusers names it": dict, "as the separate file is published": lambda named: dict(kohya(named))}


def by_loader(model: Any, lora: dict[str, Tensor]) -> Any:
    """A MODEL with a LoRA from ComfyUI's own loader."""
    from comfy.sd import load_lora_for_models

    return load_lora_for_models(model, None, lora, 1.0, 0.0)[0]


KINDS_OF_NUMBERS = (torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", KINDS_OF_NUMBERS)
@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0, None])
def test_a_copy_of_any_precision_is_not_added_again(
    small: Twins, tmp_path: Path, dtype: torch.dtype, strength: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    lora = {name: value.to(dtype) for name, value in loras(small, faceid(small)).items()}
    loaded, given = by_loader(small.patcher, lora), face_prompt(small, tmp_path)
    with caplog.at_level("INFO"):
        twice = apply(apply(loaded, given, lora_strength=strength), given, lora_strength=strength)
    assert {name: len(patches) for name, patches in twice.patches.items()} == dict.fromkeys(loaded.patches, 1)
    told = [record.message for record in caplog.records if "is not applied again" in record.message]
    assert len(told) == (2 if strength in (0.5, 0.0) else 0)
    assert all("at 1: it is not applied again, and lora_strength" in message for message in told)


@pytest.mark.parametrize("naming", FILES)
def test_a_lora_that_a_loader_has_loaded_is_not_added_again(twins: Twins, tmp_path: Path, naming: str) -> None:
    nested = faceid(twins)
    loaded = by_loader(twins.patcher, FILES[naming](loras(twins, nested)))
    assert len(loaded.patches) == 8 * twins.construction.layers
    model = apply(loaded, face_prompt(twins, tmp_path))
    assert error(found(twins, model), expected(merged(twins, nested))) < TOLERANCE


def test_another_lora_acts_beside_the_adapters(twins: Twins, tmp_path: Path) -> None:
    own, other = faceid(twins), faceid(twins, 1)
    model = apply(by_loader(twins.patcher, loras(twins, other)), face_prompt(twins, tmp_path))
    assert error(found(twins, model), expected(merged(twins, own, other))) < TOLERANCE


@pytest.mark.parametrize("seed", [0, 1])
def test_a_copy_that_is_loaded_later_is_told_when_sampling(
    small: Twins, tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    given = face_prompt(small, tmp_path)
    applied = apply(apply(small.patcher, given), given)
    sample(by_loader(applied, loras(small, faceid(small, seed))))
    told = [record.message for record in caplog.records if "it acts twice" in record.message]
    assert len(told) == (seed == 0)
    assert all(message.startswith("faceid.safetensors brings its LoRA along") for message in told)


def test_a_model_without_such_a_weight_is_refused_by_name(small: Twins, tmp_path: Path) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import lora

    given = face_prompt(small, tmp_path)
    assert given.lora is not None
    use = given.lora.use_on(layout.layers(small.patcher.model.model_config.unet_config), 1.0)
    name, pair = next(iter(use.patches.items()))
    use.patches["diffusion_model.nowhere.weight"] = pair
    with pytest.raises(ValueError, match=r"no diffusion_model\.nowhere\.weight, which the LoRA of faceid"):
        lora.settle(small.patcher.clone(), [use])
    assert name in use.patches
