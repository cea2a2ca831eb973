"""InstantX's adapter on SD3.5: equal to diffusers, block by block, at each noise level."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, load
from comfyui_ip_adapter.ip_adapter_core.layers import architectures
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom
from fabricate import adapters
from published_shapes import entries
from sampled import STEPS, apply, difference, make_prompt, sample, with_layers
from sd3_twins import SD3Twins, hidden, sd3_adapter, sd3_call
from twins import TOLERANCE, error

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.fixture(scope="module")
def nested(sd3: SD3Twins) -> adapters.Nested:
    """An adapter that diffusers' model carries too."""
    made = sd3_adapter()
    sd3.attach(made)
    return made


@pytest.fixture
def model(sd3: SD3Twins) -> Any:
    return sd3.patcher


@pytest.fixture(scope="module")
def prompt(sd3: SD3Twins, tmp_path_factory: pytest.TempPathFactory) -> ImagePrompt:
    return make_prompt(sd3, tmp_path_factory.mktemp("adapters"), 1)


def ours(nested: adapters.Nested, folder: Path, cond: Tensor, uncond: Tensor) -> ImagePrompt:
    """The prompt of a file with InstantX's numbers."""
    adapters.save_file(adapters.flat(adapters.counted(nested)), folder / "adapter.safetensors")
    return image_prompt(load(folder / "adapter.safetensors"), (cond,), (uncond,))


def test_bare_models_agree(sd3: SD3Twins, nested: Any) -> None:
    given = sd3_call()
    sd3.set_reference_weight(0.0)
    expected = sd3.call_reference(given, hidden().expand(2, -1, -1))
    assert error(sd3.call_comfy(given, sd3.patcher), expected) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24)])
@pytest.mark.parametrize(("weight", "sigma"), [(1.0, 0.7), (0.4, 0.7), (1.0, 0.05), (1.0, 1.0)])
def test_prompted_models_agree(
    sd3: SD3Twins, nested: Any, tmp_path: Path, height: int, width: int, weight: float, sigma: float
) -> None:
    given, cond = sd3_call(2, height, width, sigma), hidden()
    sd3.set_reference_weight(weight)
    expected = sd3.call_reference(given, cond.expand(2, -1, -1))
    model = apply(sd3.patcher, ours(nested, tmp_path, cond, torch.zeros_like(cond)), weight)
    found = sd3.call_comfy(given, model, cond_or_uncond=[0])
    assert error(found, expected) < TOLERANCE
    assert error(found, sd3.call_comfy(given, sd3.patcher)) > 0.1


def test_an_adapter_that_diffusers_saved_does_what_it_does_there(sd3: SD3Twins, nested: Any, tmp_path: Path) -> None:
    torch.save(sd3.reference.state_dict(), tmp_path / "transformer.bin")
    given, cond = sd3_call(), hidden()
    sd3.set_reference_weight(0.7)
    expected = sd3.call_reference(given, cond.expand(2, -1, -1))
    prompt = image_prompt(load(tmp_path / "transformer.bin"), (cond,), (torch.zeros_like(cond),))
    found = sd3.call_comfy(given, apply(sd3.patcher, prompt, 0.7), cond_or_uncond=[0])
    assert error(found, expected) < TOLERANCE
    assert error(found, sd3.call_comfy(given, sd3.patcher)) > 0.1


@pytest.mark.parametrize("order", [[0], [1], [1, 0], [0, 1, 0]])
def test_every_row_gets_its_own_side(sd3: SD3Twins, nested: Any, tmp_path: Path, order: list[int]) -> None:
    given = sd3_call(2 * len(order))
    cond, uncond = hidden(seed=5), hidden(seed=6)
    sd3.set_reference_weight(1.0)
    rows = torch.cat([(cond, uncond)[side].expand(2, -1, -1) for side in order])
    model = apply(sd3.patcher, ours(nested, tmp_path, cond, uncond))
    found = sd3.call_comfy(given, model, cond_or_uncond=order)
    assert error(found, sd3.call_reference(given, rows)) < TOLERANCE


