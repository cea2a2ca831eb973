"""A face's picture as PuLID's encoder sees it: placed as in FFHQ, grey, and white where there is no face.

Sources: ToTheBeginning/PuLID, pulid/pipeline.py, get_id_embedding; of the points facexlib, face_restoration_helper.py.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..vision.preprocess import fit
from .alignment import align
from .features import Faces, Portrait

SIDE = 512
"""Pixels of a face that is cut out."""
POINTS = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Eyes, nose and corners of the mouth there."""
_GREY = (0.299, 0.587, 0.114)  # of red, green and blue


def cut_out(faces: Faces) -> Tensor | None:
    """The faces' pictures in colour, (faces, 512, 512, 3), 0..1, white where a picture ends; None without any.

    They have opacity as a fourth channel where the pictures that they were cut out of have it.
    """
    if not faces.portraits:
        return None
    pictures, opacity = torch.stack([_cut(portrait) for portrait in faces.portraits]), faces.opacity(SIDE, POINTS)
    return pictures if opacity is None else torch.cat([pictures, opacity[..., None]], -1)


def on_white(pictures: Tensor, face: Tensor | None, size: int) -> Tensor:
    """Faces in grey on white, (faces, size, size, 3), as bicubic interpolation leaves them, a little outside of 0..1.

    pictures: (faces, height, width, 3 or more), 0..1; face: where they are a face, (faces, height, width), 0..1; None
    everywhere.
    """
    grey = pictures[..., :3] @ pictures.new_tensor(_GREY)
    shown = grey if face is None else torch.ones_like(grey).lerp(grey, face.to(grey))
    resized = interpolate(shown[:, None], (size, size), mode="bicubic", align_corners=False)
    return resized.movedim(1, -1).expand(-1, -1, -1, 3)


def _cut(portrait: Portrait) -> Tensor:
    picture = portrait.picture[..., :3]
    if portrait.points is None:
        return fit(picture[None] / 255, SIDE)[0]
    return 1 - align(255 - picture, portrait.points[None], SIDE, POINTS)[0]
