"""Finding and recognising faces with the insightface package, for packs that need it, and to compare with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .detection import SIZES, DetectedFaces
from .features import WIDTH
from .networks import CPU, silence

INSTALL = "pip install insightface onnxruntime"
_TASKS = ("detection", "recognition")


class InsightFace:
    """The networks of a pack, run by insightface.

    Raises ModuleNotFoundError when it is not installed, ValueError when it finds no network of both tasks.
    """

    def __init__(self, folder: Path, providers: Sequence[Any] = CPU) -> None:
        silence()  # insightface imports onnxruntime
        try:
            from insightface.app import FaceAnalysis
        except ImportError as error:
            raise ModuleNotFoundError(
                f"Run `{INSTALL}` with the Python of ComfyUI, or choose the backend onnxruntime; the "
                f"insightface package cannot be used here ({error})."
            ) from error
        try:
            self._app = FaceAnalysis(name=str(folder), allowed_modules=list(_TASKS), providers=list(providers))
        except Exception as error:  # assertions, and onnxruntime's errors, which have no base class of their own
            raise ValueError(
                f"Choose another face model; insightface cannot use {folder.name}: "
                f"{error or 'no face detection is there'}"
            ) from error
        if set(_TASKS) - set(self._app.models):
            raise ValueError(f"Choose another face model; insightface finds no face recognition in {folder.name}.")

    @classmethod
    def around(cls, app: Any) -> InsightFace:
        """The networks of a FaceAnalysis that somebody else has loaded. Raises ValueError where it lacks one."""
        if set(_TASKS) - set(getattr(app, "models", ())):
            raise ValueError(
                f"Connect a loader of faces: they are read with a network that finds them and one that recognises "
                f"them; found a {type(app).__name__}."
            )
        reader = cls.__new__(cls)
        reader._app = app
        return reader

    def detect(self, picture: Tensor) -> DetectedFaces:
        """The faces of a picture (height, width, 3) in eight-bit levels; without result, a smaller size is tried.

        Raises ValueError when the detector gives no points.
        """
        for size in SIZES:
            self._app.prepare(ctx_id=0, det_size=(size, size))
            boxes, points = self._app.det_model.detect(_bgr(picture))
            if len(boxes):
                break
        if points is None:
            raise ValueError("Use another face model; its detector gives no points, which cutting out faces needs.")
        return DetectedFaces(torch.from_numpy(boxes[:, :4]), torch.from_numpy(points), torch.from_numpy(boxes[:, 4]))

    def embed(self, picture: Tensor, detected: DetectedFaces) -> Tensor:
        """Raw embeddings (faces, 512) of faces of a picture (height, width, 3) in eight-bit levels."""
        from insightface.app.common import Face

        image, network = _bgr(picture), self._app.models["recognition"]
        faces = [Face(bbox=box.numpy(), kps=points.numpy()) for box, points, _ in zip(*detected, strict=True)]
        return torch.from_numpy(np.stack([network.get(image, face) for face in faces])).float().reshape(-1, WIDTH)


def _bgr(picture: Tensor) -> np.ndarray:
    return np.ascontiguousarray(picture.numpy()[..., ::-1])
