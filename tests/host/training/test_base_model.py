"""Training through the host's real UNet: the sampling path's own attention, in and out of inference mode."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters import loading as core
from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.layers import layout
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import image_prompt
from comfyui_ip_adapter.ip_adapter_core.training.engines import Alone
from comfyui_ip_adapter.ip_adapter_core.training.loop import train
from comfyui_ip_adapter.ip_adapter_core.training.settings import Settings
from constructions import EMBED
from sampled import apply
from training.beginnings import QUICK, beginning, sdxl, tower
from twins import Twins

pytestmark = pytest.mark.usefixtures("comfy")


def learned(model: Any, settings: Settings = QUICK, **more: Any) -> Adapter:
    """An adapter after a few steps on a MODEL."""
    from comfyui_ip_adapter.nodes.host.training import base_model

    pooled = bool(model.model.adm_channels)
    context = model.model.model_config.unet_config["context_dim"]
    with base_model.HostBase(model, **more) as base:
        adapter = beginning(model)
        train(adapter, base, tower(context, pooled=pooled), settings)
    return adapter


def gradients(model: Any, adapter: Adapter, **more: Any) -> dict[str, Tensor]:
    """Of the sum of squares of one denoised batch."""
    from comfyui_ip_adapter.nodes.host.training import base_model

    rows = tower(model.model.model_config.unet_config["context_dim"], pooled=bool(model.model.adm_channels)).rows(
        [0, 1]
    )
    latents, features = rows.pop("latents"), rows.pop("features")
    with base_model.HostBase(model, **more) as base:
        adapter.zero_grad()
        sigmas = base.sigmas(torch.tensor([0.3, 0.8]))
        base.denoised(
            base.noised(latents, latents.flip(0), sigmas), sigmas, rows, adapter(features)
        ).square().sum().backward()
    return {name: parameter.grad for name, parameter in adapter.named_parameters() if parameter.grad is not None}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def copied(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_a_step_moves_every_part_of_the_adapter_and_nothing_of_the_model(sd15: Twins) -> None:
    before, first = copied(sd15.patcher.model), beginning(sd15.patcher).state_dict()
    adapter = learned(sd15.patcher, replace(QUICK, steps=1, weight_decay=0, drop_image=0, drop_both=0))
    assert same(copied(sd15.patcher.model), before)
    assert all(parameter.grad is None for parameter in sd15.patcher.model.parameters())
    still = [name for name, tensor in adapter.state_dict().items() if torch.equal(tensor, first[name])]
    assert not still


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_every_parameter_has_a_gradient(sd15: Twins, kind: str) -> None:
    adapter = beginning(sd15.patcher, kind)
    if kind == "plus":
        project = adapter.tokens
        adapter.tokens = lambda features: project(features[:, None].expand(-1, 5, -1))  # type: ignore[method-assign]
    found = gradients(sd15.patcher, adapter)
    assert found.keys() == dict(adapter.named_parameters()).keys()
    assert [name for name, gradient in found.items() if not gradient.any()] == []


def test_the_models_flags_and_blocks_are_put_back(sd15: Twins) -> None:
    import comfy.model_management as memory

    network = sd15.patcher.model.diffusion_model
    network.requires_grad_(False).eval().out.train()
    network.out[2].weight.requires_grad_(True)
    gradients(sd15.patcher, beginning(sd15.patcher), checkpointing=True)
    assert [module.training for module in (network.out, network.middle_block)] == [True, False]
    assert [name for name, parameter in network.named_parameters() if parameter.requires_grad] == ["out.2.weight"]
    assert network.out[2].weight.grad is None
    assert not any("forward" in vars(module) for module in network.modules())
    assert not getattr(memory, "in_training", False)
    network.requires_grad_(False).eval()


@pytest.mark.parametrize("name", ["SD1.5", "SD2", "one level"])
def test_a_saved_adapter_predicts_in_sampling_what_it_did_in_training(name: str, comfy: None, tmp_path: Path) -> None:
    from comfyui_ip_adapter.nodes.host.training import base_model

    model = Twins(name).patcher
    adapter = learned(model)
    save_file(adapter.state_dict(), tmp_path / "trained.safetensors")
    rows = tower(model.model.model_config.unet_config["context_dim"]).rows([0])
    sigmas = torch.tensor([2.0])
    with base_model.HostBase(model) as base:
        noisy = base.noised(rows["latents"], rows["latents"].flip(3), sigmas)
        trained = base.denoised(noisy, sigmas, {"context": rows["context"]}, adapter(rows["features"]))
    loaded = core.load(tmp_path / "trained.safetensors")
    prompted = apply(model, image_prompt(loaded, (rows["features"],), (rows["features"] * 0,)))
    sampled, bare = (call(given, noisy, sigmas, rows["context"]) for given in (prompted, model))
    assert (sampled - trained).abs().max() < 1e-5
    assert (sampled - bare).abs().max() > 1e-3


def call(model: Any, noisy: Tensor, sigmas: Tensor, context: Tensor) -> Tensor:
    """What sampling asks of a MODEL."""
    options = {**model.model_options["transformer_options"], "cond_or_uncond": [0]}
    with torch.no_grad():
        return model.model.apply_model(noisy, sigmas, c_crossattn=context, transformer_options=options)


def test_every_picture_of_a_batch_has_its_own_prompt(sd15: Twins) -> None:
    from comfyui_ip_adapter.nodes.host.training import base_model

    adapter, rows = beginning(sd15.patcher), tower(sd15.context).rows([0, 1])
    sigmas = torch.tensor([2.0, 0.5])

    def denoised(base: Any, which: slice) -> Tensor:
        text = {"context": rows["context"][which]}
        return base.denoised(rows["latents"][which], sigmas[which], text, adapter(rows["features"][which]))

    with base_model.HostBase(sd15.patcher) as base:
        both = denoised(base, slice(2))
        one, other = denoised(base, slice(0, 1)), denoised(base, slice(1, 2))
    torch.testing.assert_close(both, torch.cat([one, other]), rtol=0, atol=1e-5)


def test_training_works_inside_a_node(comfy: None) -> None:
    """Nodes, loaders among them, run in inference mode; autograd refuses tensors that were made there."""
    outside = learned(Twins("one level").patcher).state_dict()
    with torch.inference_mode():
        patcher = as_loaded_by_a_node(Twins("one level").patcher)
        memory = {name: weight.data_ptr() for name, weight in patcher.model.named_parameters()}
        inside = learned(patcher)
        assert torch.is_inference_mode_enabled()
        assert {name: weight.data_ptr() for name, weight in patcher.model.named_parameters()} == memory
    assert same(inside.state_dict(), outside)
    assert not any(parameter.is_inference() for parameter in inside.parameters())


def as_loaded_by_a_node(patcher: Any) -> Any:
    """The same weights as inference tensors."""
    for module in patcher.model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(parameter.clone(), requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.clone()
    assert all(parameter.is_inference() for parameter in patcher.model.parameters())
    return patcher


def test_a_choice_of_the_host_without_a_backward_pass_does_no_harm(
    sd15: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy.ldm.modules import attention

    adapter = beginning(sd15.patcher)
    expected = {name: gradient.clone() for name, gradient in gradients(sd15.patcher, adapter).items()}
    chosen = attention.optimized_attention

    def without_gradients(q: Tensor, k: Tensor, v: Tensor, heads: int, **more: Any) -> Tensor:
        return chosen(q.detach(), k.detach(), v.detach(), heads, **more)

    monkeypatch.setattr(attention, "optimized_attention", attention.wrap_attn(without_gradients))
    assert same(gradients(sd15.patcher, adapter), expected)


def test_checkpointing_changes_memory_and_no_gradient(sd15: Twins) -> None:
    adapter = beginning(sd15.patcher)
    kept: list[int] = []

    def counted(**more: Any) -> dict[str, Tensor]:
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t
        ):  # type: ignore[func-returns-value]
            found = gradients(sd15.patcher, adapter, **more)
        return {name: gradient.clone() for name, gradient in found.items()}

    plain = counted()
    plainly = sum(kept)
    kept.clear()
    again = counted(checkpointing=True)
    assert sum(kept) < plainly
    for name in plain:
        torch.testing.assert_close(again[name], plain[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("dtype", "cast"), [(torch.float16, False), (torch.bfloat16, False), (torch.float16, True)])
def test_a_base_in_half_precision_trains_an_adapter_in_fp32(dtype: torch.dtype, cast: bool) -> None:
    """cast: weights in half precision, computed with in fp32."""
    expected = gradients(Twins("one level").patcher, beginning(Twins("one level").patcher))
    patcher = Twins("one level").patcher
    patcher.model.diffusion_model.to(dtype).dtype = dtype
    if cast:
        patcher.model.manual_cast_dtype = torch.float32
        for module in patcher.model.diffusion_model.modules():
            if hasattr(module, "comfy_cast_weights"):
                module.comfy_cast_weights = True
    found = gradients(patcher, beginning(patcher))
    for name, gradient in found.items():
        assert gradient.dtype is torch.float32
        cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), expected[name].flatten(), dim=0)
        assert cosine > (0.9999 if cast else 0.98), name


def with_sampling(model: Any, kind: str) -> Any:
    """The model after the host's own ModelSamplingDiscrete or ModelSamplingSD3 node."""
    from comfy_extras import nodes_model_advanced as advanced

    if kind == "flow":
        return advanced.ModelSamplingSD3().patch(model, 3.0)[0]
    return advanced.ModelSamplingDiscrete().patch(model, kind, False)[0]


