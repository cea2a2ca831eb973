"""A sampling run whose patched layers are watched: what each image prompt does in one picture of the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....ip_adapter_core.adapters.keys_values import KeysValues
from ....ip_adapter_core.attention.application import Application, LayerTerm
from ....ip_adapter_core.attention.attention_map import MapAccumulator, MapKind, Window
from ....ip_adapter_core.attention.grouped import ImageKV
from ....ip_adapter_core.prompts.prompt import COND
from ....ip_adapter_core.settings.layer_weights import LINEAR, LayerWeights
from .. import models
from .batch import Batch
from .layer_patch import Options, image_result
from .model_patch import applications
from .prepared import Address
from .run import Prepared, Run


@dataclass(frozen=True, eq=False)
class MapRequest:
    """What to see, how much each layer of the model counts, and which picture of the batch is watched."""

    show: MapKind
    layers: LayerWeights = LINEAR
    frame: int = 0


class _Captured(NamedTuple):
    """What is seen of an application: its layers, the tokens that each map is of (maps, tokens), and the maps."""

    layers: dict[Address, tuple[LayerTerm, ...]]
    token_groups: Tensor
    maps: tuple[MapAccumulator, ...]


class _Call(NamedTuple):
    """A call of the model: what its layers attend to, of which applications that is, and the rows of the watched
    picture, each with its place."""

    prepared: Prepared
    acting: tuple[_Captured, ...]
    rows: tuple[tuple[int, Window], ...]


class WatchedRun(Run):
    """A run that sees what the prompts of a model do in its layers. sigmas, latent: as a `Run` has them."""

    def __init__(self, model: ModelPatcher, sight: MapRequest, sigmas: Tensor, latent: Sequence[int]) -> None:
        super().__init__(applications(model), model.get_model_object("model_sampling"), sigmas, latent)
        self.sigmas = sigmas
        self._show, self._frame = sight.show, sight.frame
        shares = sight.layers.per_layer(models.layers(model))
        self._weights = {layer.address: share.positive for layer, share in shares.items() if share.positive > 0}
        self._seen = tuple(self._begun(number, application) for number, application in enumerate(self.applications))
        self._call = _Call({}, (), ())

    def group(self, images: Sequence[ImageKV], heads: int) -> tuple[ImageKV, ...]:
        """Each by itself, to be seen by itself."""
        return tuple(images)

    @property
    def framed(self) -> bool:
        """Always, so that batches say which frames they hold."""
        return True

    @property
    def masked(self) -> bool:
        """Always, so that batches say where in the picture they lie."""
        return True

    def maps(self) -> dict[str, MapAccumulator]:
        """What was seen, by its name: `reference 1` and so on, in the order in which prompts were applied."""
        found: dict[str, MapAccumulator] = {}
        first = 1
        for application, seen in zip(self.applications, self._seen, strict=True):
            found |= {f"{self._show.noun} {first + number}": tally for number, tally in enumerate(seen.maps)}
            first += application.images
        return found

    def acts(self, level: float) -> bool:
        """Whether there is anything to be seen at this noise level."""
        acting = self._acting(torch.tensor([level]))
        return any(seen.maps and self._weights.keys() & seen.layers.keys() for seen in acting)

    def prepared(self, batch: Batch, sigma: Tensor, keep: bool) -> Prepared:
        """As a `Run` does; keep is for compiled models, which cannot be watched."""
        found = super().prepared(batch, sigma, keep=False)
        self._call = _Call(found, self._acting(sigma), tuple(self._places(batch)))
        return found

    def __call__(self, q: Tensor, text: Tensor, options: Options) -> None:
        """See a layer: q and the attention to the text, (batch, pixels, inner)."""
        address = (*options["block"], options["block_index"])
        height, width = options["activations_shape"][-2:]
        for image, seen in self._images(address):
            for marks, tally in zip(seen.token_groups, seen.maps, strict=True):
                numbers = self._show.measure(image_result(q, self._probe(image, marks), options), text)
                for row, place in self._call.rows:
                    tally.add(numbers[row].reshape(height, width), place, self._weights[address])

    def _images(self, address: Address) -> Iterator[tuple[ImageKV, _Captured]]:
        """What a layer that counts attends to on the cond side, and of which application that is."""
        if address in self._weights:
            owners = [(seen, term) for seen in self._call.acting for term in seen.layers.get(address, ())]
            for image, (seen, term) in zip(self._call.prepared[address], owners, strict=True):
                if isinstance(image, ImageKV) and term.source_cond[COND] is not None:
                    yield image, seen

    def _probe(self, image: ImageKV, marks: Tensor) -> ImageKV:
        keys, values = image.kv
        return image._replace(kv=KeysValues(keys, self._show.value_override(values, marks[:, None].to(values))))

    def _begun(self, number: int, application: Application) -> _Captured:
        layers = {layer.address: terms for layer, terms in application.layers.items()}
        marks = self._show.token_groups(application.part.tokens.shape[1], application.images)
        if self._show.alone and number:
            marks = marks[:0]
        return _Captured(layers, marks, tuple(MapAccumulator(self.grid) for _ in marks))

    def _acting(self, sigma: Tensor) -> tuple[_Captured, ...]:
        return tuple(seen for seen, strength in zip(self._seen, self.strengths(sigma), strict=True) if strength)

    def _places(self, batch: Batch) -> Iterator[tuple[int, Window]]:
        """Rows of a batch that are the watched picture on the cond side."""
        order, crops = batch.order, batch.crops
        if self._frame not in order.frames:
            return
        within = order.frames.index(self._frame)
        for first, side, corner in zip(order.firsts, order.groups, crops.corners, strict=True):
            if side == COND:
                yield (
                    first + within,
                    Window(corner, crops.grid) if crops.whole == self.grid else Window((0, 0), self.grid),
                )
