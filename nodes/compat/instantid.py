"""What the nodes of ComfyUI_InstantID do: faces and a ControlNet -> a MODEL that follows who they are, and texts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ...ip_adapter_core.attention.application import ApplyOptions
from ...ip_adapter_core.compat.instantid import AVERAGE, NOISE, combine_faces, noisy_nobody, whole_levels
from ...ip_adapter_core.faces.detection import CHOICES
from ...ip_adapter_core.faces.key_points import draw
from ...ip_adapter_core.prompts.control import ControlTokens, control_tokens
from ...ip_adapter_core.prompts.prompt import ImagePrompt
from ...ip_adapter_core.settings.span import Span
from ..host import adapters, face_control, faces, files, old_names, server
from ..host.adapters import LoadedAdapter
from ..host.face_control import Conditioning, Hint
from ..host.sampling import model_patch

FACE_MODEL = "antelopev2"

_AS_THERE = ApplyOptions(point_masks=True)
_NO_MIDDLE = replace(_AS_THERE, skip_middle=True)  # it named the middle block by a number that no block has
_COND, _UNCOND = "cond", "uncond"  # of what its FACE_EMBEDS socket carries
_NO_FACE = "No face was found for the key points: {}."

Result = tuple[Any, ...]


def find_file(name: str) -> str:
    """The adapter that a name of a saved graph means. Raises ValueError where there is none, or none that is usable."""
    match = old_names.instantid_file(name) or old_names.find(files.ADAPTERS, name)
    files.identify(files.ADAPTERS, match.name)
    return match.name


def file_fingerprint(name: str) -> files.Fingerprint:
    """Changes when the file that a name means is exchanged, or another one is meant."""
    match = old_names.instantid_file(name)
    return old_names.fingerprint(files.ADAPTERS, match.name if match else name)


def load_model(instantid_file: str) -> Result:
    """The adapter of a file, by its name or one that means it. Raises ValueError where there is none."""
    match = old_names.instantid_file(instantid_file)
    if match and match.remark:
        server.say(match.remark)
    return (adapters.load(find_file(instantid_file)),)


def load_faces(provider: str = "CPU", **_: Any) -> Result:
    """The networks that find and recognise faces; the device is ComfyUI's. Raises ValueError where none are there."""
    match = old_names.face_model(FACE_MODEL)
    if match.remark:
        server.say(match.remark)
    return (faces.load(match.name),)


def apply_whole(
    instantid: Any,
    insightface: Any,
    control_net: Any,
    image: Tensor,
    model: Any,
    positive: Conditioning,
    negative: Conditioning,
    weight: float = 0.8,
    ip_weight: float | None = None,
    cn_strength: float | None = None,
    **given: Any,
) -> Result:
    """A MODEL that follows faces, and both texts with a ControlNet that reads them in place of the text.

    ip_weight, cn_strength: `weight` where they are not given. given: by the names of the inputs; without a picture for
    the key points they are those of the first face. Raises ValueError as the parts of this package do.
    """
    mask = given.get("mask")
    span = given.get("start_at", 0.0), given.get("end_at", 1.0)
    prompt, tokens = _read(
        instantid, insightface, image, given.get("noise", NOISE), given.get("combine_embeds", AVERAGE)
    )
    shown, otherwise = image[:1], torch.zeros_like(image)
    if given.get("image_kps") is not None:
        shown = otherwise = given["image_kps"]
    hint = Hint(_key_points(insightface, shown, otherwise), weight if cn_strength is None else cn_strength, *span, mask)
    strength = weight if ip_weight is None else ip_weight
    followed = _follow(model, prompt, replace(_NO_MIDDLE, weight=strength, mask=mask), span)
    return followed, *_controlled(positive, negative, control_net, tokens, hint)


def patch_attention(
    instantid: Any,
    insightface: Any,
    image: Tensor,
    model: Any,
    weight: float = 1.0,
    start_at: float = 0.0,
    end_at: float = 1.0,
    noise: float = 0.0,
    mask: Tensor | None = None,
    **_: Any,
) -> Result:
    """A MODEL that follows the average of faces, in the middle block too, and their tokens for the ControlNet."""
    prompt, tokens = _read(instantid, insightface, image, noise, AVERAGE)
    followed = _follow(model, prompt, replace(_AS_THERE, weight=weight, mask=mask), (start_at, end_at))
    return followed, {_COND: tokens.cond, _UNCOND: tokens.uncond}


