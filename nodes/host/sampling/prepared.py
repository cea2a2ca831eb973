"""What one application of an image prompt gives to the rows of a batch: keys, values, weights, masks, on its device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ....ip_adapter_core.adapters.keys_values import HeadNorms, JointKeysValues, KeysValues, TimedKeysValues
from ....ip_adapter_core.attention.application import Application, LayerTerm, SourceCond
from ....ip_adapter_core.attention.balance import balance_at
from ....ip_adapter_core.attention.grouped import ImageKV, MasksByGrid
from ....ip_adapter_core.attention.joint import Joint
from ....ip_adapter_core.attention.projection import bias_with_zeros, with_zeros
from ....ip_adapter_core.attention.scaling import Weight, scale_each
from ....ip_adapter_core.prompts.prompt import COND
from ....ip_adapter_core.settings import masks
from .batch import Batch, Contents
from .layer_options import Address


class PreparedPrompt:
    """The keys and values of an application for the rows of a batch, and what the weight of each row is.

    pictures: how many the latent batch holds.
    """

    def __init__(self, application: Application, contents: Contents, pictures: int) -> None:
        self.application = application
        attn_bias = bias_with_zeros(application.part.attn_bias, application.method)
        self.attn_bias = None if attn_bias is None else attn_bias.to(contents.device)
        self.place = tuple(map(id, application.masks))
        self.row_weights = _row_weights(application, contents, pictures)
        make = _AtLevel(application, contents).image if application.network else partial(_image, application, contents)
        self.images = {
            layer.address: [(make(term), term) for term in terms] for layer, terms in application.layers.items()
        }

    def at(self, strength: float) -> dict[Address, list[ImageKV]]:
        """What each layer attends to at this strength, without masks."""
        return {
            address: [self._scale(image, term, strength) for image, term in terms]
            for address, terms in self.images.items()
        }

    def _scale(self, image: TimedKeysValues, term: LayerTerm, strength: float) -> ImageKV:
        weight = self.row_weights[term.source_cond] * (term.weight * strength)
        if isinstance(image, JointKeysValues):
            return ImageKV(image.kv, self.attn_bias, joint=Joint(image.norms, _as_tensor(weight, image.kv.keys)))
        application = self.application
        balance = balance_at(application.balance, weight, image.keys, self.place)
        scaled = scale_each(image, weight, application.scaling, application.images if application.mean_of_each else 1)
        kv = with_zeros(scaled, application.method)
        return ImageKV(kv, self.attn_bias, balance=balance, method=application.method)


def masks_of(application: Application, batch: Batch, pictures: int) -> MasksByGrid | None:
    """Where an application acts in a batch, by the grid of layers: one mask for all rows where they agree, or one for
    each row; None where it acts everywhere."""
    if not application.masks:
        return None
    crops = batch.crops
    if application.point_masks and crops.grid == crops.whole:
        return _point_masks(application, batch, pictures)
    whole = masks.product(application.masks, pictures, crops.whole)
    frames = torch.tensor(batch.order.frames if len(whole) > 1 else (0,)).clamp(max=len(whole) - 1)
    corners = crops.corners
    if len(set(corners)) == 1 and len(frames) == 1:
        corners = corners[:1]
    rows = torch.cat([masks.crop(whole[frames], corner, crops.grid) for corner in corners])
    return {grid: mask.to(batch.device, batch.dtype) for grid, mask in masks.pyramid(rows).items()}


def _point_masks(application: Application, batch: Batch, pictures: int) -> MasksByGrid:
    grid, frames = batch.crops.grid, torch.tensor(batch.order.frames)
    found = {}
    for layer in masks.grids(grid):
        rows = masks.product_at_points(application.masks, pictures, layer, grid)
        if len(rows) > 1:
            rows = torch.cat([rows[frames.clamp(max=len(rows) - 1)]] * len(batch.crops.corners))
        found[layer] = rows.to(batch.device, batch.dtype)
    return found


def _row_weights(application: Application, contents: Contents, pictures: int) -> dict[SourceCond, Weight]:
    """The weight of each row, 0 where its side reads nothing, by what sides read; one number where all rows agree."""
    by_frame = [application.frame_weight(frame, pictures) for frame in _frames(application, contents)]
    weights: dict[SourceCond, Weight] = {}
    for source in {term.source_cond for terms in application.layers.values() for term in terms}:
        rows = [0.0 if source[side] is None else weight for side in contents.groups for weight in by_frame]
        weights[source] = rows[0] if len(set(rows)) == 1 else _column(rows, contents)
    return weights


def _frames(application: Application, contents: Contents) -> tuple[int, ...]:
    """The frames of a group of rows; one for all of them where they do not differ."""
    return contents.frames if application.framed else (0,)


def _column(rows: Sequence[float], contents: Contents) -> Tensor:
    return torch.tensor(rows, device=contents.device)[:, None, None]  # fp32: a weight is not rounded by itself


def _as_tensor(weight: Weight, like: Tensor) -> Tensor:
    """A weight that a traced graph does not take as constant, (rows, 1, 1)."""
    return weight if isinstance(weight, Tensor) else torch.full((1, 1, 1), weight, device=like.device)


def _rows(application: Application, contents: Contents, source: SourceCond) -> Tensor:
    """The row of the prompt that each row of a batch reads: one per group, or one per picture where frames differ."""
    row_index = application.part.row_index
    frames = torch.tensor(_frames(application, contents)).clamp(max=row_index.shape[1] - 1)
    sides = [COND if source[side] is None else source[side] for side in contents.groups]
    return torch.cat([row_index[side, frames] for side in sides])


def _image(application: Application, contents: Contents, term: LayerTerm) -> KeysValues:
    """K' and V' of a batch, by the rows of `_rows`."""
    rows = _rows(application, contents, term.source_cond)
    keys, values = (part[rows].to(contents.device, contents.dtype) for part in term.kv)
    return KeysValues(keys, values)


class _AtLevel:
    """K' and V' of an application at the noise level of a batch: made once for all layers."""

    def __init__(self, application: Application, contents: Contents) -> None:
        assert application.network is not None
        assert contents.timestep is not None
        self._application, self._contents, part = application, contents, application.part
        sources = {term.source_cond for terms in application.layers.values() for term in terms}
        self._rows = torch.cat([_rows(application, contents, source) for source in sources]).unique()
        tokens = part.tokens[self._rows].to(contents.device)
        time: float | Tensor = contents.timestep
        if application.embed_time:
            time = application.embed_time(contents.base, contents.timestep, contents.device, contents.dtype)
        self._made = application.network.keys_values_at(tokens, part.images, time)

    def image(self, term: LayerTerm) -> TimedKeysValues:
        """K' and V' of a batch in a layer, by the rows of `_rows`."""
        device, dtype = self._contents.device, self._contents.dtype
        rows = torch.searchsorted(self._rows, _rows(self._application, self._contents, term.source_cond))
        made = self._made[term.number]
        kv = made.kv if isinstance(made, JointKeysValues) else made
        chosen = KeysValues(*(part[rows].to(device, dtype) for part in kv))
        if not isinstance(made, JointKeysValues):
            return chosen
        return JointKeysValues(chosen, HeadNorms(*(norm.to(device) for norm in made.norms)))
