"""Nodes that make features of faces: from pictures, and from embeddings that others made."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_adapter_core.faces.detection import CHOICES
from .host import face_embeds, old_names
from .host import faces as host
from .node import Node
from .sockets import FaceFeatures, schema

_log = logging.getLogger(__name__)

_SHOWN = 224  # pixels of the crops in the node's own preview
_ALIASES = ["insightface", "faceid", "arcface", "face analysis"]


class Face(Node):
    """Pictures -> FACE_FEATURES of the faces in them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Face",
            "Face Embedding",
            "Find the faces in pictures and read them with a face recognition network, for the FaceID kinds of "
            "adapter. Shows the faces as they are cut out.",
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="One or more pictures. Those without a face are named, and their places stay empty.",
                ),
                io.Combo.Input("model", options=host.menu(), tooltip=_model_menu()),
                *_choice_inputs(),
                io.Combo.Input(
                    "backend",
                    options=[host.AUTO, *host.BACKENDS],
                    default=host.AUTO,
                    advanced=True,
                    tooltip="The Python package that runs the networks. auto: onnxruntime, and insightface only for "
                    "models that onnxruntime alone cannot use.",
                ),
            ],
            outputs=[
                FaceFeatures.Output(display_name="face", tooltip="For Encode Face Prompt."),
                io.Image.Output(display_name="crops", tooltip="The faces, upright and cut out, 224x224."),
            ],
            aliases=[*_ALIASES, "insightface loader ipadapter", "load insightface"],
            has_intermediate_output=True,
        )

    @classmethod
    def validate_inputs(cls, model: str | None) -> bool | str:
        return host.complaint(model and old_names.face_model(model).name) or True

    @classmethod
    def fingerprint_inputs(cls, model: str | None, **others: object) -> object:
        return host.fingerprint(model and old_names.face_model(model).name)

    @classmethod
    def execute(cls, image: Tensor, model: str, faces: str, index: int, backend: str) -> io.NodeOutput:
        match = old_names.face_model(model)
        features, lines = host.read(host.load(match.name, backend), image, CHOICES[faces], index)
        for line in lines:
            _log.warning("Face Embedding: %s Its place stays empty.", line)
        crops = features.crops(_SHOWN)
        text = "\n".join([*filter(None, [match.remark]), f"Faces: {len(features)}", *lines])
        return io.NodeOutput(features, crops, ui=ui.PreviewImage(crops, cls=cls).as_dict() | {"text": (text,)})


class FaceEmbeds(Node):
    """Ready-made face embeddings -> FACE_FEATURES."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_FaceEmbeds",
            "Face Embedding (ready-made)",
            "Take face embeddings that another node or program made, for the FaceID kinds of adapter. Needs no face "
            "recognition network.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=face_embeds.names(),
                    default=face_embeds.NONE,
                    tooltip="A .safetensors or .npy file of models/face_embeds, or a face model of ReActor from "
                    "models/reactor/faces. none: only what is connected.",
                ),
                io.AnyType.Input(
                    "embedding",
                    optional=True,
                    tooltip="Of any node: a tensor or an array with 512 numbers for each face, a face of insightface, "
                    "or a list of these. Best as the recognition network gives it, not normalised.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The faces' pictures, already cut out, one for each face: for the kinds of adapter that "
                    "also look at them (FaceID-Plus).",
                ),
            ],
            outputs=[FaceFeatures.Output(display_name="face", tooltip="For Encode Face Prompt.")],
            aliases=[*_ALIASES, "reactor", "face model"],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        return face_embeds.complaint(file) or True

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **others: object) -> object:
        return face_embeds.fingerprint(file)

    @classmethod
    def execute(cls, file: str, embedding: Any | None = None, image: Tensor | None = None) -> io.NodeOutput:
        return io.NodeOutput(face_embeds.faces(file, embedding, image))


def _choice_inputs() -> list[io.Input]:
    """Which faces of each picture are meant."""
    return [
        io.Combo.Input(
            "faces",
            options=list(CHOICES),
            default="largest",
            tooltip="Which faces of each picture to take. largest: one. all: every one, left to right. by index: the "
            "one with this number, left to right.",
        ),
        io.Int.Input("index", default=0, min=0, max=999, tooltip="For by index: 0 is the leftmost face."),
    ]


def _model_menu() -> str:
    """A tooltip that says what each model of the menu is."""
    first_line = "A folder of models/insightface with a network that finds faces and one that recognises them."
    return "\n".join([first_line, *host.listing()])
