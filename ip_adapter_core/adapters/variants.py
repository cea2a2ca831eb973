"""The kinds of adapter: how tensors tell them apart, what they read of an image, and their network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Shape
from .centred_resampler import CentredResampler
from .checkpoint import Parts
from .instructed_resampler import InstructedResampler
from .key_value_layers import (
    FadedKeyValueLayers,
    GatedKeyValueLayers,
    KeyValueLayers,
    NormedKeyValueLayers,
    TimedKeyValueLayers,
)
from .lora import CROSS_OF_ANIMA, OF_UNET, Attentions
from .projections import (
    FacePlusProjection,
    FaceProjection,
    FaceResampler,
    FullFaceProjection,
    HiddenStates,
    ImageProjection,
    Resampler,
    Shapes,
)
from .pulid import IDEncoder, IDFormer
from .time_resampler import TimeResampler

Test = Callable[[Parts[Shape]], bool]

KOLORS = "Kolors"
ENCODED = ("embeds", "hidden", "normed_hidden", "normed_embeds", "levels")
"""Fields of `Features` that a vision encoder gives; the others are of faces."""


@dataclass(frozen=True)
class Variant:
    """One kind of adapter: a row of VARIANTS, from which the menu of kinds is made too.

    fits: tells it from the shapes of a file.
    reads: the fields of `Features` that its network takes, in order.
    network: makes the projection from the shapes.
    menu: what a user who wants it chooses in the menu of kinds, None for its name; several kinds may share one choice.
    preference: among the kinds that one choice allows, the one with the higher number comes first.
    family: of the base model, where that does not follow from the layers.
    zeroed: fields that stand for a missing image as zeros; the others are what an encoder says of an image of zeros.
    guided: whether a missing image has tokens of its own; else both sides read the same, so that guidance, which takes
        their difference, leaves the image alone.
    black: whether that image is a black one, in place of one whose pixels are zero after normalisation.
    scales: names of numbers that its network takes beside.
    needs_text_projection: the base model's own projection of texts comes between tokens and layers.
    layer: makes to_k_ip and to_v_ip of a layer from its shapes.
    linear: whether K' and V' are linear in the tokens, so that those of a sum are the sum of those.
    portrayal: how it reads the picture of a face, a row of PORTRAYALS in nodes/host/encoding.py.
    method: how what it adds is turned away from the text unless the user says, a row of METHODS in
        attention/projection.py; None where it was never trained for any.
    timed: its tokens, and K' and V' with them, are made anew at every noise level.
    reads_time: of the noise level it is told how the model itself embeds it.
    one_sided: whether the uncond side reads nothing at all.
    lora: which attentions of the model its LoRA changes.
    other_formulas: words in the metadata of files that are read in another way, of which none is published.
    border: what a picture is padded with, 0..1; None for the colour that is 0 to the encoder.
    interpolation: how pictures were resized in its training, a row of INTERPOLATIONS in vision/preprocess.py; None for
        as the encoder's authors did.
    selective: its network also takes which of the hidden states it may read.
    instructed: its network also takes the states of two texts, one of which says what to take from an image.
    feeds_control: whether a ControlNet was trained to read its tokens in place of a text, as InstantID's is.
    stays_in_file: whether its weights are too many to be held, and are read while they make tokens, K' and V'.
    own_encoder: whether all adapters of the kind were trained with the one encoder that their widths name.
    twins: kinds that may have the same tensors.
    """

    name: str
    fits: Test
    reads: tuple[str, ...]
    network: Callable[[Shapes, Any], Any]
    menu: str | None = None
    preference: int = 0
    family: str | None = None
    zeroed: tuple[str, ...] = ("embeds", "face", "normed_face", "normed_embeds", "levels")
    guided: bool = True
    black: bool = False
    scales: tuple[str, ...] = ()
    needs_text_projection: bool = False
    layer: Callable[[Mapping[str, Shape], Any], KeyValueLayers] = KeyValueLayers
    linear: bool = True
    portrayal: str = "crop"
    method: str | None = None
    timed: bool = False
    reads_time: bool = False
    one_sided: bool = False
    lora: Attentions = OF_UNET
    border: tuple[float, float, float] | None = None
    interpolation: str | None = None
    other_formulas: tuple[str, ...] = ()
    selective: bool = False
    instructed: bool = False
    feeds_control: bool = False
    stays_in_file: bool = False
    own_encoder: bool = False
    twins: tuple[str, ...] = ()

    @property
    def reads_faces(self) -> bool:
        """Whether it reads face embeddings."""
        return self.reads[0] not in ENCODED

    @property
    def reads_pictures_alone(self) -> bool:
        """Whether pictures are all that it needs."""
        return not self.reads_faces and not self.instructed

    @property
    def makes_keys_values_later(self) -> bool:
        """Whether prompts need the adapter once more, where their tokens are projected or mixed."""
        return self.needs_text_projection or not (self.linear or self.timed)

    @property
    def choice(self) -> str:
        """What it is called in the menu of kinds."""
        return self.menu or self.name


def _has(*keys: str) -> Test:
    return lambda parts: all(key in parts.projection for key in keys)


def _size(key: str, axis: int, size: int) -> Test:
    """The tensor of the projection is there and has this size."""
    return lambda parts: parts.projection.get(key, (0,))[axis:][:1] == (size,)


def _all(*tests: Test) -> Test:
    return lambda parts: all(test(parts) for test in tests)


def _most_layers_have(key: str) -> Test:
    """A file in which one of them is missing is of the kind all the same."""
    return lambda parts: 2 * sum(key in inner for inner in parts.layers.values()) > len(parts.layers)


def _not(test: Test) -> Test:
    return lambda parts: not test(parts)


def _needs_text_projection(parts: Parts[Shape]) -> bool:
    """Tokens of another width than the layers read."""
    tokens = parts.projection.get("norm.weight", (0,))[:1]
    return any(inner.get("to_k_ip.weight", (0,))[-1:] != tokens for inner in parts.layers.values())


def _tokens_of_faceid(parts: Parts[Shape]) -> bool:
    """A LoRA inside the file, or FaceID's four tokens where somebody took the LoRA out."""
    wide, context = (parts.projection.get(key, (0,))[0] for key in ("proj.2.weight", "norm.weight"))
    return bool(parts.lora) or wide == 4 * context