def test_several_references_share_one_softmax_by_their_weights(sd3: SD3Twins, nested: Any, tmp_path: Path) -> None:
    """A weight of 2 counts like the same picture twice."""
    network = load(adapters.save(tmp_path / "a.safetensors", nested))
    one, other = hidden(seed=5), hidden(seed=6)
    blank = torch.zeros_like(one)
    weighted = image_prompt(network, (torch.cat([one, other]),), (blank,), Gathering(weights=(2.0, 1.0)))
    thrice = image_prompt(network, (torch.cat([one, one, other]),), (blank,))
    given = sd3_call()
    found, expected = (
        sd3.call_comfy(given, apply(sd3.patcher, prompt), cond_or_uncond=[0]) for prompt in (weighted, thrice)
    )
    assert error(found, expected) < TOLERANCE
    plain = image_prompt(network, (torch.cat([one, other]),), (blank,))
    assert error(found, sd3.call_comfy(given, apply(sd3.patcher, plain), cond_or_uncond=[0])) > 1e-2


MAPS: dict[str, Any] = {
    "backwards": lambda layers: layers[::-1],
    "one block later": lambda layers: [*layers[1:], layers[0]],
}


@pytest.mark.parametrize("name", MAPS)
def test_another_order_of_blocks_is_a_wrong_map(sd3: SD3Twins, nested: Any, tmp_path: Path, name: str) -> None:
    assert _error_of_map(sd3, nested, tmp_path, MAPS[name]) > 0.1


def test_the_map_of_this_package_is_right(sd3: SD3Twins, nested: Any, tmp_path: Path) -> None:
    assert _error_of_map(sd3, nested, tmp_path, list) < TOLERANCE


def _error_of_map(sd3: SD3Twins, nested: Any, folder: Path, change: Any) -> float:
    given, cond = sd3_call(), hidden()
    sd3.set_reference_weight(1.0)
    expected = sd3.call_reference(given, cond.expand(2, -1, -1))
    layers = architectures.layers(sd3.construction.comfy)
    wrong = with_layers(sd3.patcher, ours(nested, folder, cond, cond), change(list(layers)), sd3.context)
    return error(sd3.call_comfy(given, wrong, cond_or_uncond=[0]), expected)


