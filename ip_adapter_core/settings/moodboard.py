"""A moodboard: pictures, each with what it is there for, how strongly it acts, and when."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..layers.layout import Layer
from ..text.checks import check_choice, check_finite
from .instruction import Instruction
from .layer_weights import LINEAR, LayerWeight, LayerWeights, act_nowhere, from_weight_type
from .span import Span
from .weight_list import names_in

AWAY = LayerWeights("avoid", lambda layers: [LayerWeight(0.0, 1.0)] * len(layers))
"""The negative side alone reads the picture, in all layers, so that guidance moves away from it."""

ROLES: dict[str, LayerWeights] = {
    "all": LINEAR,
    "style": from_weight_type("style transfer"),
    "composition": from_weight_type("composition"),
    "avoid": AWAY,
}
"""What a picture is there for -> how its strength spreads over the layers."""


@dataclass(frozen=True, eq=False)
class Card:
    """A picture of a moodboard.

    images: (images, height, width, channels); several are read as one prompt.
    role: a row of ROLES.
    strength: λ of this picture, a multiple of the moodboard's.
    start, end: when it acts, as shares 0..1 of the time in which the moodboard does.
    fit: how it gets the encoder's size, a row of preprocess.FITS.
    mask: which part of it is read; None for all.
    instruction: what to take from it, for an adapter that is told so.
    """

    images: Tensor
    role: str = "all"
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    fit: str = "center crop"
    mask: Tensor | None = None
    instruction: Instruction | None = None

    def check(self) -> Card:
        """This card. Raises ValueError when its role, its strength or its time is not valid."""
        check_choice("role", self.role, ROLES)
        check_finite(strength=self.strength)
        Span(self.start, self.end).check()
        return self

    @property
    def layer_weights(self) -> LayerWeights:
        """How its strength spreads over the layers."""
        return ROLES[self.role]

    def within(self, whole: Span) -> Span:
        """When it acts, if the moodboard acts in a span, in the unit of that."""
        start, end = ((1 - share) * whole.start + share * whole.end for share in (self.start, self.end))
        return Span(start, end, whole.unit)


def check_roles(cards: list[Card], layers: tuple[Layer, ...]) -> None:
    """Raises ValueError when there are no cards, or when the role of one acts in no layer of a model; layers: all."""
    if not cards:
        raise ValueError("Connect a Moodboard Picture to pictures; the moodboard has none.")
    for number, card in enumerate(cards, 1):
        if act_nowhere(card.layer_weights.per_layer(layers)):
            raise ValueError(
                f"Set the role of picture {number} to all or avoid, or use another model; no layer of this one is "
                f"known for {card.role}. It has {names_in(layers)}."
            )
