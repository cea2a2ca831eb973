"""The constructions of base models that take image prompts: where each has its layers, by its own configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from . import cross_stream, double_stream, joint_stream, layout
from .layout import Geometry, Layer

Config = Mapping[str, Any]
"""ComfyUI's configuration of a diffusion model."""


class Places(NamedTuple):
    """Where adapters of some authors add images to a model.

    layers: its layers, in the order of adapter files.
    context: the width of the tokens that these read.
    """

    layers: Callable[[Config], tuple[Layer, ...]]
    context: Callable[[Config], int]

    def geometry(self, config: Config) -> Geometry:
        """What such adapters match."""
        return Geometry(self.context(config), tuple(layer.width for layer in self.layers(config)))


class Architecture(NamedTuple):
    """A construction of base models: a row of ARCHITECTURES.

    fits: whether a configuration describes a model of this construction.
    layers: its layers, in the order of adapter files.
    context: the width of its text tokens, as its layers read them.
    others: where adapters of other authors add images.
    """

    fits: Callable[[Config], bool]
    layers: Callable[[Config], tuple[Layer, ...]]
    context: Callable[[Config], int]
    others: tuple[Places, ...] = ()

    @property
    def places(self) -> tuple[Places, ...]:
        """Where adapters add images, the usual ones first."""
        return Places(self.layers, self.context), *self.others


ARCHITECTURES: dict[str, Architecture] = {
    "UNet": Architecture(layout.is_unet, layout.layers, itemgetter("context_dim")),
    "Flux": Architecture(
        double_stream.is_double_stream,
        double_stream.layers,
        itemgetter("context_in_dim"),
        (Places(double_stream.inner_layers, itemgetter("context_in_dim")),),
    ),
    "SD3": Architecture(joint_stream.is_joint_stream, joint_stream.layers, joint_stream.width),
    "Anima": Architecture(
        cross_stream.is_cross_stream,
        cross_stream.layers,
        itemgetter("crossattn_emb_channels"),
        (Places(cross_stream.outer_layers, lambda config: cross_stream.STATES),),
    ),
}


def layers(config: Config, adapter: Geometry | None = None) -> tuple[Layer, ...]:
    """Where a model of this configuration takes image attention, in the order of adapter files.

    adapter: the one that it is for, where those of several authors have other layers.
    Raises ValueError for a construction that takes no image prompts.
    """
    return _places(config, adapter).layers(config)


def geometry(config: Config, adapter: Geometry | None = None) -> Geometry:
    """What an adapter must match to fit a model of this configuration; adapter and errors as in `layers`."""
    return _places(config, adapter).geometry(config)


def geometries(config: Config) -> tuple[Geometry, ...]:
    """What an adapter must match one of, where those of several authors have other layers; the usual one is first.

    Raises ValueError like `layers`.
    """
    return tuple(places.geometry(config) for places in _architecture(config).places)


def _places(config: Config, adapter: Geometry | None) -> Places:
    usual, *others = _architecture(config).places
    return next((places for places in others if adapter == places.geometry(config)), usual)


def _architecture(config: Config) -> Architecture:
    fitting = next((row for row in ARCHITECTURES.values() if row.fits(config)), None)
    if fitting is None:
        kind = config.get("image_model", "of another construction")
        raise ValueError(
            "Connect a model such as SD1.5, SD2, SDXL, SD3.5 Large, Anima or Flux, as image prompts need one; this "
            f"model is {kind}."
        )
    return fitting