@pytest.mark.parametrize(("kind", "row"), [("eps", "eps"), ("v_prediction", "v"), ("flow", "flow")])
def test_the_way_of_predicting_and_its_schedule_come_from_the_model(kind: str, row: str, comfy: None) -> None:
    from comfyui_ip_adapter.nodes.host.training import base_model

    model = with_sampling(Twins("one level").patcher, kind)
    with base_model.HostBase(model) as base:
        assert base.prediction == row
        levels = base.sigmas(torch.tensor([0.0, 0.5, 0.9999]))
        sampling = model.get_model_object("model_sampling")
        torch.testing.assert_close(levels, sampling.sigmas[[0, 500, 999]])
        clean, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        share = levels[:, None, None, None]
        expected = share * noise + (1 - share) * clean if row == "flow" else clean + share * noise
        torch.testing.assert_close(base.noised(clean, noise.clone(), levels), expected)
    assert learned(model, replace(QUICK, steps=1))


@pytest.mark.parametrize("kind", ["lcm", "x0"])
def test_unknown_ways_of_predicting_are_refused(sd15: Twins, kind: str) -> None:
    from comfyui_ip_adapter.nodes.host.training import base_model

    with pytest.raises(ValueError, match=r"^Connect a model that predicts by EPS, V_PREDICTION, CONST"):
        base_model.HostBase(with_sampling(sd15.patcher, kind))


