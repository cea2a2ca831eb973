"""From a picture to PuLID's tokens, whole: equal to its authors' steps, done with cv2, timm and the plain formulas."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.faces.features import Faces, Portrait
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND
from fabricate import adapters
from fabricate.adapters import KINDS
from fabricate.towers import EVA, EVA_EMBED, tiny_eva, tiny_tower
from plain_pulid import FORMULAS, Weights

pytestmark = pytest.mark.usefixtures("comfy")

SIZE, SEED = 224, 7  # of the tiny EVA02's pictures
FFHQ = np.array([(192.98138, 239.94708), (318.90277, 240.1936), (256.63416, 314.01935), (201.26117, 371.41043)])
FFHQ = np.concatenate([FFHQ, [(313.08905, 371.15118)]])
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
each_kind = pytest.mark.parametrize("kind", ["PuLID v1", "PuLID v1.1"])


@pytest.fixture(scope="module")
def eva(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("eva") / "eva.safetensors"
    tiny_eva(path)
    return path


def encoder(path: Path) -> Any:
    from comfyui_ip_adapter.ip_adapter_core.vision.encoder import load
    from comfyui_ip_adapter.nodes.host.vision import OpenClipVision

    return OpenClipVision(load(path), torch.device("cpu"))


def adapter(folder: Path, kind: str) -> Any:
    from comfyui_ip_adapter.nodes.host.adapters import read

    return read("pulid.bin", adapters.save(folder / "pulid.bin", adapters.adapter(**KINDS[kind], seed=SEED)))


def picture() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(600, 640, 3))
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 8), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


POINTS = FFHQ * 0.8 + (60, 30)


def face(opacity: np.ndarray | None = None) -> Faces:
    shown = picture() if opacity is None else np.concatenate([picture(), opacity[..., None]], -1)
    embedding = torch.randn(1, 512, generator=torch.Generator().manual_seed(1)) * 20
    return Faces(embedding, (Portrait(torch.from_numpy(shown), torch.from_numpy(POINTS)),))


def authors_picture(ground: np.ndarray | None = None) -> Tensor:
    """Normalised pixels (3, size, size) as pulid/pipeline.py makes them; ground: (512, 512), where there is no face."""
    matrix = cv2.estimateAffinePartial2D(POINTS, FFHQ, method=cv2.LMEDS)[0]
    cut = cv2.warpAffine(picture().astype(np.float32), matrix, (512, 512), borderValue=(255, 255, 255))
    grey = cut.astype(np.float64) @ (0.299, 0.587, 0.114) / 255
    shown = grey if ground is None else np.where(ground, 1.0, grey)
    resized = cv2.resize(shown, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    pixels = torch.from_numpy(np.stack([resized] * 3)).float()
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def authors_features(path: Path, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The embedding of length 1, and the states before the blocks that are a multiple of a sixth of all."""
    trunk = timm.create_model(EVA, num_classes=EVA_EMBED, global_pool="token").eval()
    trunk.load_state_dict({k.removeprefix("visual.trunk."): v for k, v in load_file(path).items()})
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda module, given: seen.append(given[0])) for block in trunk.blocks[2:12:2]
    ]
    with torch.no_grad():
        embed = trunk(pixels[None])[0]
    for hook in hooks:
        hook.remove()
    return embed / embed.norm(), torch.cat(seen)


def authors_tokens(kind: str, *read: Tensor) -> Tensor:
    nested = adapters.adapter(**KINDS[kind], seed=SEED)["image_proj"]
    return FORMULAS[kind](Weights({k: v.double() for k, v in nested.items()}), *(part.double() for part in read))


def tokens(folder: Path, kind: str, path: Path, faces: Faces, **more: Any) -> tuple[Tensor, Tensor]:
    """Of both sides, (tokens, context)."""
    from comfyui_ip_adapter.nodes.host.encoding import face_prompt

    prompt, _ = face_prompt(adapter(folder, kind), encoder(path), faces, **more)
    (part,) = prompt.parts
    return part.side(COND)[0].double(), part.side(UNCOND)[0].double()


def far(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the largest token."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


@each_kind
def test_tokens_of_a_face_are_the_authors(tmp_path: Path, eva: Path, kind: str) -> None:
    cond, uncond = tokens(tmp_path, kind, eva, face())
    read = authors_features(eva, authors_picture())
    wanted = authors_tokens(kind, face().embeddings[0], *read)
    nothing = authors_tokens(kind, torch.zeros(512), *(torch.zeros_like(part) for part in read))
    assert far(cond, wanted) < 2e-2  # cv2 rounds places to a 32nd of a pixel
    assert far(uncond, nothing) < 1e-5
    assert far(cond, authors_tokens(kind, face().embeddings[0], read[0], read[1].roll(1, dims=0))) > 0.1


@each_kind
@pytest.mark.parametrize("how", ["reference_mask", "alpha"])
def test_what_is_no_face_is_white(tmp_path: Path, eva: Path, kind: str, how: str) -> None:
    ground = np.zeros((512, 512), bool)
    ground[:, 300:] = True
    read = authors_features(eva, authors_picture(ground))
    wanted = authors_tokens(kind, face().embeddings[0], *read)
    if how == "alpha":
        back = cv2.invertAffineTransform(cv2.estimateAffinePartial2D(POINTS, FFHQ, method=cv2.LMEDS)[0])
        visible = cv2.warpAffine(255 * (~ground).astype(np.uint8), back, (640, 600), borderValue=255)
        cond, _ = tokens(tmp_path, kind, eva, face(visible), alpha=True)
    else:
        cond, _ = tokens(tmp_path, kind, eva, face(), mask=torch.from_numpy(~ground).float()[None])
    usual, _ = tokens(tmp_path, kind, eva, face())
    assert far(cond, wanted) < far(usual, wanted) / 3


def test_negative_pictures_are_read_in_grey_beside_nobody(tmp_path: Path, eva: Path) -> None:
    pictures = torch.from_numpy(picture())[None, :300, :300] / 255
    _, found = tokens(tmp_path, "PuLID v1", eva, face(), negative=pictures)
    grey = (pictures @ torch.tensor([0.299, 0.587, 0.114]))[..., None].expand(-1, -1, -1, 3)
    _, same = tokens(tmp_path, "PuLID v1", eva, face(), negative=grey)
    _, usual = tokens(tmp_path, "PuLID v1", eva, face())
    assert far(found, same) < 3e-2  # the grey one was rounded once more
    assert far(found, usual) > 0.1


def test_an_encoder_without_levels_is_refused_saying_which_is_needed(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    with pytest.raises(
        ValueError, match=r"^Load an encoder of width 192 in place of the connected tower: this PuLID v1"
    ):
        tokens(tmp_path, "PuLID v1", tmp_path / "tower.safetensors", face())


def test_normalised_embeddings_are_refused(tmp_path: Path, eva: Path) -> None:
    short = face()
    with pytest.raises(ValueError, match="already normalised"):
        tokens(tmp_path, "PuLID v1", eva, Faces(short.embeddings / short.embeddings.norm(), short.portraits))
