"""The other half of an adapter's network: what makes K' and V' of tokens, a module for each layer.

KeyValueLayers        K' and V' are linear in the tokens, and hold at every noise level
GatedKeyValueLayers   so are these; then V' is multiplied with a trained number
NormedKeyValueLayers  so are these; then K' is normalised by head
TimedKeyValueLayers   the noise level shifts and scales the tokens first; K' is normalised by head
FadedKeyValueLayers   the noise level says how much of each channel of V' there is
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, rms_norm, silu

from ..files.tensor_file import Shape
from .keys_values import HeadNorms, JointKeysValues, KeysValues
from .projections import LayerClasses

_KEY = "to_k_ip.weight"
_EPS = 1e-6
_FLUX_HEAD, _FLUX_EPS = 128, 1e-5  # of InstantX's norm, which has no weights that would tell


class KeyValueLayers(nn.Module):
    """to_k_ip and to_v_ip of one cross-attention."""

    def __init__(self, shapes: Mapping[str, Shape], nn_: LayerClasses, bias: bool = False) -> None:
        super().__init__()
        self.width, self.context = shapes[_KEY]
        self.to_k_ip = nn_.Linear(self.context, self.width, bias=bias)
        self.to_v_ip = nn_.Linear(self.context, self.width, bias=bias)

    def forward(self, tokens: Tensor) -> KeysValues:
        """(…, tokens, context) -> K' and V', (…, tokens, inner)."""
        return KeysValues(self.to_k_ip(tokens), self.to_v_ip(tokens))


class GatedKeyValueLayers(KeyValueLayers):
    """to_k_ip and to_v_ip of one block of Anima, and how much the block takes of what is read.

    Source of the formula: sorryhyun/anima_lora, bench/ip_adapter/impl/ip_adapter.py.
    """

    def __init__(self, shapes: Mapping[str, Shape], nn_: LayerClasses) -> None:
        super().__init__(shapes, nn_)
        self.ip_gate = nn.Parameter(torch.empty(()))

    def forward(self, tokens: Tensor) -> KeysValues:
        """(…, tokens, context) -> K' and V', (…, tokens, inner)."""
        keys, values = super().forward(tokens)
        return KeysValues(keys, values * self.ip_gate.to(values))


class NormedKeyValueLayers(KeyValueLayers):
    """to_k_ip and to_v_ip of one block of Flux, where every head of K' gets an RMS of 1.

    Source of the formula: InstantX/FLUX.1-dev-IP-Adapter, attention_processor.py.
    """

    def forward(self, tokens: Tensor) -> KeysValues:
        """(…, tokens, context) -> K' and V', (…, tokens, inner)."""
        keys, values = super().forward(tokens)
        heads = keys.float().unflatten(-1, (-1, _FLUX_HEAD))
        return KeysValues(rms_norm(heads, (_FLUX_HEAD,), eps=_FLUX_EPS).flatten(-2).to(keys), values)


class TimedKeyValueLayers(KeyValueLayers):
    """to_k_ip and to_v_ip of one joint block, and the norms of the attention that reads them.

    Source of the formula: InstantX/SD3.5-Large-IP-Adapter, models/attention_processor.py.
    """

    def __init__(self, shapes: Mapping[str, Shape], nn_: LayerClasses) -> None:
        super().__init__(shapes, nn_)
        _, self.time = shapes["norm_ip.linear.weight"]
        self.norm_ip = TimedNorm(self.time, self.context, nn_)
        (head,) = shapes["norm_ip_k.weight"]
        self.norm_q, self.norm_k, self.norm_ip_k = (HeadNorm(head) for _ in range(3))

    def at(self, tokens: Tensor, time: Tensor) -> JointKeysValues:
        """(rows, tokens, context), (rows, time) -> K' and V', (rows, tokens, inner), with the norms of Q and K."""
        keys, values = self(self.norm_ip(tokens, time))
        norms = HeadNorms(self.norm_q.weight.detach(), self.norm_k.weight.detach())
        return JointKeysValues(KeysValues(self.norm_ip_k(keys), values), norms)


class FadedKeyValueLayers(KeyValueLayers):
    """to_k_ip and to_v_ip of one block of Anima, and how much the block takes of each channel at a noise level.

    The gate is of what is read, channel by channel, which is what V' is multiplied with:

        gate · Attn(Q, K', V') = Attn(Q, K', gate · V')

    Source of the formula: LuciferTC9527/ComfyUI-Anima_IP-Adapter, nodes.py.
    """

    def __init__(self, shapes: Mapping[str, Shape], nn_: LayerClasses) -> None:
        super().__init__(shapes, nn_, bias=True)
        _, self.time = shapes["adaln_ip.1.weight"]
        self.adaln_ip = nn.Sequential(nn.SiLU(), nn_.Linear(self.time, self.width))

    def at(self, tokens: Tensor, time: Tensor) -> KeysValues:
        """(rows, tokens, context), (rows or 1, time) -> K' and V', (rows, tokens, inner)."""
        keys, values = self(tokens)
        return KeysValues(keys, values * self.adaln_ip(time)[:, None])


class TimedNorm(nn.Module):
    """Tokens normalised, then shifted and scaled as the noise level says."""

    def __init__(self, time: int, context: int, nn_: LayerClasses) -> None:
        super().__init__()
        self.linear = nn_.Linear(time, 2 * context)

    def forward(self, tokens: Tensor, time: Tensor) -> Tensor:
        """(rows, tokens, context), (rows, time) -> (rows, tokens, context)."""
        shift, scale = self.linear(silu(time))[:, None].chunk(2, dim=-1)
        return layer_norm(tokens, tokens.shape[-1:], eps=_EPS) * (1 + scale) + shift


class HeadNorm(nn.Module):
    """Every head of a tensor at an RMS of 1, times a weight."""

    def __init__(self, head: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(head))

    def forward(self, x: Tensor) -> Tensor:
        """(…, heads · head) -> the same."""
        weight = self.weight.to(x)
        return rms_norm(x.unflatten(-1, (-1, len(weight))), weight.shape, weight, _EPS).flatten(-2)