_FACE = _size("proj.0.weight", 1, 512)
_FACE_PLUS = _has("perceiver_resampler.proj_in.weight")

# The first row that fits is the answer; the order means nothing else. Between a row and its twins `resolution` decides.
VARIANTS = (
    Variant(
        "Kolors FaceID-Plus",
        _all(_FACE_PLUS, _needs_text_projection),
        ("face", "hidden"),
        partial(FacePlusProjection, shortcut=True),
        menu="FaceID-Plus",
        family=KOLORS,
        zeroed=("face", "hidden"),
        scales=("shortcut",),
        needs_text_projection=True,
        selective=True,
        own_encoder=True,
    ),
    Variant(
        "FaceID-Plus v2",
        _FACE_PLUS,
        ("normed_face", "hidden"),
        partial(FacePlusProjection, shortcut=True),
        menu="FaceID-Plus",
        preference=2,
        scales=("shortcut",),
        selective=True,
        twins=("FaceID-Plus v1",),
    ),
    Variant(
        "FaceID-Plus v1",
        _all(_FACE_PLUS, _not(_size("norm.weight", 0, 2048))),  # for SDXL it was never published
        ("normed_face", "hidden"),
        partial(FacePlusProjection, shortcut=False),
        menu="FaceID-Plus",
        preference=1,
        selective=True,
    ),
    Variant(
        "PuLID v1",
        _has("body.0.weight"),
        ("face", "normed_embeds", "levels"),
        IDEncoder,
        menu="PuLID",
        portrayal="grey on white",
        method="fidelity",
        own_encoder=True,
    ),
    Variant(
        "PuLID v1.1",
        _has("latents", "id_embedding_mapping.0.weight"),
        ("face", "normed_embeds", "levels"),
        IDFormer,
        menu="PuLID",
        preference=1,
        portrayal="grey on white",
        method="editable",
        own_encoder=True,
    ),
    Variant(
        "portrait unnorm",
        _all(_has("latents"), _size("proj_in.weight", 1, 512)),
        ("face",),
        FaceResampler,
        menu="portrait",
        feeds_control=True,
    ),
    Variant(
        "Kolors plus",
        _all(_has("latents"), _size("latents", 2, 2048), _size("proj_in.weight", 1, 1024)),
        ("hidden",),
        Resampler,
        menu="plus",
        preference=2,
        family=KOLORS,
        selective=True,
        own_encoder=True,
    ),
    Variant(
        "InstantX SD3.5",
        _has("latents", "time_embedding.linear_1.weight"),
        ("hidden",),
        TimeResampler,
        menu="plus",
        zeroed=("hidden",),
        layer=TimedKeyValueLayers,
        timed=True,
        own_encoder=True,
    ),
    Variant(
        "Anima PE-Core",
        _has("queries", "kv_proj.weight"),
        ("normed_hidden",),
        CentredResampler,
        menu="plus",
        guided=False,
        layer=GatedKeyValueLayers,
        selective=True,
        own_encoder=True,
    ),
    Variant(
        "Anima SigLIP2",
        _most_layers_have("adaln_ip.1.weight"),
        ("normed_hidden",),
        HiddenStates,
        menu="base",
        preference=-1,
        guided=False,
        linear=False,
        layer=FadedKeyValueLayers,
        timed=True,
        reads_time=True,
        one_sided=True,
        lora=CROSS_OF_ANIMA,
        border=(0.0, 0.0, 0.0),
        interpolation="bilinear",
        other_formulas=("ip_inject_before_mlp", "ip_norm_keys"),
        own_encoder=True,
    ),
    Variant(
        "Instruct",
        _has("latents", "proj_new_input.weight"),
        ("hidden",),
        InstructedResampler,
        selective=True,
        instructed=True,
    ),
    Variant("plus", _has("latents"), ("hidden",), Resampler, preference=2, selective=True),
    Variant("full face", _has("proj.3.weight"), ("hidden",), FullFaceProjection, preference=1),
    Variant(
        "InstantX Flux",
        _size("proj.0.weight", 1, 1152),
        ("embeds",),
        FaceProjection,
        menu="plus",
        preference=-1,
        layer=NormedKeyValueLayers,
        linear=False,
        stays_in_file=True,
        own_encoder=True,
    ),
    Variant("FaceID", _all(_FACE, _tokens_of_faceid), ("normed_face",), FaceProjection),
    Variant("portrait", _FACE, ("normed_face",), FaceProjection, preference=1),
    Variant(
        "XLabs",
        _all(_has("proj.weight", "norm.weight"), _most_layers_have("to_k_ip.bias")),
        ("embeds",),
        ImageProjection,
        menu="base",
        linear=False,
        zeroed=(),
        black=True,
        layer=partial(KeyValueLayers, bias=True),
    ),
    Variant("base", _has("proj.weight", "norm.weight"), ("embeds",), ImageProjection),
)

