"""Exported image prompts: what a file holds and says, and what is not exported."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention.application import Application, ApplyOptions, applications
from comfyui_ip_adapter.ip_adapter_core.attention.export import export
from comfyui_ip_adapter.ip_adapter_core.attention.projection import METHODS, NEUTRAL
from comfyui_ip_adapter.ip_adapter_core.attention.reference import plain_image_attention
from comfyui_ip_adapter.ip_adapter_core.attention.scaling import SCALINGS, scale_kv
from comfyui_ip_adapter.ip_adapter_core.layers.cross_stream import CROSS
from comfyui_ip_adapter.ip_adapter_core.layers.double_stream import DOUBLE
from comfyui_ip_adapter.ip_adapter_core.layers.joint_stream import JOINT
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer, layers
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.instruction import Instruction
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from fabricate import adapters
from same_prompt import read, told
from twins import CONSTRUCTIONS

MODEL = layers({"model_channels": 32, **CONSTRUCTIONS["SD1.5"].comfy})
EXPORTED = ("base", "FaceID", "Instruct", "PuLID v1", "PuLID v1.1")
SCHEDULE = Schedule((Curve("linear", "steps", 1.0, 0.2),))


@pytest.fixture(scope="module")
def encode(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Images and how they are combined -> their prompt."""
    kinds = {
        kind: load(adapters.save(tmp_path_factory.mktemp("adapters") / f"{kind}.bin", adapters.adapter(**given)))
        for kind, given in {kind: adapters.KINDS[kind] for kind in EXPORTED}.items()
    }

    def encode(
        images: int = 1, how: str = "concat", kind: str = "base", said: Instruction | None = None, **gathered: Any
    ) -> ImagePrompt:
        network = kinds[kind]
        cond = read(network.identity(), images)
        uncond = tuple(torch.zeros_like(field[:1]) for field in cond)
        return image_prompt(network, cond, uncond, Gathering(how, **gathered), said or told(network.identity()))

    return encode


def applied(prompt: ImagePrompt, use: ApplyOptions | None = None) -> tuple[Application, ...]:
    return applications(prompt, MODEL, adapters.TINY_CONTEXT, use)


def test_a_file_says_all_that_is_needed(encode: Any, tmp_path: Path) -> None:
    use = ApplyOptions(0.5, Span(2, 9, "steps"), from_weight_type("style transfer precise", 1.0, 0.5))
    prompt = encode(2, weights=(1.0, 0.5))
    export(applied(prompt, use), MODEL).save(tmp_path / "out" / "prompt.safetensors")
    with safe_open(tmp_path / "out" / "prompt.safetensors", "pt") as file:
        metadata, names = file.metadata(), set(file.keys())
        bias = file.get_tensor("1.bias")
    header = json.loads(metadata["header"])
    assert (metadata["format"], metadata["version"]) == ("IP-Adapter keys and values", "1")
    assert [layer["module"] for layer in header["layers"]] == [f"{layer.module}.attn2" for layer in MODEL]
    assert [(layer["heads"], layer["width"]) for layer in header["layers"]] == [(8, layer.width) for layer in MODEL]
    towards, away = header["prompts"]
    assert torch.equal(bias[0], prompt.parts[0].attn_bias)
    for said in (towards, away):
        assert (said["tokens"], said["scaling"], said["weights_are_in_the_tensors"]) == (8, "V only", False)
        assert (said["start"], said["end"], said["unit"], said["lora"]) == (2, 9, "steps", None)
    style, composition = towards["weights"][0], away["weights"][1]
    assert towards["weights"] == [style, style] and set(style) == {0.0, 0.5}
    assert away["weights"] == [[0.0] * len(MODEL), composition] and 0.25 in composition
    for number, weights in enumerate((style, composition)):
        acts = {str(layer) for layer, weight in enumerate(weights) if weight}
        assert acts == {name.split(".")[1] for name in names if name.startswith(f"{number}.") and "keys" in name}


