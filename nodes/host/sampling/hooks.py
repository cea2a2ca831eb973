"""TABLE of how image prompts get into the layers of a model while it is called, by its construction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from comfy.model_patcher import ModelPatcher

from ....ip_adapter_core.attention.application import ApplyOptions
from ....ip_adapter_core.attention.balance import OFF
from ....ip_adapter_core.layers.double_stream import DOUBLE
from ....ip_adapter_core.layers.layout import Layer
from . import double_blocks, layer_patch
from .batch import Batch
from .layer_options import Options
from .prepared_layers import ImagesByLayer
from .run import Run

AddPatches = Callable[[Options], Options]
"""The options of a model call -> options with patches that add images."""


class Hooks(NamedTuple):
    """How a construction takes image prompts: a row of HOOKS.

    check: raises ValueError for a MODEL of this construction that cannot be patched.
    prepare: the run, the BaseModel and the batch of a call, and what each layer attends to -> what adds the patches.
    remove: takes them away again, and leaves those that other packs have added since.
    foreign: the patches of other packs on the layers that have ours, from options that have them.
    forward: the arguments of the host's network, in its order.
    balances: whether there is an attention to the text alone that image prompts can be held against.
    """

    check: Callable[[ModelPatcher], None]
    prepare: Callable[[Run, Any, Batch, ImagesByLayer], AddPatches]
    remove: Callable[[Options], Options]
    foreign: Callable[[Options, ImagesByLayer], list[Any]]
    forward: tuple[str, ...]
    balances: bool


def _into_cross_attentions(run: Run, base: Any, batch: Batch, images: ImagesByLayer) -> AddPatches:
    return partial(layer_patch.add_patches, images=images, attentions=run.attentions(base))


def _behind_double_blocks(run: Run, base: Any, batch: Batch, images: ImagesByLayer) -> AddPatches:
    return partial(double_blocks.add_patches, images=images, network=base.diffusion_model, latent=batch.crops.grid)


UNET = Hooks(
    lambda model: None,
    _into_cross_attentions,
    layer_patch.remove_patches,
    layer_patch.foreign_patches,
    layer_patch.FORWARD,
    balances=True,
)
FLUX = Hooks(
    double_blocks.check,
    _behind_double_blocks,
    double_blocks.remove_patches,
    double_blocks.foreign_patches,
    double_blocks.FORWARD,
    balances=False,
)
HOOKS: dict[str, Hooks] = {**dict.fromkeys(("input", "middle", "output"), UNET), DOUBLE: FLUX}
"""By the stage of a layer."""


def check(model: ModelPatcher, layers: Iterable[Layer], use: ApplyOptions) -> None:
    """Raises ValueError for a MODEL with these layers that cannot be patched, or not so."""
    for row in {HOOKS[layer.stage] for layer in layers}:
        row.check(model)
        if use.balance != OFF and not row.balances:
            raise ValueError(
                f'Set balance to "{OFF}", and choose a weight; text and picture share one attention in a Flux model, '
                f'so there is none of the text alone that "{use.balance}" could hold an image prompt against.'
            )


def of_layers(images: ImagesByLayer) -> Hooks:
    """The row of the model that has these layers."""
    return HOOKS[next(iter(images))[0]]
