"""Lists of layer weights as the old pack's Mad Scientist node reads them: `3:2.5, 6:1`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..layers.layout import Layer
from ..layers.roles import LayerPosition, layer_positions
from ..settings.layer_weights import TYPES, LayerWeight, LayerWeights
from ..text.number_lists import NamedNumber, Wanted, pairs

_LIST = Wanted("layer_weights", "numbers of layers and their weights such as 3:2.5, 6:1", float)


def layer_list(text: str, weight: float, weight_type: str) -> LayerWeights:
    """The weights of a list, multiplied with one number; layers that it does not name get 0.

    Numbers that a model lacks are passed over. weight_type: a row of TYPES; in those layers in which it pushes away
    from the image, so do the weights of the list. Raises ValueError when the list cannot be read.
    """
    numbers = {_layer(pair): _LIST.number(pair.number, pair.piece) for pair in pairs(text, _LIST)}
    return LayerWeights("layer_weights", partial(_spread, numbers, weight, weight_type), muted=True)


def _layer(pair: NamedNumber) -> int:
    if not pair.name.isdecimal():
        raise _LIST.make_error(pair.piece)
    return int(pair.name)


def _spread(
    numbers: Mapping[int, float], weight: float, weight_type: str, layers: tuple[Layer, ...]
) -> list[LayerWeight]:
    rule = TYPES[weight_type].rule
    return [
        _place(position, numbers.get(position.t, 0.0) * weight, pushes_away=bool(rule(position).to_negative))
        for position in layer_positions(layers)
    ]


def _place(position: LayerPosition, number: float, pushes_away: bool) -> LayerWeight:
    return LayerWeight(0.0, number) if pushes_away else LayerWeight(number)
