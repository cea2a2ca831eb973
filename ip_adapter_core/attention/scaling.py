"""TABLE of the ways in which the weight enters a layer's image keys and values.

w is the weight of the layer with everything in it, C the layer's inner width. Source of the formulas, by measurement:
cubiq/ComfyUI_IPAdapter_plus, `embeds_scaling`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..adapters.keys_values import KeysValues

Weight = float | Tensor
"""w: one number, or (rows, 1, 1), where the rows of a batch have their own."""

_PENALTY_FREE = 1280  # the width at which a penalty for narrow layers ends


def scale_kv(image: KeysValues, weight: Weight, scaling: str) -> KeysValues:
    """K' and V' (rows, tokens, inner) of which plain attention gives the weighted result; weight 0 always gives 0.

    Computed in fp32 at least, so that halves are rounded once whatever the formula.
    """
    wide = torch.promote_types(image.keys.dtype, torch.float32)
    keys, values = SCALINGS[scaling](KeysValues(*(part.to(wide) for part in image)), weight)
    return KeysValues(keys.to(image.keys.dtype), _zero_at_zero(values, weight).to(image.values.dtype))


def _zero_at_zero(values: Tensor, weight: Weight) -> Tensor:
    """Nothing where the weight is nothing: K+mean(V) alone would leave something, as its formula goes on to."""
    if isinstance(weight, Tensor):
        return torch.where(weight == 0, torch.zeros_like(values), values)
    return values if weight else torch.zeros_like(values)


def _v_only(image: KeysValues, weight: Weight) -> KeysValues:
    return KeysValues(image.keys, image.values * weight)


def _k_v(image: KeysValues, weight: Weight) -> KeysValues:
    return KeysValues(image.keys * weight, image.values * weight)


def _k_v_penalty(image: KeysValues, weight: Weight) -> KeysValues:
    return _k_v(image, _penalise(image, weight))


def _k_mean_v_penalty(image: KeysValues, weight: Weight) -> KeysValues:
    weight, mean = _penalise(image, weight), image.values.mean(dim=-2, keepdim=True)
    return KeysValues(image.keys * weight, image.values - mean + mean * weight)


def _penalise(image: KeysValues, weight: Weight) -> Weight:
    return weight * (image.keys.shape[-1] / _PENALTY_FREE)


SCALINGS: dict[str, Callable[[KeysValues, Weight], KeysValues]] = {
    "V only": _v_only,
    "K+V": _k_v,
    "K+V w/ C penalty": _k_v_penalty,
    "K+mean(V) w/ C penalty": _k_mean_v_penalty,
}
