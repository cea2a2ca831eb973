"""What an adapter makes of image tokens for one cross-attention."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class KeysValues(NamedTuple):
    """K' and V' of one cross-attention.

    keys: K', (…, tokens, inner).
    values: V', (…, tokens, inner).
    """

    keys: Tensor
    values: Tensor
