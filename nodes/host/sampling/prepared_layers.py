"""What every layer attends to beside the text, for the batches of one run: prepared once and kept while it repeats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from ....ip_adapter_core.attention.application import Application
from ....ip_adapter_core.attention.grouped import GroupedKV, ImageKV, MasksByGrid, group_images, join_masks
from .batch import Batch, Contents
from .cache import RunCache
from .layer_options import Address
from .prepared import PreparedPrompt, masks_of

ImagesByLayer = dict[Address, tuple[ImageKV | GroupedKV, ...]]
"""What each patched layer attends to beside the text."""

Strengths = tuple[float, ...]
"""What λ of each application is multiplied with."""

# How many values stay on each device. Where frames differ, keys and values are large, and windows come and go: then
# only those of one window, cond and uncond. Masks are small, and there is one for each area or tile.
_MAX_CONTENTS, _MAX_CONTENTS_OF_FRAMES, _MAX_MASKS = 4, 2, 64


class _Unmasked(NamedTuple):
    """Keys and values of all layers for some contents of a batch, without masks.

    strengths: those that λ was multiplied with.
    keep_all: whether prompts of strength 0 are among them.
    images: what each layer attends to.
    """

    strengths: Strengths
    keep_all: bool
    images: ImagesByLayer


class PreparedLayers:
    """The images of every layer for the batches of a run, with few of them kept on each device.

    applications: the image prompts of the run, in order.
    pictures: how many the latent batch holds.
    framed, timed, masked: whether any prompt differs by frame, by step, by place.
    grouped: whether the images of a layer are joined where that is faster; else each stands by itself.
    """

    def __init__(
        self,
        applications: Sequence[Application],
        pictures: int,
        *,
        framed: bool,
        timed: bool,
        masked: bool,
        grouped: bool = True,
    ) -> None:
        self._applications, self._pictures = applications, pictures
        self._framed, self._timed, self._masked, self._grouped = framed, timed, masked, grouped
        self._heads = {layer.address: layer.heads for application in applications for layer in application.layers}
        most = _MAX_CONTENTS_OF_FRAMES if framed else _MAX_CONTENTS
        self._prompts: RunCache[Contents, list[PreparedPrompt]] = RunCache(most)
        self._unmasked: RunCache[Contents, _Unmasked] = RunCache(most)
        self._masks: RunCache[Batch, list[MasksByGrid | None]] = RunCache(_MAX_MASKS)

    @property
    def tensors(self) -> tuple[object, ...]:
        """The keys and values that are kept, in nested values."""
        return self._prompts.values, self._unmasked.values

    def at(self, batch: Batch, strengths: Strengths, keep_all: bool, timestep: float | None = None) -> ImagesByLayer:
        """What every layer that is patched at these strengths attends to in a batch.

        keep_all: whether prompts of strength 0 stay in it, with values of 0, so that the structure never changes.
        timestep: how noisy the picture is, for prompts whose keys and values depend on it.
        """
        images = self._images(batch.contents(self._framed, timestep), strengths, keep_all)
        return self._with_masks(images, batch) if self._masked else images

    def _with_masks(self, images: ImagesByLayer, batch: Batch) -> ImagesByLayer:
        masks = self._masks.get(batch, lambda: [masks_of(each, batch, self._pictures) for each in self._applications])
        join = cache(lambda owners: join_masks([masks[owner] for owner in owners]))
        return {
            address: tuple(image._replace(masks=join(image.owners)) for image in group)
            for address, group in images.items()
        }

    def _images(self, contents: Contents, strengths: Strengths, keep_all: bool) -> ImagesByLayer:
        unmasked = self._unmasked.get(
            contents,
            lambda: _Unmasked(strengths, keep_all, self._prepare(contents, strengths, keep_all)),
            lambda entry: (entry.strengths, entry.keep_all) == (strengths, keep_all),
        )
        return unmasked.images

    def _prepare(self, contents: Contents, strengths: Strengths, keep_all: bool) -> ImagesByLayer:
        by_layer: dict[Address, list[ImageKV]] = {}
        for owner, (prompt, strength) in enumerate(zip(self._prepared_prompts(contents), strengths, strict=True)):
            for address, images in (prompt.at(strength) if strength or keep_all else {}).items():
                by_layer.setdefault(address, []).extend(image._replace(owners=(owner,)) for image in images)
        return {address: self._group(images, address) for address, images in by_layer.items()}

    def _group(self, images: Sequence[ImageKV], address: Address) -> tuple[ImageKV | GroupedKV, ...]:
        return group_images(images, self._heads[address]) if self._grouped else tuple(images)

    def _prepared_prompts(self, contents: Contents) -> list[PreparedPrompt]:
        """Tensors that hold at every step; they are kept only where steps differ."""

        def prepare() -> list[PreparedPrompt]:
            return [PreparedPrompt(application, contents, self._pictures) for application in self._applications]

        return self._prompts.get(contents, prepare) if self._timed else prepare()
