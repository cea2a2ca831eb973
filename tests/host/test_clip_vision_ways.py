"""Our encoder on the CLIP_VISION socket, in the ways that core and other packs use one: it says what core's says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import same_tower
from fabricate.towers import TINY

pytestmark = pytest.mark.usefixtures("comfy", "inference_mode")
Way = Callable[[Any, Tensor], object]
FIELDS = ("last_hidden_state", "penultimate_hidden_states", "image_embeds")


def pixels(encoder: Any, pictures: Tensor) -> Tensor:
    """What packs hand to an encoder's model."""
    from comfy.clip_vision import clip_preprocess

    like = {"size": encoder.image_size, "mean": encoder.image_mean, "std": encoder.image_std}
    return clip_preprocess(pictures.to(encoder.load_device), **like).float()


def loaded(encoder: Any) -> Any:
    import comfy.model_management

    comfy.model_management.load_model_gpu(encoder.patcher)
    return encoder.model


def fields(output: Any) -> list[object]:
    return [*(output[name] for name in FIELDS), [tuple(size) for size in output.image_sizes], output.mm_projected]


def core_node(encoder: Any, pictures: Tensor) -> Any:
    import nodes

    return nodes.CLIPVisionEncode().encode(encoder, pictures, "none")[0]


def unclip(encoder: Any, pictures: Tensor) -> object:
    import nodes

    ((_, said),) = nodes.unCLIPConditioning().apply_adm([[torch.zeros(1), {}]], core_node(encoder, pictures), 1.0, 0.0)[
        0
    ]
    (given,) = said["unclip_conditioning"]
    return given["clip_vision_output"].image_embeds


def style_model(encoder: Any, pictures: Tensor) -> object:
    import nodes

    model = SimpleNamespace(get_cond=lambda output: output.last_hidden_state)
    text = [[torch.zeros(1, 1, TINY.width), {}]]
    return nodes.StyleModelApply().apply_stylemodel(text, model, core_node(encoder, pictures), 1.0, "multiply")[0][0][0]