@pytest.mark.parametrize("scaling", SCALINGS)
def test_weights_and_tensors_together_are_what_the_scaling_makes(encode: Any, scaling: str) -> None:
    prompt = encode()
    exported = export(applied(prompt, ApplyOptions(0.6, scaling=scaling)), MODEL)
    (said,) = exported.header["prompts"]
    q = torch.randn(1, 5, MODEL[3].width, generator=torch.Generator().manual_seed(1))
    wanted = scale_kv(prompt.parts[0].keys_values[3], 0.6, scaling)
    for side in (0, 1):
        keys, values = (exported.tensors[f"0.3.{name}"][side : side + 1] for name in ("keys", "values"))
        added = said["weights"][side][3] * plain_image_attention(q, keys, values, MODEL[3].heads)
        kv = (part[side : side + 1] for part in wanted)
        assert torch.allclose(added, plain_image_attention(q, *kv, MODEL[3].heads), atol=1e-6)
    assert said["weights_are_in_the_tensors"] == (scaling != "V only")


def test_weights_of_images_apart_are_in_the_weights(encode: Any) -> None:
    exported = export(applied(encode(2, "separate", weights=(1.0, 0.25)), ApplyOptions(0.8)), MODEL)
    assert [said["weights"][0][0] for said in exported.header["prompts"]] == pytest.approx([0.8, 0.2])


def test_a_lora_is_named(encode: Any) -> None:
    (said,) = export(applied(encode(kind="FaceID"), ApplyOptions(lora_strength=0.7)), MODEL).header["prompts"]
    assert said["lora"] == {"file": "FaceID.bin", "strength": 0.7}


def test_what_differs_by_frame_place_or_schedule_is_not_exported(encode: Any) -> None:
    refused = {
        "Remove frames of their own": applied(encode(2, "one per frame")),
        "Remove the schedule": applied(encode(), ApplyOptions(schedule=SCHEDULE)),
        "Remove the masks": applied(encode(), ApplyOptions(mask=torch.eye(4)[None])),
        "Remove the balance": applied(encode(), ApplyOptions(balance="cap")),
        "Give a model that follows an image prompt": (),
    }
    for message, wrong in refused.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            export(wrong, MODEL)


@pytest.mark.parametrize("stage", [DOUBLE, JOINT, CROSS])
def test_what_a_model_without_a_unet_follows_is_not_exported(encode: Any, stage: str) -> None:
    with pytest.raises(
        ValueError, match=r"^Give a model with a UNet; Flux, SD3\.5 and Anima .* Save Image Prompt keeps"
    ):
        export(applied(encode()), (Layer(stage, 0, 0, 64, 4),))


@pytest.mark.parametrize("kind", ["PuLID v1", "PuLID v1.1"])
def test_pulid_is_exported_where_it_looks_at_no_text(encode: Any, kind: str) -> None:
    prompt = encode(kind=kind)
    exported = export(applied(prompt, ApplyOptions(0.3, method=NEUTRAL)), MODEL)
    for layer, kv in enumerate(prompt.parts[0].keys_values):
        assert torch.equal(exported.tensors[f"0.{layer}.keys"], kv.keys)
        assert torch.equal(exported.tensors[f"0.{layer}.values"], kv.values)
    assert exported.header["prompts"][0]["weights"][0] == [0.3] * len(MODEL)
    for method in {"auto", *METHODS} - {NEUTRAL}:
        with pytest.raises(ValueError, match=r'^Set method to "neutral" where PuLID .* and lower the weight;'):
            export(applied(prompt, ApplyOptions(method=method)), MODEL)


def test_an_instruction_is_in_the_keys_and_values(encode: Any) -> None:
    identity = encode(kind="Instruct").identity
    one, again, other = (
        export(applied(encode(kind="Instruct", said=told(identity, seed))), MODEL).tensors for seed in (1, 1, 2)
    )
    assert torch.equal(one["0.3.keys"], again["0.3.keys"])
    assert (one["0.3.keys"][0] - other["0.3.keys"][0]).abs().max() > 0.01