def apply_control(
    face_embeds: Any,
    control_net: Any,
    image_kps: Tensor,
    positive: Conditioning,
    negative: Conditioning,
    strength: float = 1.0,
    start_at: float = 0.0,
    end_at: float = 1.0,
    mask: Tensor | None = None,
    **_: Any,
) -> Result:
    """Both texts with a ControlNet that reads face tokens; as they came where its strength is 0."""
    if strength == 0:
        return positive, negative
    tokens = ControlTokens(face_embeds[_COND], face_embeds[_UNCOND])
    return _controlled(positive, negative, control_net, tokens, Hint(image_kps, strength, start_at, end_at, mask))


def draw_key_points(faceanalysis: Any, image: Tensor) -> Result:
    """The points of the largest face of each picture that has one; black pictures where none has."""
    return (_key_points(faceanalysis, image, torch.zeros_like(image)),)


def _read(
    instantid: Any, insightface: Any, image: Tensor, noise: float, combine: str
) -> tuple[ImagePrompt, ControlTokens]:
    """What the model follows and what a ControlNet reads, (faces, tokens, context), of each picture's largest face.

    Raises ValueError where no picture has a face, and for an adapter that no ControlNet was trained with.
    """
    if not isinstance(instantid, LoadedAdapter):
        raise ValueError(f"Connect instantid to Load InstantID Model; found a {type(instantid).__name__}.")
    found, _lines = faces.read(faces.reader_of(insightface), whole_levels(image), CHOICES["largest"])
    cond = combine_faces(found.embeddings, combine)
    prompt = instantid.prompt((cond,), (noisy_nobody(cond, noise),))
    apart = (
        rearrange(side, "1 (faces tokens) width -> faces tokens width", faces=len(cond))
        for side in control_tokens(prompt)
    )
    return replace(prompt, lora=None), ControlTokens(*apart)


def _key_points(insightface: Any, images: Tensor, otherwise: Tensor) -> Tensor:
    """The points of the largest face of each picture that has one; `otherwise` where none has."""
    found = faces.find(faces.reader_of(insightface), whole_levels(images), CHOICES["largest"])
    if not found:
        server.say(_NO_FACE.format("the ControlNet gets the picture that is there instead"))
        return otherwise
    height, width = images.shape[1:3]
    return torch.stack(
        [draw(portrait.points[None], (height, width)) for portrait in found if portrait.points is not None]
    )


def _follow(model: Any, prompt: ImagePrompt, options: ApplyOptions, span: tuple[float, float]) -> Any:
    """The model with the prompt; as it came where it acts in no step, as there, or with weight 0."""
    if not options.weight or span[0] > span[1]:
        return model
    return model_patch.apply(model, prompt, replace(options, span=Span(*span, "percent")))


def _controlled(
    positive: Conditioning, negative: Conditioning, control_net: Any, tokens: ControlTokens, hint: Hint
) -> tuple[Conditioning, Conditioning]:
    """Both sides with the ControlNet and the tokens, which every ControlNet of the chain reads.

    The mask limits the positive text, with all that belongs to it, and not the ControlNet alone. Raises ValueError for
    a ControlNet that cannot read the tokens.
    """
    face_control.check_network(control_net, tokens)
    picture = hint.picture.movedim(-1, 1)

    @cache
    def behind(previous: Any) -> Any:
        control = control_net.copy().set_cond_hint(picture, hint.strength, (hint.start, hint.end))
        return control.set_previous_controlnet(previous)

    def side(conditioning: Conditioning, read: Tensor, more: dict[str, Any]) -> Conditioning:
        given = {"control_apply_to_uncond": False, "cross_attn_controlnet": read.to(picture), **more}
        return [[text, {**conds, "control": behind(conds.get("control")), **given}] for text, conds in conditioning]

    return side(positive, tokens.cond, _limited(hint.mask)), side(negative, tokens.uncond, {})


def _limited(mask: Tensor | None) -> dict[str, Any]:
    """What limits a text to a mask."""
    if mask is None:
        return {}
    return {"mask": mask[None] if mask.ndim == 2 else mask, "set_area_to_bounds": False}
