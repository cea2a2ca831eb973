"""What an adapter makes of image tokens for one layer."""

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


class HeadNorms(NamedTuple):
    """What queries and keys are multiplied with once each of their heads has an RMS of 1.

    queries: (head,).
    keys: (head,).
    """

    queries: Tensor
    keys: Tensor


class JointKeysValues(NamedTuple):
    """K' and V' that share a softmax with the picture's own keys and values.

    kv: K' and V', K' normalised.
    norms: of the picture's queries and keys in that softmax.
    """

    kv: KeysValues
    norms: HeadNorms


TimedKeysValues = KeysValues | JointKeysValues
"""What a layer of a kind that is timed makes at a noise level."""