WAYS: dict[str, Way] = {
    "encode_image": lambda encoder, pictures: fields(encoder.encode_image(pictures)),
    "encode_image without crop": lambda encoder, pictures: fields(encoder.encode_image(pictures, crop=False)),
    "encode_image with alpha": lambda encoder, pictures: fields(
        encoder.encode_image(torch.cat([pictures, pictures[..., :1]], dim=-1), True)
    ),
    "CLIPVisionEncode": lambda encoder, pictures: fields(core_node(encoder, pictures)),
    "unCLIPConditioning": unclip,
    "StyleModelApply": style_model,
    "model, as IPAdapter Plus": lambda encoder, pictures: loaded(encoder)(
        pixel_values=pixels(encoder, pictures), intermediate_output=-2
    ),
    "model, another layer": lambda encoder, pictures: loaded(encoder)(pixels(encoder, pictures), intermediate_output=0),
    "model, last layer": lambda encoder, pictures: loaded(encoder)(pixels(encoder, pictures), intermediate_output=-1),
    "model, no such layer": lambda encoder, pictures: loaded(encoder)(pixels(encoder, pictures), intermediate_output=9),
    "model, all layers": lambda encoder, pictures: loaded(encoder)(
        pixels(encoder, pictures), intermediate_output="all"
    ),
    "model, no layer": lambda encoder, pictures: loaded(encoder)(pixels(encoder, pictures)),
    "model, blank": lambda encoder, pictures: loaded(encoder)(
        pixel_values=torch.zeros_like(pixels(encoder, pictures)), intermediate_output=-2
    ),
    "vision_model": lambda encoder, pictures: loaded(encoder).vision_model(
        pixel_values=pixels(encoder, pictures), intermediate_output=-2
    ),
    "visual_projection": lambda encoder, pictures: loaded(encoder).visual_projection(
        encoder.model.vision_model(pixels(encoder, pictures))[2]
    ),
    "positions": lambda encoder, _: encoder.model.vision_model.embeddings.position_embedding.weight,
    "sizes": lambda encoder, _: [encoder.image_size, encoder.model_type, encoder.return_all_hidden_states],
    "mean and deviation": lambda encoder, _: [
        torch.tensor(encoder.image_mean, dtype=torch.float64),
        torch.tensor(encoder.image_std, dtype=torch.float64),
    ],
    "get_sd": lambda encoder, _: sorted(encoder.get_sd().items()),
    "moved by hand": lambda encoder, pictures: encoder.model.to(encoder.load_device)(
        pixel_values=pixels(encoder, pictures), intermediate_output=-2
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_ours_says_what_cores_says(tmp_path: Path, way: str) -> None:
    pictures = torch.rand(1, TINY.image, TINY.image, 3, generator=torch.Generator().manual_seed(0))
    wanted, found = (
        list(told(WAYS[way](encoder, pictures))) for encoder in (same_tower.cores(tmp_path), same_tower.ours(tmp_path))
    )
    assert wanted
    assert len(found) == len(wanted)
    for mine, cores in zip(found, wanted, strict=True):
        if isinstance(cores, Tensor):
            assert (mine.shape, mine.device) == (cores.shape, cores.device)
            torch.testing.assert_close(mine.float(), cores.float(), atol=2e-4, rtol=1e-4)
        else:
            assert mine == cores


def told(said: object) -> Iterator[Any]:
    """Everything in what an encoder says, one after the other."""
    if isinstance(said, (list, tuple)):
        for part in said:
            yield from told(part)
    else:
        yield said


def test_ours_has_everything_that_cores_has(tmp_path: Path) -> None:
    from comfy.clip_vision import ClipVisionModel

    core, mine = same_tower.cores(tmp_path), same_tower.ours(tmp_path)
    assert isinstance(mine, ClipVisionModel)
    assert vars(core).keys() <= vars(mine).keys()
    given = same_tower.core_config(TINY)
    assert {name: mine.config[name] for name in given if name in mine.config}.items() <= given.items()
    assert mine.dtype == torch.float32


@pytest.mark.parametrize("naming", ["transformers", "OpenCLIP"])
def test_weights_go_from_one_encoder_to_the_other(tmp_path: Path, naming: str) -> None:
    from fabricate.towers import openclip_weights

    core, mine = same_tower.cores(tmp_path), same_tower.ours(tmp_path)
    weights = {name: value.clone() for name, value in core.get_sd().items()}
    pictures = torch.rand(1, TINY.image, TINY.image, 3)
    wanted = mine.encode_image(pictures).image_embeds
    for parameter in mine.model.parameters():
        parameter.zero_()
    lacking, too_many = mine.load_sd(weights if naming == "transformers" else openclip_weights(weights))
    assert not lacking
    assert not too_many
    torch.testing.assert_close(mine.encode_image(pictures).image_embeds, wanted)
    lacking, too_many = core.load_sd(mine.get_sd())
    assert not lacking
    assert not too_many


def test_towers_without_cls_give_their_last_states_as_cores_siglip_does(tmp_path: Path) -> None:
    """After the final norm: style models read them."""
    import json

    import open_clip
    from safetensors.torch import save_file

    from comfyui_ip_adapter.ip_adapter_core.vision import encoder as vision
    from comfyui_ip_adapter.nodes.host.vision_model import CoreModel
    from fabricate.towers import model_config

    timm = {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160}
    plain = {"class_token": False, "global_pool": "avg"}
    config = model_config(TINY) | {"vision_cfg": timm | {"timm_model_kwargs": plain}}
    del config["vision_cfg"]["timm_model_kwargs"]
    clip = open_clip.CLIP(**config).eval()
    save_file(clip.state_dict(), tmp_path / "clip.safetensors")
    (tmp_path / "clip.json").write_text(json.dumps(config))
    encoder = vision.load(tmp_path / "clip.safetensors")
    pictures = torch.randn(1, 3, 160, 160)
    last, *_ = CoreModel(encoder)(pictures, intermediate_output=-2)
    trunk = encoder.visual.trunk
    wanted = trunk.forward_features(pictures)
    states = encoder(pictures)[2]
    torch.testing.assert_close(trunk.norm(states), wanted)
    torch.testing.assert_close(last, wanted if encoder.tower.tokens == encoder.tower.grid**2 else states)
