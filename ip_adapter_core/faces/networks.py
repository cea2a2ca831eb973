"""Face networks in ONNX files: which kind a file is, and how onnxruntime runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .alignment import align
from .detection import DetectedFaces, detect
from .features import WIDTH
from .onnx_io import OnnxShape, Signature, read_signature

_SILENCE = "ORT_DISABLE_TELEMETRY"
INSTALL = "pip install onnxruntime"
CPU = ("CPUExecutionProvider",)
SIDE = 112
"""Pixels of the crops that recognition networks read."""

_BATCH = 16
_MEAN = _SCALE = 127.5
_QUIET = 3  # insightface's files declare one face and take many; onnxruntime warns each time
_SCORES_BOXES, _POINTS = (1, 1, 1, 4, 4, 4), (10, 10, 10)
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class NetworkKind(NamedTuple):
    """One kind of face network.

    name: in words.
    fits: whether a file's inputs and outputs are those of this kind.
    """

    name: str
    fits: Callable[[Signature], bool]


def _takes(signature: Signature, *wanted: int | None) -> bool:
    """Whether there is one input, and these lengths are possible for it."""
    return len(signature.inputs) == 1 and _matches(signature.inputs[0], wanted)


def _matches(lengths: OnnxShape | None, wanted: Sequence[int | None]) -> bool:
    if lengths is None or len(lengths) != len(wanted):
        return False
    return all(None in (length, want) or length == want for length, want in zip(lengths, wanted, strict=True))


def _recognises(signature: Signature) -> bool:
    embedding = signature.outputs[0] if len(signature.outputs) == 1 else None
    return _takes(signature, 1, 3, SIDE, SIDE) and embedding is not None and embedding[-1:] == (WIDTH,)


def _detects(*widths: int) -> Callable[[Signature], bool]:
    def fits(signature: Signature) -> bool:
        last = [shape[-1] if shape else None for shape in signature.outputs]
        return _takes(signature, 1, 3, None, None) and _matches(tuple(last), widths)

    return fits


RECOGNITION = NetworkKind("face recognition", _recognises)
DETECTION = NetworkKind("face detection", _detects(*_SCORES_BOXES, *_POINTS))
NETWORK_KINDS = (RECOGNITION, DETECTION, NetworkKind("face detection without points", _detects(*_SCORES_BOXES)))


def kind_of(file: Path) -> NetworkKind | None:
    """The kind of face network in a file; None for other networks. Raises ValueError when it is no whole ONNX file."""
    signature = read_signature(file)
    return next((kind for kind in NETWORK_KINDS if kind.fits(signature)), None)


class Recogniser:
    """A recognition network: crops of faces -> raw embeddings. Raises as `_session` does."""

    def __init__(self, file: Path, providers: Sequence[Any] = CPU) -> None:
        self._session = _session(file, providers)
        signature = read_signature(file)
        batch = signature.inputs[0][0] if signature.inputs[0] else None
        self._batch = batch or _BATCH
        # Networks converted from MXNet do this arithmetic themselves (insightface, arcface_onnx.py).
        self._mean, self._scale = (0.0, 1.0) if {"Sub", "Mul"} <= set(signature.first) else (_MEAN, _SCALE)

    def __call__(self, crops: Tensor) -> Tensor:
        """(faces, 112, 112, 3), 0..1, as RGB -> (faces, 512), float32."""
        pixels = (crops.movedim(-1, 1) * 255 - self._mean) / self._scale
        embeddings = [_run(self._session, part)[0] for part in pixels.split(self._batch)]
        return torch.cat([part.reshape(-1, WIDTH) for part in embeddings])


class Detector:
    """A detection network that also gives points: a picture -> faces. Raises as `_session` does."""

    def __init__(self, file: Path, providers: Sequence[Any] = CPU) -> None:
        self._session = _session(file, providers)
        height, width = (read_signature(file).inputs[0] or (None,) * 4)[2:]
        self._canvas = (height, width) if height and width else None

    def __call__(self, picture: Tensor) -> DetectedFaces:
        """(height, width, 3) in eight-bit levels -> its faces."""
        return detect(lambda pixels: _run(self._session, pixels), picture, self._canvas)


class FaceNetworks:
    """A detector and a recogniser that work together."""

    def __init__(self, detection: Path, recognition: Path, providers: Sequence[Any] = CPU) -> None:
        self.detect = Detector(detection, providers)
        self._recognise = Recogniser(recognition, providers)

    def embed(self, picture: Tensor, detected: DetectedFaces) -> Tensor:
        """Raw embeddings (faces, 512) of faces of a picture (height, width, 3) in eight-bit levels."""
        return self._recognise(align(picture, detected.points, SIDE))


def silence() -> None:
    """Turn off onnxruntime's telemetry, whoever imports it next.

    From its import on it looks for a telemetry host and writes a file of events (seen in 1.31.1), so its own
    disable_telemetry_events comes too late. An environment variable that the user has set stays as it is.
    """
    os.environ.setdefault(_SILENCE, "1")


def runtime() -> Any:
    """The onnxruntime module with its telemetry off; only faces need it.

    Raises ModuleNotFoundError when it cannot be imported.
    """
    silence()
    try:
        import onnxruntime
    except ImportError as error:
        raise ModuleNotFoundError(
            f"Run `{INSTALL}` with the Python of ComfyUI; finding faces needs onnxruntime, which "
            f"cannot be used here ({error})."
        ) from error
    return onnxruntime


def _session(file: Path, providers: Sequence[Any]) -> Any:
    """A network that runs. Raises ModuleNotFoundError when there is no onnxruntime, ValueError when it refuses."""
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=list(providers))
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise ValueError(f"Download {file.name} again; onnxruntime cannot load it: {error}") from error


def _run(session: Any, pixels: Tensor) -> list[Tensor]:
    (input_,) = session.get_inputs()
    array = np.ascontiguousarray(pixels.numpy(), dtype=_DTYPES[input_.type])
    return [torch.from_numpy(output).float() for output in session.run(None, {input_.name: array})]