def test_every_block_is_called_exactly_once(
    sd3: SD3Twins, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import joint_blocks

    calls: Counter[Any] = Counter()
    picture = joint_blocks._picture
    monkeypatch.setattr(joint_blocks, "_picture", lambda *given: calls.update([id(given[0])]) or picture(*given))
    sd3.call_comfy(sd3_call(), apply(sd3.patcher, prompt), cond_or_uncond=[0])
    assert calls == {id(block.x_block.attn): 1 for block in sd3.patcher.model.diffusion_model.joint_blocks}


# The noise level


class Counting:
    """A network that notes at which timesteps it is asked, and for how many rows."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.asked: list[float] = []
        self.rows: list[int] = []

    def keys_values_at(self, tokens: Tensor, images: int, timestep: float) -> Any:
        self.asked.append(timestep)
        self.rows.append(len(tokens))
        return self.network.keys_values_at(tokens, images, timestep)


@pytest.mark.parametrize(("sampler", "calls"), [("euler", STEPS), ("heun", 2 * STEPS - 1), ("dpmpp_2m", STEPS)])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_noise_level_is_computed_once(
    model: Any, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch, sampler: str, calls: int, weighted: bool
) -> None:
    from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
    from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
    from comfyui_ip_adapter.nodes.host.sampling.run import Run

    levels: list[float] = []
    prepare = Run.prepare
    monkeypatch.setattr(
        Run,
        "prepare",
        lambda run, batch, sigma, **more: levels.append(sigma[0].item()) or prepare(run, batch, sigma, **more),
    )
    counting = Counting(prompt.timed)
    how = {"schedule": Schedule((Curve("linear", "steps", 1.0, 0.2),))} if weighted else {}
    sample(apply(model, replace(prompt, timed=counting), **how), sampler=sampler)
    assert len(levels) == calls
    assert counting.asked == pytest.approx([1000 * level for level in dict.fromkeys(levels)])


def test_a_batch_that_is_split_asks_for_no_row_twice(
    model: Any, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_patcher

    counting = Counting(prompt.timed)
    prompted = apply(model, replace(prompt, timed=counting))
    joined = sample(prompted)
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "get_free_memory", lambda *given: 1)
    assert difference(sample(prompted), joined) < 1e-4
    assert counting.rows == [2] * STEPS + [1] * 2 * STEPS


def test_the_host_loads_the_adapter_beside_the_model(
    model: Any, prompt: ImagePrompt, model_folders: Path, nested: Any
) -> None:

    from comfyui_ip_adapter.nodes.host import adapters as host

    adapters.save(model_folders / "ipadapter" / "sd3.safetensors", nested)
    loaded = host.load("sd3.safetensors")
    made = loaded.prompt((hidden(),), (torch.zeros_like(hidden()),))
    assert made.timed is loaded
    once = apply(model, made)
    twice = apply(once, made)
    assert [len(each.get_nested_additional_models()) for each in (model, once, twice)] == [0, 1, 1]
    assert once.get_nested_additional_models()[0].model is loaded.patcher.model
    core = replace(made, timed=load(model_folders / "ipadapter" / "sd3.safetensors"))
    assert difference(sample(once), sample(apply(model, core))) < 1e-5


# Other packs


def test_rows_that_cannot_be_followed_are_left_as_they_are(model: Any, prompt: ImagePrompt) -> None:
    longer = model.clone()

    def patch(args: Any, extra: Any) -> Any:
        out = extra["original_block"]({**args, "img": torch.cat([args["img"], args["img"][:, :2]], dim=1)})
        return {**out, "img": out["img"][:, :-2]}

    for number in (0, 1, 2):
        longer.set_model_patch_replace(patch, "dit", "double_block", number)
    assert torch.equal(sample(apply(longer, prompt)), sample(longer))


# What does not fit, before sampling


def test_lists_name_joint_blocks(model: Any, prompt: ImagePrompt) -> None:
    one = sample(apply(model, prompt, layer_weights=custom("joint.1 = 1")))
    assert difference(one, sample(apply(model, prompt, layer_weights=custom("1 = 1")))) == 0
    assert difference(one, sample(apply(model, prompt))) > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda block: setattr(block.x_block, "x_block_self_attn", True), "Load SD3.5 Large or a fine-tune of it, "),
        (lambda block: setattr(block.x_block.attn, "ln_q", torch.nn.Identity()), "Load SD3.5 Large or a fine-tune"),
    ],
    ids=["Medium", "SD3"],
)
def test_a_model_whose_blocks_attend_in_another_way_is_refused(prompt: ImagePrompt, change: Any, message: str) -> None:
    twins = SD3Twins()
    change(twins.patcher.model.diffusion_model.joint_blocks[1])
    with pytest.raises(ValueError, match=f"^{message}"):
        apply(twins.patcher, prompt)


# The published size


def test_the_published_file_fits_the_published_model() -> None:
    from comfy import model_detection, ops
    from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper

    published = {
        **{"in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 38, "adm_in_channels": 2048},
        **{"num_patches": 36864, "pos_embed_max_size": 192, "input_size": None, "qk_norm": "rms"},
        "context_embedder_config": {
            "target": "torch.nn.Linear",
            "params": {"in_features": 4096, "out_features": 2432},
        },
    }
    network = OpenAISignatureMMDITWrapper(device="meta", operations=ops.disable_weight_init, **published)
    config = model_detection.detect_unet_config(network.state_dict(), "")
    identity = identify(entries("ip-adapter (InstantX SD3.5)"))
    assert identity.geometry == architectures.geometry(config)
    assert identity.family == "SD3.5 Large"
    for layer in architectures.layers(config):
        assert network.joint_blocks[layer.block].x_block.attn.num_heads == layer.heads
