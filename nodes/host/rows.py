"""What an application of an image prompt gives to the rows of a batch: keys, values, weights, masks, on its device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...ip_adapter_core import masks
from ...ip_adapter_core.adapter import KeysValues
from ...ip_adapter_core.application import Application, Term
from ...ip_adapter_core.masks import Grid
from ...ip_adapter_core.prompt import COND
from ...ip_adapter_core.scaling import Weight, scaled
from ...ip_adapter_core.stacks import Image
from .batches import Batch

Address = tuple[str, int, int]


class Rows:
    """What an application gives to the rows of a batch, at strength 1, on the batch's device."""

    def __init__(self, application: Application, batch: Batch, pictures: int, grid: Grid) -> None:
        self.application = application
        self.masks = _masks(application.masks, batch, pictures, grid)
        emphasis = application.part.emphasis
        self.emphasis = None if emphasis is None else emphasis.to(batch.device)
        self.factors = _factors(application, batch, pictures)
        self.images = {
            layer.address: [(_image(application, term, batch), term) for term in terms]
            for layer, terms in application.layers.items()
        }

    def at(self, strength: float) -> dict[Address, list[Image]]:
        """What each layer attends to at this strength."""
        return {
            address: [self._scaled(image, term, strength) for image, term in terms]
            for address, terms in self.images.items()
        }

    def _scaled(self, image: KeysValues, term: Term, strength: float) -> Image:
        weight = self.factors[term.reads] * (term.weight * strength)
        return Image(scaled(image, weight, self.application.scaling), self.emphasis, self.masks)


def _factors(application: Application, batch: Batch, pictures: int) -> dict[tuple[int | None, int | None], Weight]:
    """What the weight of each row is multiplied with, by what its sides read: one number where all rows agree."""
    frames = batch.frames if application.framed else (0,)
    by_frame = [application.frame_weight(frame, pictures) for frame in frames]
    found: dict[tuple[int | None, int | None], Weight] = {}
    for term in (term for terms in application.layers.values() for term in terms):
        if term.reads not in found:
            rows = [0.0 if term.reads[side] is None else weight for side in batch.sides for weight in by_frame]
            found[term.reads] = rows[0] if len(set(rows)) == 1 else _column(rows, batch)
    return found


def _column(rows: Sequence[float], batch: Batch) -> Tensor:
    return torch.tensor(rows, device=batch.device)[:, None, None]  # fp32: a weight is not rounded by itself


def _image(application: Application, term: Term, batch: Batch) -> KeysValues:
    """K' and V' of a batch, a row per chunk; a row per picture where frames differ."""
    order = application.part.order
    frames = batch.frames if application.framed else (0,)
    numbers = torch.tensor(frames).clamp(max=order.shape[1] - 1)
    rows = torch.cat([order[COND if term.reads[side] is None else term.reads[side], numbers] for side in batch.sides])
    keys, values = term.image
    return KeysValues(keys[rows].to(batch.device, batch.dtype), values[rows].to(batch.device, batch.dtype))


def _masks(given: Sequence[Tensor], batch: Batch, pictures: int, grid: Grid) -> dict[Grid, Tensor] | None:
    """Masks of a batch by the grid of layers: one for all rows where they agree, or one for each row."""
    if not given:
        return None
    whole = masks.product(given, pictures, grid)
    frames = torch.tensor(batch.frames if len(whole) > 1 else (0,)).clamp(max=len(whole) - 1)
    shown = whole if batch.found else masks.to_grid(whole, batch.grid)
    if len(set(batch.places)) == 1 and len(frames) == 1:
        rows = masks.crop(shown[frames], batch.places[0], batch.grid)
    else:
        rows = torch.cat([masks.crop(shown[frames], place, batch.grid) for place in batch.places])
    return {level: mask.to(batch.device, batch.dtype) for level, mask in masks.pyramid(rows).items()}
