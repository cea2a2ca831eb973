"""PuLID's encoders as plain formulas, written out from its authors' code: of one face, mapping after mapping."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, leaky_relu

from fabricate import adapters

HEAD = 64  # of IDFormer


class Weights(dict[str, Tensor]):
    """The projection of an adapter, and the steps of which its formulas are made."""

    def linear(self, name: str, x: Tensor) -> Tensor:
        found = x @ self[f"{name}.weight"].T
        return found + self[f"{name}.bias"] if f"{name}.bias" in self else found

    def norm(self, name: str, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], 1e-5)

    def mapping(self, name: str, x: Tensor) -> Tensor:
        for linear, norm in (("0", "1"), ("3", "4")):
            x = leaky_relu(self.norm(f"{name}.{norm}", self.linear(f"{name}.{linear}", x)), 0.01)
        return self.linear(f"{name}.6", x)


def version_1(weights: Weights, face: Tensor, embeds: Tensor, levels: Tensor) -> Tensor:
    """Of one face: (tokens, context)."""
    wide = weights.mapping("body", torch.cat([face, embeds]))
    tokens = [*wide.split(adapters.TINY_CONTEXT)]
    for number, level in enumerate(levels):
        patches = torch.stack([weights.mapping(f"mapping_patch_{number}", patch) for patch in level[1:]])
        tokens.append(weights.mapping(f"mapping_{number}", level[0]) + patches.mean(0))
    return torch.stack(tokens)


def version_1_1(weights: Weights, face: Tensor, embeds: Tensor, levels: Tensor) -> Tensor:
    """Of one face: (tokens, context)."""
    width = weights["latents"].shape[-1]
    identity = torch.stack(weights.mapping("id_embedding_mapping", torch.cat([face, embeds])).split(width))
    latents = torch.cat([weights["latents"][0], identity])
    for layer in range(10):
        level = weights.mapping(f"mapping_{layer // 2}", levels[layer // 2])
        latents = latents + attended(weights, f"layers.{layer}.0", torch.cat([identity, level]), latents)
        inner = weights.linear(f"layers.{layer}.1.1", weights.norm(f"layers.{layer}.1.0", latents))
        latents = latents + weights.linear(f"layers.{layer}.1.3", gelu(inner))
    return latents[: weights["latents"].shape[1]] @ weights["proj_out"]


def attended(weights: Weights, name: str, read: Tensor, latents: Tensor) -> Tensor:
    read, latents = weights.norm(f"{name}.norm1", read), weights.norm(f"{name}.norm2", latents)
    q = weights.linear(f"{name}.to_q", latents)
    k, v = weights.linear(f"{name}.to_kv", torch.cat([read, latents])).chunk(2, dim=-1)
    heads = zip(*(x.split(HEAD, dim=-1) for x in (q, k, v)), strict=True)
    seen = [(one @ keys.T / HEAD**0.5).softmax(-1) @ values for one, keys, values in heads]
    return weights.linear(f"{name}.to_out", torch.cat(seen, -1))


FORMULAS: dict[str, Any] = {"PuLID v1": version_1, "PuLID v1.1": version_1_1}
