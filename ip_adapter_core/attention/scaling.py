"""TABLE of the ways in which the weight enters a layer's image keys and values.

w is the weight of the layer with all its factors (see application), C is the layer's inner width. Source of the
formulas, by measurement: cubiq/ComfyUI_IPAdapter_plus, `embeds_scaling`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from ..adapters.keys_values import KeysValues

Weight = float | Tensor
"""w: one number, or (rows, 1, 1) when rows have weights of their own."""

_PENALTY_FREE = 1280  # the width at which a penalty for narrow layers ends


def scale_kv(kv: KeysValues, weight: Weight, scaling: str) -> KeysValues:
    """K' and V' (rows, tokens, inner) with the weight in them; weight 0 gives V' = 0 in every formula.

    scaling: a row of SCALINGS. The computation is in fp32 or better, so that half precision is rounded only once.
    """
    wide = torch.promote_types(kv.keys.dtype, torch.float32)
    keys, values = SCALINGS[scaling](KeysValues(*(part.to(wide) for part in kv)), weight)
    return KeysValues(keys.to(kv.keys.dtype), _zero_at_zero(values, weight).to(kv.values.dtype))


def scale_each(kv: KeysValues, weight: Weight, scaling: str, images: int) -> KeysValues:
    """As `scale_kv`, for the tokens of each of several images by themselves: where a mean is taken, it is theirs."""
    if images == 1:
        return scale_kv(kv, weight, scaling)
    apart = KeysValues(*(rearrange(part, "r (i t) c -> (r i) t c", i=images) for part in kv))
    weights = weight.repeat_interleave(images, dim=0) if isinstance(weight, Tensor) and len(weight) > 1 else weight
    scaled = scale_kv(apart, weights, scaling)
    return KeysValues(*(rearrange(part, "(r i) t c -> r (i t) c", i=images) for part in scaled))


def _zero_at_zero(values: Tensor, weight: Weight) -> Tensor:
    """V' = 0 where the weight is 0; without this, K+mean(V) would leave the mean."""
    if isinstance(weight, Tensor):
        return torch.where(weight == 0, torch.zeros_like(values), values)
    return values if weight else torch.zeros_like(values)


def _v_only(kv: KeysValues, weight: Weight) -> KeysValues:
    return KeysValues(kv.keys, kv.values * weight)


def _k_v(kv: KeysValues, weight: Weight) -> KeysValues:
    return KeysValues(kv.keys * weight, kv.values * weight)


def _k_v_penalty(kv: KeysValues, weight: Weight) -> KeysValues:
    return _k_v(kv, _penalise(kv, weight))


def _k_mean_v_penalty(kv: KeysValues, weight: Weight) -> KeysValues:
    weight, mean = _penalise(kv, weight), kv.values.mean(dim=-2, keepdim=True)
    return KeysValues(kv.keys * weight, kv.values - mean + mean * weight)


def _penalise(kv: KeysValues, weight: Weight) -> Weight:
    return weight * (kv.keys.shape[-1] / _PENALTY_FREE)


SCALINGS: dict[str, Callable[[KeysValues, Weight], KeysValues]] = {
    "V only": _v_only,
    "K+V": _k_v,
    "K+V w/ C penalty": _k_v_penalty,
    "K+mean(V) w/ C penalty": _k_mean_v_penalty,
}
