"""TABLE of the nodes that old ones become: their sockets, widgets and outputs, in the order of saved graphs."""

from __future__ import annotations

from typing import Any, NamedTuple


class Socket(NamedTuple):
    """A socket: its name and its type."""

    name: str
    type: str


class Ours(NamedTuple):
    """A node: a row of OURS.

    name: as people see it. sockets: its inputs without a value. widgets: the others with their defaults, in the order
    of saved values. outputs: as they are numbered.
    """

    name: str
    sockets: tuple[Socket, ...]
    widgets: dict[str, Any]
    outputs: tuple[Socket, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of all inputs."""
        return (*(socket.name for socket in self.sockets), *self.widgets)


def _sockets(text: str) -> tuple[Socket, ...]:
    """Sockets of `name:TYPE, …`."""
    return tuple(Socket(*piece.split(":")) for piece in text.split(", ") if piece)


def _ours(name: str, sockets: str, outputs: str, **widgets: Any) -> Ours:
    return Ours(name, _sockets(sockets), widgets, _sockets(outputs))


_LIST = "style = 1, composition = 0.3"

OURS: dict[str, Ours] = {
    "IPA_LoadAdapter": _ours("Load IP-Adapter", "", "ip_adapter:IP_ADAPTER", file="", variant="auto"),
    "IPA_AutoLoad": _ours(
        "Load IP-Adapter (auto)", "model:MODEL", "ip_adapter:IP_ADAPTER, clip_vision:CLIP_VISION", kind="any"
    ),
    "IPA_Encode": _ours(
        "Encode Image Prompt",
        "ip_adapter:IP_ADAPTER, clip_vision:CLIP_VISION, image:IMAGE, negative_image:IMAGE, masks:MASK, "
        "reference_mask:MASK, instruction:IMAGE_PROMPT_INSTRUCTION",
        "image_prompt:IMAGE_PROMPT, seen:IMAGE",
        fit="center crop",
        combine="concat",
        weights="",
        detail="whole",
        tiles=2,
        alpha=False,
    ),
    "IPA_Face": _ours(
        "Face Embedding",
        "image:IMAGE",
        "face:FACE_FEATURES, crops:IMAGE",
        model="",
        faces="largest",
        index=0,
        backend="auto",
    ),
    "IPA_EncodeFace": _ours(
        "Encode Face Prompt",
        "ip_adapter:IP_ADAPTER, faces:FACE_FEATURES, clip_vision:CLIP_VISION, negative_faces:FACE_FEATURES, "
        "masks:MASK, negative_image:IMAGE, reference_mask:MASK",
        "image_prompt:IMAGE_PROMPT, seen:IMAGE",
        shortcut=1.0,
        combine="concat",
        weights="",
        alpha=False,
    ),
    "IPA_LayerWeights": _ours(
        "Layer Weights",
        "model:MODEL, combine_with:LAYER_WEIGHTS",
        "layer_weights:LAYER_WEIGHTS, picture:IMAGE",
        weight_type="style transfer",
        weight=1.0,
        second_weight=1.0,
        custom=_LIST,
        combine="multiply",
    ),
    "IPA_Apply": _ours(
        "Apply Image Prompt",
        "model:MODEL, image_prompt:IMAGE_PROMPT, layer_weights:LAYER_WEIGHTS, schedule:WEIGHT_SCHEDULE, mask:MASK",
        "model:MODEL",
        weight=1.0,
        start=0.0,
        end=1.0,
        unit="percent",
        lora_strength=1.0,
        skip_middle_block=False,
        scaling="V only",
        balance="off",
        method="auto",
    ),
    "IPA_Combine": _ours(
        "Combine Image Prompts",
        "first:IMAGE_PROMPT, second:IMAGE_PROMPT",
        "image_prompt:IMAGE_PROMPT",
        how="interpolate",
        first_weight=0.5,
        second_weight=0.5,
    ),
    "IPA_LoadPrompt": _ours(
        "Load Image Prompt",
        "ip_adapter:IP_ADAPTER, clip_vision:CLIP_VISION",
        "image_prompt:IMAGE_PROMPT",
        file="",
        negative="none",
    ),
    "IPA_SavePrompt": _ours(
        "Save Image Prompt",
        "image_prompt:IMAGE_PROMPT",
        "image_prompt:IMAGE_PROMPT",
        filename_prefix="prompt",
        note="",
    ),
    "IPA_Prepare": _ours(
        "Prepare Reference",
        "image:IMAGE, mask:MASK",
        "image:IMAGE",
        crop="center",
        size=224,
        interpolation="LANCZOS",
        sharpen=0.0,
        point_x=0.5,
        point_y=0.5,
        margin=10.0,
        border="grey",
        background="keep",
        soft_edge=2.0,
        colour="#808080",
        one_batch=False,
    ),
}

OF_COMFYUI: dict[str, Ours] = {
    "CLIPVisionEncode": _ours(
        "CLIP Vision Encode",
        "clip_vision:CLIP_VISION, image:IMAGE",
        "CLIP_VISION_OUTPUT:CLIP_VISION_OUTPUT",
        crop="center",
    ),
    "ImageBatch": _ours("Batch Images", "image1:IMAGE, image2:IMAGE", "IMAGE:IMAGE"),
}

ALL: dict[str, Ours] = OURS | OF_COMFYUI
