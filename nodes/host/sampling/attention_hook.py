"""Attention maps of each reference image in one picture of the batch, captured by a hook in the patched layers.

A CapturingRun stands in transformer_options twice: as the run, and as the hook that every patched layer calls. In each
model call it notes which image prompts act and which rows of the batch are the picture; each layer then measures what
every token group of these prompts does in these rows, and adds that to the map of the group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.nn.functional import pad

from ....ip_adapter_core.adapters.keys_values import KeysValues
from ....ip_adapter_core.attention.application import Application, LayerTerm
from ....ip_adapter_core.attention.attention_map import MapAccumulator, MapKind, Window, relative_norm
from ....ip_adapter_core.attention.grouped import ImageKV
from ....ip_adapter_core.prompts.prompt import COND
from ....ip_adapter_core.settings.layer_weights import LINEAR, LayerWeights
from .. import models
from .batch import Batch
from .layer_options import Address, Options, address_of, grid_of
from .layer_patch import factors_of, image_result
from .model_patch import installed_applications
from .prepared_layers import ImagesByLayer
from .run import Run


@dataclass(frozen=True, eq=False)
class MapRequest:
    """Which attention maps to capture.

    kind: what the maps show.
    layers: how much each layer of the model counts.
    frame: the number of the picture in the latent batch.
    """

    kind: MapKind
    layers: LayerWeights = LINEAR
    frame: int = 0


class _PromptMaps(NamedTuple):
    """The maps of one application.

    terms: what it adds to each layer.
    token_groups: which tokens each map is of, (maps, tokens).
    maps: one for each token group.
    """

    terms: dict[Address, tuple[LayerTerm, ...]]
    token_groups: Tensor
    maps: tuple[MapAccumulator, ...]


class _ModelCall(NamedTuple):
    """What the hook must know of the model call that it is in.

    images: what each layer attends to beside the text.
    prompts: the applications that act at this noise level, in the order of `images`.
    windows: the rows of the batch that show the picture on the cond side, each with its place in the picture.
    """

    images: ImagesByLayer
    prompts: tuple[_PromptMaps, ...]
    windows: tuple[tuple[int, Window], ...]


class CapturingRun(Run):
    """A run that captures what each reference does in the layers of a model; sigmas and latent as a `Run` has them."""

    def __init__(self, model: ModelPatcher, request: MapRequest, sigmas: Tensor, latent: Sequence[int]) -> None:
        sampling = model.get_model_object("model_sampling")
        super().__init__(installed_applications(model), sampling, sigmas, latent, separate=True)
        self.sigmas = sigmas
        self._kind, self._frame = request.kind, request.frame
        weights = request.layers.per_layer(models.layers(model))
        self._layer_weights = {layer.address: each.positive for layer, each in weights.items() if each.positive > 0}
        self._prompts = tuple(self._empty_maps(number, each) for number, each in enumerate(self.applications))
        self._call = _ModelCall({}, (), ())
        self._shares: dict[Address, list[Tensor]] = {}

    def maps(self) -> dict[str, MapAccumulator]:
        """The maps by their names: `reference 1` and so on, in the order in which prompts were applied."""
        named: dict[str, MapAccumulator] = {}
        first = 1
        for application, prompt in zip(self.applications, self._prompts, strict=True):
            named |= {f"{self._kind.noun} {first + number}": one for number, one in enumerate(prompt.maps)}
            first += application.images
        return named

    def shares(self) -> dict[Address, float]:
        """What all prompts add to the picture as a share of the text's norm, by layer, the mean over steps."""
        if not self._shares:
            return {}
        means = torch.stack([torch.stack(seen).mean() for seen in self._shares.values()])
        return dict(zip(self._shares, means.tolist(), strict=True))  # one read for all layers

    def captures_at(self, level: float) -> bool:
        """Whether a prompt with maps acts at this noise level, in a layer that counts."""
        acting = self._prompts_at(torch.tensor([level]))
        return any(prompt.maps and self._layer_weights.keys() & prompt.terms.keys() for prompt in acting)

    def prepare(self, batch: Batch, sigma: Tensor, keep_all: bool) -> ImagesByLayer:
        """What a `Run` gives, noted for the hook; keep_all serves compiled models, in which nothing is captured."""
        images = super().prepare(batch, sigma, keep_all=False)
        self._call = _ModelCall(images, self._prompts_at(sigma), tuple(self._windows(batch)))
        return images

    def __call__(self, q: Tensor, text: Tensor, options: Options) -> None:
        """The hook: add to the maps what a layer shows. q and the attention to the text, (batch, pixels, inner)."""
        address = address_of(options)
        if address not in self._layer_weights:
            return
        images = [image for image in self._call.images[address] if isinstance(image, ImageKV)]
        found = factors_of(text, q, images, options)
        self._note_share(text, q, list(zip(images, found, strict=True)), options)
        for image, factor, prompt in self._images_of(address, images, found):
            for tokens, one in zip(prompt.token_groups, prompt.maps, strict=True):
                added = image_result(q, self._of_tokens(image, tokens), options, text if self._kind.grows else None)
                measured = self._kind.measure(added * factor if self._kind.grows else added, text)
                for row, window in self._call.windows:
                    one.add(measured[row].reshape(grid_of(options)), window, self._layer_weights[address])

    def _note_share(
        self, text: Tensor, q: Tensor, images: Sequence[tuple[ImageKV, Tensor | float]], options: Options
    ) -> None:
        """Keep, on the device, what all prompts add to the picture in a layer, as a share of the text's norm."""
        rows = [row for row, _ in self._call.windows]
        if rows and images:
            added = reduce(torch.add, (image_result(q, image, options, text) * factor for image, factor in images))
            self._shares.setdefault(address_of(options), []).append(relative_norm(added[rows], text[rows]).mean())

    def _images_of(
        self, address: Address, images: Sequence[ImageKV], found: Sequence[Tensor | float]
    ) -> Iterator[tuple[ImageKV, Tensor | float, _PromptMaps]]:
        """What a layer attends to on the cond side, with its factor, and the prompt that it comes from."""
        terms = [(prompt, term) for prompt in self._call.prompts for term in prompt.terms.get(address, ())]
        for image, factor, (prompt, term) in zip(images, found, terms, strict=True):
            if term.source_cond[COND] is not None:
                yield image, factor, prompt

    def _of_tokens(self, image: ImageKV, tokens: Tensor) -> ImageKV:
        """The image with values that show these tokens (tokens,) alone."""
        keys, values = image.kv
        chosen = pad(tokens, (0, values.shape[-2] - len(tokens)))  # a method's zeros stand behind the tokens
        return image._replace(kv=KeysValues(keys, self._kind.value_override(values, chosen[:, None].to(values))))

    def _empty_maps(self, number: int, application: Application) -> _PromptMaps:
        terms = {layer.address: terms for layer, terms in application.layers.items()}
        groups = self._kind.token_groups(application.part.tokens.shape[1], application.images)
        if self._kind.alone and number:
            groups = groups[:0]
        return _PromptMaps(terms, groups, tuple(MapAccumulator(self.grid) for _ in groups))

    def _prompts_at(self, sigma: Tensor) -> tuple[_PromptMaps, ...]:
        """The prompts that act at this noise level."""
        return tuple(prompt for prompt, strength in zip(self._prompts, self.strengths(sigma), strict=True) if strength)

    def _windows(self, batch: Batch) -> Iterator[tuple[int, Window]]:
        """The rows of a batch that show the requested picture on the cond side, and where in it they lie."""
        order, crops = batch.order, batch.crops
        if self._frame not in order.frames:
            return
        in_group = order.frames.index(self._frame)
        is_located = crops.whole == self.grid
        for first, side, corner in zip(order.firsts, order.groups, crops.corners, strict=True):
            if side == COND:
                window = Window(corner, crops.grid) if is_located else Window((0, 0), self.grid)
                yield first + in_group, window