def test_models_that_cannot_be_trained_on_are_refused(sd15: Twins) -> None:
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    from comfyui_ip_adapter.nodes.host.training import base_model

    begun = beginning(sd15.patcher).requires_grad_(False)
    prompt = image_prompt(begun, (torch.ones(1, EMBED),), (torch.zeros(1, EMBED),))
    with pytest.raises(ValueError, match="this one follows one already"):
        base_model.HostBase(apply(sd15.patcher, prompt))
    clone = sd15.patcher.clone()
    set_torch_compile_wrapper(model=clone, backend="eager")
    with pytest.raises(ValueError, match="is compiled"):
        base_model.HostBase(clone)


def test_a_fresh_adapter_begins_with_the_models_patched_weights(sd15: Twins) -> None:
    from comfyui_ip_adapter.nodes.host.training import base_model

    plain = base_model.attention_weights(sd15.patcher)
    layers = layout.layers(sd15.patcher.model.model_config.unet_config)
    assert [tuple(to_k.shape) for to_k, _ in plain] == [(layer.width, sd15.context) for layer in layers]
    reference = {name: tensor for name, tensor in sd15.reference.state_dict().items() if "attn2.to_" in name}
    assert torch.equal(plain[0][0], reference["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"])
    assert torch.equal(plain[-1][1], reference["mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight"])
    patched = sd15.patcher.clone()
    key = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_v.weight"
    patched.add_patches({key: (torch.ones_like(plain[-1][1]),)}, 0.5)
    with_lora = base_model.attention_weights(patched)
    torch.testing.assert_close(with_lora[-1][1], plain[-1][1] + 0.5)
    assert all(torch.equal(*pair) for pair in zip(with_lora[0], plain[0], strict=True))
    again = base_model.attention_weights(sd15.patcher)
    assert torch.equal(again[-1][1], plain[-1][1])


