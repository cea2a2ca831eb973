"""TABLE of how image prompts get into the layers of a model while it is called, by its construction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from comfy.model_patcher import ModelPatcher

from ....ip_adapter_core.attention.application import ApplyOptions
from ....ip_adapter_core.attention.balance import OFF
from ....ip_adapter_core.layers.cross_stream import BEHIND, CROSS
from ....ip_adapter_core.layers.double_stream import DOUBLE, SINGLE
from ....ip_adapter_core.layers.joint_stream import JOINT
from ....ip_adapter_core.layers.layout import Layer
from . import cross_blocks, dit_blocks, double_blocks, joint_blocks, layer_patch
from .batch import Batch
from .layer_options import Options
from .prepared_layers import ImagesByLayer
from .run import Run

AddPatches = Callable[[Options], Options]
"""The options of a model call -> options with patches that add images."""


class Refusal(NamedTuple):
    """Why an option has one value alone.

    option: its name in ApplyOptions.
    only: the value.
    instead: what else to do.
    why: the reason; "{}" is the value that was found.
    depth: of the layers that it is for; None for all.
    """

    option: str
    only: str
    instead: str
    why: str
    depth: int | None = None


class Hooks(NamedTuple):
    """How a construction takes image prompts: a row of HOOKS.

    check: raises ValueError for a MODEL of this construction that cannot be patched.
    prepare: the run, the BaseModel and the batch of a call, and what each layer attends to -> what adds the patches.
    remove: takes them away again, and leaves those that other packs have added since.
    foreign: the patches of other packs on the layers that have ours, from options that have them.
    refused: the options of `apply` that have one value alone here.
    attached: the BaseModel of a call, and what each layer attends to -> what is attached to its blocks in that call.
    """

    check: Callable[[ModelPatcher], None]
    prepare: Callable[[Run, Any, Batch, ImagesByLayer], AddPatches]
    remove: Callable[[Options], Options]
    foreign: Callable[[Options, ImagesByLayer], list[Any]]
    refused: tuple[Refusal, ...] = ()
    attached: Callable[[Any, ImagesByLayer], AbstractContextManager[None]] = lambda base, images: nullcontext()


def _into_cross_attentions(run: Run, base: Any, batch: Batch, images: ImagesByLayer) -> AddPatches:
    return partial(layer_patch.add_patches, images=images, attentions=run.attentions(base))


def _behind_double_blocks(run: Run, base: Any, batch: Batch, images: ImagesByLayer) -> AddPatches:
    return partial(double_blocks.add_patches, images=images, network=base.diffusion_model, latent=batch.crops.grid)


def _inside_joint_blocks(run: Run, base: Any, batch: Batch, images: ImagesByLayer) -> AddPatches:
    return partial(joint_blocks.add_patches, images=images, network=base.diffusion_model, latent=batch.crops.grid)


def _inside_cross_attentions(run: Run, base: Any, batch: Batch, images: ImagesByLayer) -> AddPatches:
    return partial(cross_blocks.add_patches, images=images, network=base.diffusion_model, latent=batch.crops.grid)


def _no_balance(family: str) -> Refusal:
    return Refusal(
        "balance",
        OFF,
        ", and choose a weight",
        f'text and picture share one attention in {family} model, so there is none of the text alone that "{{}}" could '
        "hold an image prompt against",
    )


UNET = Hooks(
    lambda model: None,
    _into_cross_attentions,
    layer_patch.remove_patches,
    layer_patch.foreign_patches,
)
FLUX = Hooks(
    double_blocks.check,
    _behind_double_blocks,
    dit_blocks.remove_patches,
    double_blocks.foreign_patches,
    (_no_balance("a Flux"),),
)
SD3 = Hooks(
    joint_blocks.check,
    _inside_joint_blocks,
    dit_blocks.remove_patches,
    joint_blocks.foreign_patches,
    (
        _no_balance("an SD3.5"),
        Refusal(
            "scaling",
            "V only",
            "",
            'images share a softmax with the picture in an SD3.5 model, and "{}" would change what they say there, not '
            "how strongly they act",
        ),
    ),
)
ANIMA = Hooks(
    cross_blocks.check,
    _inside_cross_attentions,
    cross_blocks.remove_patches,
    cross_blocks.foreign_patches,
    (
        Refusal(
            "balance",
            OFF,
            ", and choose a weight",
            'images are added behind the blocks of this model, where nothing is of the text alone that "{}" could hold '
            "an image prompt against",
            BEHIND,
        ),
    ),
    lambda base, images: cross_blocks.attached(base.diffusion_model, images),
)
HOOKS: dict[str, Hooks] = {
    **dict.fromkeys(("input", "middle", "output"), UNET),
    **dict.fromkeys((DOUBLE, SINGLE), FLUX),
    JOINT: SD3,
    CROSS: ANIMA,
}
"""By the stage of a layer."""


def check(model: ModelPatcher, layers: Iterable[Layer], use: ApplyOptions) -> None:
    """Raises ValueError for a MODEL with these layers that cannot be patched, or not so."""
    places = {(layer.stage, layer.depth) for layer in layers}
    for row in {HOOKS[stage] for stage, _ in places}:
        row.check(model)
        for refusal in row.refused:
            if refusal.depth not in (None, *(depth for _, depth in places)):
                continue
            found = getattr(use, refusal.option)
            if found != refusal.only:
                why = refusal.why.format(found)
                raise ValueError(f'Set {refusal.option} to "{refusal.only}"{refusal.instead}; {why}.')


def of_layers(images: ImagesByLayer) -> Hooks:
    """The row of the model that has these layers."""
    return HOOKS[next(iter(images))[0]]
