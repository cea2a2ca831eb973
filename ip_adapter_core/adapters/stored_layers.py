"""Linear layers whose weights stay in the adapter's file: read a part at a time when they are needed, then let go."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..files.stored import Stored


class StoredLinear(nn.Module):
    """A linear layer that computes as `nn.Linear` does, and has no weight in memory while it does not.

    So a host has none of it to count, move or free. While it computes it needs a part of the weight (`stored.PART`),
    where the input is and in its dtype: for this a host makes room, as `numbers_at_once` says.
    """

    def __init__(self, stored: Stored, has_bias: bool) -> None:
        super().__init__()
        self.stored = stored
        self.out_features, self.in_features = stored.shape
        self.bias = nn.Parameter(torch.empty(self.out_features, device="meta")) if has_bias else None

    @property
    def weight(self) -> Tensor:
        """The whole weight, read anew each time."""
        return self.stored.read()

    @property
    def numbers_at_once(self) -> int:
        """How many numbers the largest part of the weight has."""
        return self.stored.rows_at_once() * self.in_features

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        made = x.new_empty(*x.shape[:-1], self.out_features)
        done = 0
        for part in self.stored.parts():
            made[..., done : done + len(part)] = linear(x, part.to(x))
            done += len(part)
        return made if self.bias is None else made + self.bias.to(x)


def leave_in_file(network: nn.Module, places: Mapping[str, Stored]) -> set[str]:
    """Put such layers in the place of a network's linear ones whose weights have a place, by name; those names.

    Whether one has a bias is told by the places too: layers of a host may have none yet (ComfyUI's DynamicVRAM).
    """
    left = set()
    for name, module in list(network.named_modules()):
        weight = f"{name}.weight"
        if isinstance(module, nn.Linear) and weight in places:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, StoredLinear(places[weight], f"{name}.bias" in places))
            left.add(weight)
    return left


def stored_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of such layers of a network, by name, all of them in memory."""
    layers = ((name, module) for name, module in network.named_modules() if isinstance(module, StoredLinear))
    return {f"{name}.weight": layer.weight for name, layer in layers}


def numbers_at_once(network: nn.Module) -> int:
    """The most numbers of weights that a network reads from its file at once; 0 where it holds them all."""
    return max((layer.numbers_at_once for layer in network.modules() if isinstance(layer, StoredLinear)), default=0)