# (what the projection reads, its input width) -> the encoder it was trained with.
ENCODER_NAMES = {
    ("embeds", 768): "CLIP-ViT-L-14",
    ("embeds", 1024): "CLIP-ViT-H-14",
    ("embeds", 1152): "ViT-SO400M-14-SigLIP-384",
    ("embeds", 1280): "CLIP-ViT-bigG-14",
    ("hidden", 1024): "CLIP-ViT-L-14-336",
    ("levels", 1024): "EVA02-L-14-336",
    ("hidden", 1152): "ViT-SO400M-14-SigLIP-384",
    ("hidden", 1280): "CLIP-ViT-H-14",
    ("hidden", 1664): "CLIP-ViT-bigG-14",
    ("normed_hidden", 768): "ViT-B-16-SigLIP2-512",
    ("normed_hidden", 1024): "PE-Core-L-14-336",
}


def candidates(parts: Parts[Shape]) -> tuple[Variant, ...]:
    """The kinds of adapter with these tensors: one, or those that tensors cannot tell apart, the default first.

    Raises UnsupportedCheckpoint for unknown kinds; those that are known and not run are in files.foreign.
    """
    first = next((variant for variant in VARIANTS if variant.fits(parts)), None)
    if first is None:
        raise UnsupportedCheckpoint(
            "Use an adapter of another kind; the image projection of this one is of no known kind "
            f"(it has {', '.join(sorted(parts.projection)[:4])}, …)."
        )
    return (first, *(variant for variant in VARIANTS if variant.name in first.twins and variant.fits(parts)))
