"""The LoRA inside FaceID files: which weights of a model it is added to, and how."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.lora import AdapterLora, LoraUse, LowRank, expected_shapes
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS, FAMILIES
from comfyui_ip_adapter.ip_adapter_core.layers.layout import layers
from fabricate.adapters import LORA, lora_shapes
from published_shapes import entries
from twins import CONSTRUCTIONS

MODULES = {"SD1.5": 128, "SDXL": 560}
FILES = {"SD1.5": "ip-adapter-faceid_sd15", "SDXL": "ip-adapter-faceid_sdxl"}


@cache
def weights(family: str) -> dict[int, dict[str, Tensor]]:
    """The LoRA of a published file; every tensor is another object."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, entry in entries(FILES[family]).items():
        half, number, key = name.split(".", 2)
        if half == "ip_adapter" and "_lora." in key:
            found.setdefault(int(number), {})[key] = torch.empty(entry.shape, device="meta")
    return found


def used(family: str, strength: float = 1.0) -> LoraUse:
    return AdapterLora("faceid.bin", weights(family)).use_on(layers(CONFIGS[family]), strength)


def translated(family: str) -> dict[str, str]:
    """ComfyUI's own table of a whole UNet: name in diffusers -> name in its model."""
    from comfy.utils import unet_to_diffusers

    config = dict(CONFIGS[family])
    blocks = config["num_res_blocks"]
    return unet_to_diffusers(config | {"num_res_blocks": [2, 2, 2] if blocks == 2 else blocks})


@pytest.mark.parametrize("family", MODULES)
def test_every_attention_of_the_model_has_four(family: str) -> None:
    patches = used(family).patches
    assert len(patches) == MODULES[family]
    names = {name.rsplit(".attn", 1)[1] for name in patches}
    weights_of_one = ("to_q", "to_k", "to_v", "to_out.0")
    assert names == {f"{number}.{weight}.weight" for number in (1, 2) for weight in weights_of_one}


@pytest.mark.parametrize("family", MODULES)
def test_the_names_are_those_of_comfyuis_model(family: str, comfy: None) -> None:
    found = {f"diffusion_model.{name}" for name in translated(family).values()}
    attentions = {name for name in found if ".attn" in name and name.endswith(".weight")}
    assert used(family).patches.keys() == attentions


@pytest.mark.parametrize("family", MODULES)
def test_the_numbers_are_those_of_diffusers_attentions(family: str, comfy: None) -> None:
    """Its processors in order, translated by ComfyUI's own table, name the weights that each number is added to."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        reference: Any = UNet2DConditionModel(layers_per_block=2, norm_num_groups=32, **CONSTRUCTIONS[family].diffusers)
    names, found, patches = translated(family), weights(family), used(family).patches
    assert len(reference.attn_processors) == len(found)
    for number, processor in enumerate(reference.attn_processors):
        attention = processor.removesuffix(".processor")
        for ours, theirs in zip(LORA, ("to_q", "to_k", "to_v", "to_out.0"), strict=True):
            pair = patches[f"diffusion_model.{names[f'{attention}.{theirs}.weight']}"]
            assert pair.up is found[number][f"{ours}_lora.up.weight"]
            assert pair.down is found[number][f"{ours}_lora.down.weight"]


def test_self_attentions_are_even_and_cross_attentions_odd() -> None:
    found, patches = weights("SD1.5"), used("SD1.5").patches
    first = "diffusion_model.input_blocks.1.1.transformer_blocks.0"
    last = "diffusion_model.middle_block.1.transformer_blocks.0"
    for place, number in ((f"{first}.attn1", 0), (f"{first}.attn2", 1), (f"{last}.attn1", 30), (f"{last}.attn2", 31)):
        assert patches[f"{place}.to_k.weight"].down is found[number]["to_k_lora.down.weight"]
    assert patches[f"{first}.attn1.to_k.weight"].down.shape == (128, 320)
    assert patches[f"{first}.attn2.to_k.weight"].down.shape == (128, 768)


def test_what_is_added_has_the_shape_of_the_weight_and_no_other_factor() -> None:
    use = used("SD1.5", 0.5)
    assert (use.file, use.strength) == ("faceid.bin", 0.5)
    for name, pair in use.patches.items():
        reads = 768 if "attn2.to_k" in name or "attn2.to_v" in name else pair.up.shape[0]
        assert (pair.up @ pair.down).shape == (pair.up.shape[0], reads)
        assert pair._fields == ("up", "down")  # and no alpha


@pytest.mark.parametrize("rank", [1, 128, 400])
@pytest.mark.parametrize("turned", [False, True])
def test_expected_shapes_are_those_of_a_file_of_any_rank(rank: int, turned: bool) -> None:
    geometry = FAMILIES["SD1.5"]
    shapes = lora_shapes(geometry.widths, geometry.context, rank)
    found: dict[int, dict[str, tuple[int, ...]]] = {}
    for name, shape in reversed(shapes.items()) if turned else shapes.items():
        number, key = name.split(".", 1)
        found.setdefault(int(number), {})[key] = shape
    assert expected_shapes(geometry, found) == {f"ip_adapter.{name}": shape for name, shape in shapes.items()}


def test_a_file_without_a_lora_needs_none() -> None:
    assert expected_shapes(FAMILIES["SD1.5"], {}) == {}


def test_published_names_are_given_back() -> None:
    published = AdapterLora("faceid.bin", weights("SD1.5")).named_tensors()
    assert published.keys() == {name for name in entries(FILES["SD1.5"]) if "_lora." in name}


def pair(seed: int = 0, dtype: torch.dtype = torch.float32) -> LowRank:
    random = torch.Generator().manual_seed(seed)
    return LowRank(torch.randn(32, 4, generator=random).to(dtype), torch.randn(4, 16, generator=random).to(dtype))


KINDS = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn)


@pytest.mark.parametrize("ours", KINDS)
@pytest.mark.parametrize("theirs", KINDS)
def test_a_copy_in_another_precision_is_known(ours: torch.dtype, theirs: torch.dtype) -> None:
    assert pair(0, ours).is_in((*pair(0, theirs), None))
    assert not pair(0, ours).is_in((*pair(1, theirs), None))


def test_both_halves_of_a_copy_count() -> None:
    one, other = pair(0), pair(1)
    assert not one.is_in((one.up, other.down))
    assert not one.is_in((other.up, one.down))
    assert one.is_in((one.up.clone(), one.down.clone()))


@pytest.mark.parametrize(
    "others",
    [(), (torch.ones(32, 4),), (None, None), (torch.ones(4, 32), torch.ones(16, 4)), (torch.ones(32, 4).long(),) * 2],
)
def test_what_is_no_such_pair_is_no_copy(others: tuple[object, ...]) -> None:
    assert not pair().is_in(others)


def test_a_copy_on_another_device_is_compared_on_ours() -> None:
    """A fake device has shapes and no values: the comparison gets as far as asking for one, and mixes no devices."""
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        theirs = tuple(torch.empty(half.shape, dtype=torch.float16, device="cuda") for half in pair())
        with pytest.raises(DataDependentOutputException):
            pair().is_in(theirs)


def test_uses_are_of_one_lora_where_the_tensors_are_or_the_values() -> None:
    use = LoraUse("a.bin", {"there": pair()})
    assert use.same(LoraUse("renamed.bin", {"there": pair(dtype=torch.float16)}, 0.5))
    assert not use.same(LoraUse("a.bin", {"there": pair(1)}))
    assert not use.same(LoraUse("a.bin", {"elsewhere": pair()}))