def test_sdxl_reads_the_pooled_text_and_the_size(comfy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host.training import base_model

    model = sdxl()
    seen = vectors(model, monkeypatch)
    adapter = beginning(model)
    rows = tower(48, pooled=True, size=16).rows([0, 1])
    features, latents = rows.pop("features"), rows.pop("latents")
    sizes = {"width": torch.tensor([512.0, 640.0]), "crop_h": torch.tensor([8.0, 0.0])}
    with base_model.HostBase(model) as base:
        sigmas = base.sigmas(torch.tensor([0.5, 0.5]))
        for text in (rows, rows | sizes):
            base.denoised(latents, sigmas, text, adapter(features))
        with pytest.raises(ValueError, match="Give the examples `pooled` rows"):
            base.denoised(latents, sigmas, {"context": rows["context"]}, adapter(features))

    def expected(row: int, **given: float) -> Tensor:
        named = {"width": 128, "height": 128} | given
        return model.model.encode_adm(pooled_output=rows["pooled"][row : row + 1], **named)

    torch.testing.assert_close(seen[0], torch.cat([expected(0), expected(1)]))
    torch.testing.assert_close(seen[1], torch.cat([expected(0, width=512, crop_h=8), expected(1, width=640)]))
    assert learned(model, replace(QUICK, steps=1))


def vectors(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What the UNet is told beside the text, call by call."""
    seen: list[Tensor] = []
    forward: Callable[..., Tensor] = model.model.diffusion_model.forward

    def recording(*given: Any, **more: Any) -> Tensor:
        seen.append(more["y"])
        return forward(*given, **more)

    monkeypatch.setattr(model.model.diffusion_model, "forward", recording)
    return seen


def test_the_vaes_latents_are_scaled_as_the_model_sees_them(sd15: Twins) -> None:
    from comfyui_ip_adapter.nodes.host.training import base_model

    assert torch.equal(base_model.latents(sd15.patcher, torch.ones(1, 4, 2, 2)), torch.full((1, 4, 2, 2), 0.18215))


class Recording(Alone):
    """Remembers the gradients that the optimizer steps with; scaled: whether it may scale the loss."""

    def __init__(self, scaled: bool = True) -> None:
        super().__init__()
        self._scaled = scaled
        self.gradients: list[Tensor] = []

    def scaler(self, base: torch.dtype) -> Any:
        return super().scaler(base) if self._scaled else None

    def backward(self, loss: Tensor) -> None:
        super().backward(loss * 16**2 / (4 * 64**2))  # one picture of 128 pixels, as if it were four of 512

    def step(self, network: torch.nn.Module, optimizer: Any, clip: float) -> None:
        super().step(network, Noting(optimizer, self.gradients), clip)


class Noting:
    """An optimizer that keeps the gradients of its step instead of making it."""

    def __init__(self, optimizer: Any, gradients: list[Tensor]) -> None:
        self._optimizer, self._gradients = optimizer, gradients

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)

    def step(self, *given: Any, **more: Any) -> None:
        for group in self._optimizer.param_groups:
            self._gradients += [parameter.grad.clone() for parameter in group["params"]]


def in_half(patcher: Any, dtype: torch.dtype = torch.float16) -> Any:
    """The MODEL as the host loads it on a GPU: weights and computation in half precision."""
    patcher.model.diffusion_model.to(dtype).dtype = dtype
    return patcher


def stepped(model: Any, engine: Recording) -> list[Tensor]:
    """The gradients of one step, as small as those of a batch of 512 pixels."""
    from comfyui_ip_adapter.nodes.host.training import base_model

    settings = replace(QUICK, steps=1, batch=1, drop_text=0, drop_image=0, drop_both=0)
    with base_model.HostBase(model) as base:
        train(beginning(model), base, tower(48, size=16), settings, engine=engine)
    return engine.gradients


def off(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative distance of any parameter's gradient."""
    pairs = zip(found, expected, strict=True)
    return max(((one - other).norm() / other.norm()).item() for one, other in pairs)


def test_gradients_pass_a_base_in_half_precision_scaled(comfy: None) -> None:
    exact = stepped(Twins("one level").patcher, Recording())
    scaled = off(stepped(in_half(Twins("one level").patcher), Recording()), exact)
    plain = off(stepped(in_half(Twins("one level").patcher), Recording(scaled=False)), exact)
    assert 10 * scaled < plain, (scaled, plain)
    assert scaled < 0.02
