"""Nodes that read model files: adapters, vision encoders, and both at once for a MODEL."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..ip_adapter_core.adapters.identity import Identity
from ..ip_adapter_core.adapters.resolution import AUTO, CHOICES
from ..ip_adapter_core.catalogue.choose import ANY, KINDS, OF_FACES, OF_PICTURES
from ..ip_adapter_core.files.tensor_file import entries
from ..ip_adapter_core.identify import weights
from ..ip_adapter_core.vision.towers import ACTIVATIONS, AS_TRAINED, RESOLUTIONS, Tower
from .host import adapters, auto, files, old_names, vision
from .node import Node
from .sockets import IpAdapter, Menu, Numerals, schema


class LoadAdapter(Node):
    """A file of the ipadapter folders -> IP_ADAPTER."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_LoadAdapter",
            "Load IP-Adapter",
            "Load an IP-Adapter file. What it is (kind, base model, encoder) is read from its tensors, not its name.",
            inputs=[
                io.Combo.Input("file", options=files.names(files.ADAPTERS), tooltip=_adapter_menu()),
                io.Combo.Input(
                    "variant",
                    options=list(CHOICES),
                    optional=True,
                    default=AUTO,
                    advanced=True,
                    tooltip="What the file is, where its tensors do not tell. auto: by the file's hash, then its name, "
                    "then v2. Only FaceID-Plus v1 and v2 for SD1.5 need it: their tensors are alike, their use is not.",
                ),
            ],
            outputs=[IpAdapter.Output(display_name="ip_adapter", tooltip="The adapter, for Encode Image Prompt.")],
            has_intermediate_output=True,
            aliases=["ipadapter", "model loader ipadapter", "load ip-adapter file"],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        return old_names.complaint(files.ADAPTERS, file) or True

    @classmethod
    def fingerprint_inputs(cls, file: str | None, variant: str | None = AUTO) -> object:
        return old_names.fingerprint(files.ADAPTERS, file)

    @classmethod
    def execute(cls, file: str, variant: str = AUTO) -> io.NodeOutput:
        match = old_names.find(files.ADAPTERS, file)
        loaded = adapters.load(match.name, variant)
        return io.NodeOutput(loaded, ui=_about(loaded.identity, files.ADAPTERS, match))


class LoadVision(Node):
    """A file of the clip_vision folders, read by OpenCLIP -> CLIP_VISION."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_LoadVision",
            "Load CLIP Vision (OpenCLIP)",
            "Load a CLIP image encoder through OpenCLIP, from either file layout. Works wherever CLIP_VISION does.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files.names(files.ENCODERS),
                    tooltip="Encoder file from models/clip_vision, in transformers' or OpenCLIP's layout.",
                ),
                io.Combo.Input(
                    "activation",
                    options=list(ACTIVATIONS),
                    default="auto",
                    advanced=True,
                    tooltip="Tensors do not tell the activation. auto: quick_gelu for OpenAI's B-32, B-16 and L-14, "
                    "gelu for all others, as those models were trained.",
                ),
                io.Combo.Input(
                    "resolution",
                    options=Numerals(RESOLUTIONS),
                    optional=True,
                    default=AS_TRAINED,
                    advanced=True,
                    tooltip="Pixels along a side of the pictures that the encoder sees. More than it was trained with "
                    "shows it smaller details, at positions interpolated between the trained ones. Encoders without a "
                    "grid of position embeddings (ResNet, ConvNeXt, EVA02) work only as trained.",
                ),
            ],
            outputs=[io.ClipVision.Output(display_name="clip_vision", tooltip="The encoder.")],
            has_intermediate_output=True,
            aliases=["clip vision", "open_clip", "image encoder"],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        return old_names.complaint(files.ENCODERS, file) or True

    @classmethod
    def fingerprint_inputs(
        cls, file: str | None, activation: str | None, resolution: str | None = AS_TRAINED
    ) -> object:
        return old_names.fingerprint(files.ENCODERS, file)

    @classmethod
    def execute(cls, file: str, activation: str, resolution: str | int = AS_TRAINED) -> io.NodeOutput:
        match = old_names.find(files.ENCODERS, file)
        loaded = vision.load(match.name, activation, str(resolution))
        return io.NodeOutput(loaded, ui=_about(loaded.tower, files.ENCODERS, match))


class AutoLoad(Node):
    """MODEL and a kind -> the adapter and the encoder on disk that fit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_AutoLoad",
            "Load IP-Adapter (auto)",
            "Find the adapter and the encoder that fit the connected model, whatever the files are called.",
            inputs=[
                io.Model.Input("model", tooltip="The model the image prompt is for. It decides which adapters fit."),
                kind_input(),
            ],
            outputs=[
                IpAdapter.Output(display_name="ip_adapter", tooltip="The adapter that fits the model."),
                io.ClipVision.Output(display_name="clip_vision", tooltip="The encoder that this adapter reads."),
            ],
            has_intermediate_output=True,
            aliases=[
                "unified loader ipadapter preset",
                "unified loader faceid ipadapter",
                "unified loader community ipadapter",
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> object:
        return files.fingerprints()

    @classmethod
    def execute(cls, model: object, kind: str) -> io.NodeOutput:
        chosen = auto.find(model, kind)
        return io.NodeOutput(chosen.adapter, chosen.encoder, ui=ui.PreviewText(chosen.report))


def kind_input(of_pictures: bool = False) -> io.Combo.Input:
    """The input of the automatic nodes that says which kind of adapter is wanted.

    of_pictures: whether the node has nothing but pictures to give to an adapter. Then it is optional, and graphs keep a
    choice of kinds that read faces, which the menu once had.
    """
    others = (
        " FaceID, FaceID-Plus, portrait, InstantID and PuLID read faces, for Encode Face Prompt. Instruct is told what "
        "to take from the picture, by Image Prompt Instruction."
    )
    return io.Combo.Input(
        "kind",
        options=Menu(OF_PICTURES, OF_FACES) if of_pictures else list(KINDS),
        optional=of_pictures,
        default=ANY,
        tooltip="Which kind of adapter to look for. any: plus before the others. plus follows the reference "
        "closely, base more loosely, light even more so; plus face and full face want a cropped face; composition "
        "takes only the layout." + ("" if of_pictures else others),
    )


def _about(loaded: Identity | Tower, category: str, file: old_names.Match) -> ui.PreviewText:
    """A text for the node to show: what was loaded, and first which file, if it is not the one that was named."""
    about = f"{loaded.describe()}, {weights(entries(files.path(category, file.name)))}"
    return ui.PreviewText("\n".join([*filter(None, [file.remark]), about]))


def _adapter_menu() -> str:
    """A tooltip that says what each file of the menu is."""
    return "\n".join(["Adapter file from models/ipadapter.", *files.listing(files.ADAPTERS)])
