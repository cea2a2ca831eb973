"""What the old pack's nodes for regions do: picture, mask and texts -> a bundle of lists, one entry for each region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..host.regions import mask_texts

Params = dict[str, list[Any]]

NAMES = ("image", "attn_mask", "weight", "weight_type", "start_at", "end_at")
"""What a bundle has a list of, one entry for each region."""


def conditioning(
    image: Tensor,
    image_weight: float,
    prompt_weight: float,
    weight_type: str,
    start_at: float,
    end_at: float,
    mask: Tensor | None = None,
    positive: list[Any] | None = None,
    negative: list[Any] | None = None,
    **_: Any,
) -> tuple[Any, ...]:
    """A bundle with one region; and its texts, in the mask's place where there is one."""
    entries = (image, mask, image_weight, weight_type, start_at, end_at)
    params = {name: [entry] for name, entry in zip(NAMES, entries, strict=True)}
    if mask is None:
        return params, positive, negative
    return params, *(None if text is None else mask_texts(text, mask, prompt_weight) for text in (positive, negative))


def combine(params_1: Params, params_2: Params, **others: Params | None) -> tuple[Params]:
    """All regions of several bundles, in the order of the sockets. Raises ValueError for what is no such bundle."""
    given = [params_1, params_2, *(others[name] for name in sorted(others) if name.startswith("params_"))]
    bundles = [lists(params) for params in given if params is not None]
    return ({name: [entry for params in bundles for entry in params[name]] for name in NAMES},)


def lists(params: Any) -> Params:
    """A bundle of regions. Raises ValueError for what is none."""
    if not isinstance(params, Mapping) or any(not isinstance(params.get(name), list) for name in NAMES):
        raise ValueError("Connect the regions of IPAdapter Regional Conditioning or IPAdapter Combine Params.")
    return {name: params[name] for name in NAMES}
