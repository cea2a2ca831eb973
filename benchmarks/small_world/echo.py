"""The first lesson of an adapter: to say in each attention what the caption says, without the model around it.

A step of the package's trainer is the model's for nearly all of its time, and its loss is mostly the noise that nobody
can foretell. Here the model runs once, for its queries; for each of them the adapter learns what the attention to the
caption adds to that of an empty text. It is the beginning only: what no caption says, the trainer teaches.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...ip_adapter_core.adapters.keys_values import KeysValues
from ...ip_adapter_core.attention.reference import plain_image_attention
from ...nodes.host import models
from ...nodes.host.sampling.foreign_attention import attention
from ...nodes.host.training.base_model import attention_weights
from . import adapters, base, host
from .descent import Descent
from .shelf import captions, kept, publish

STEPS = 1500
BATCH = 128
QUERIES = 48
"""In each layer and step; drawn from those of ASKED pictures."""
ASKED = 192
_AT_ONCE = 48  # pictures that the model looks at together


class Listener(NamedTuple):
    """A cross-attention of the model.

    heads: how many.
    to_k, to_v: of the text, (inner, context).
    queries: some of those it asks, (n, inner).
    """

    heads: int
    to_k: Tensor
    to_v: Tensor
    queries: Tensor

    def draw(self) -> Tensor:
        """Some of the queries, (1, QUERIES, inner)."""
        return self.queries[torch.randint(len(self.queries), (QUERIES,))][None]

    def hear(self, queries: Tensor, context: Tensor) -> Tensor:
        """What the text's own attention answers, (n, queries, inner); context: (n, tokens, width)."""
        return self.attend(queries, context @ self.to_k.T, context @ self.to_v.T)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The answers to the same queries for each row of keys and values, (n, queries, inner)."""
        return plain_image_attention(queries.expand(len(keys), -1, -1), keys, values, self.heads)


def contexts() -> Tensor:
    """What the host's text encoder makes of the whole training captions; computed once and written to disk."""
    return kept("train_contexts", lambda: {"contexts": host.contexts(captions("train")).half()})["contexts"]


@torch.no_grad()
def listeners(said: Tensor) -> list[Listener]:
    """The model's cross-attentions, with queries of pictures at all noise levels, each with its caption."""
    model, pictures = host.checkpoint().model, base.latents("train")
    weights, frozen = attention_weights(model), adapters.SimpleBase(model)
    with frozen:
        layers = [attention(model.model.diffusion_model, layer) for layer in models.cross_attentions(model)]
        asked: list[list[Tensor]] = [[] for _ in layers]
        with ExitStack() as hooks:
            for layer, into in zip(layers, asked, strict=True):
                hooks.callback(layer.to_q.register_forward_hook(_keeper(into)).remove)
            for rows in torch.randint(len(pictures), (ASKED,)).split(_AT_ONCE):
                clean, sigmas = pictures[rows].float(), frozen.sigmas(torch.rand(len(rows)))
                noisy = frozen.noised(clean, torch.randn_like(clean), sigmas)
                text = {"context": said[rows].float()}
                frozen.denoised(noisy, sigmas, text, text["context"][:, :0])
    return [
        Listener(layer.heads, *pair, torch.cat(queries))
        for layer, pair, queries in zip(layers, weights, asked, strict=True)
    ]


def _keeper(into: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    def keep(_module: nn.Module, _given: Any, queries: Tensor) -> None:
        into.append(queries.flatten(0, 1).float())

    return keep


def train(kind: str, steps: int, rate: float = 2e-3) -> nn.Module:
    """The squared error of the answers, as a share of the variance of the true ones, over all layers."""
    torch.manual_seed(6)
    said, seen = contexts(), adapters.seen()[adapters.READS[kind]]
    layers, silence = listeners(said), host.contexts([""])
    network = adapters.beginning(kind, seen.shape[-1]).train().requires_grad_(True)
    descent = Descent(f"echo_{kind}", network.parameters(), steps, rate, warm=0.1, clip=1.0)
    for _ in range(steps):
        rows = torch.randint(len(seen), (BATCH,))
        image = network(seen[rows].float())
        own = [image] * len(layers) if kind == "simple" else image
        descent.step(torch.stack(list(losses(layers, own, said[rows].float(), silence))).mean())
    descent.end()
    return network


def losses(
    layers: Iterable[Listener], image: Iterable[KeysValues | Tensor], caption: Tensor, silence: Tensor
) -> Iterator[Tensor]:
    """In each layer, how far what the image adds is from what the caption adds, (n, tokens, width), to silence.

    image: keys and values of an attention of its own, or tokens that stand behind those of silence.
    """
    for layer, own in zip(layers, image, strict=True):
        queries = layer.draw()
        quiet = layer.hear(queries, silence)
        added = layer.hear(queries, caption) - quiet
        if isinstance(own, Tensor):
            answer = layer.hear(queries, torch.cat([silence.expand(len(own), -1, -1), own], dim=1)) - quiet
        else:
            answer = layer.attend(queries, *own)
        yield (answer - added).square().mean() / added.var()


def main(kind: str, steps: int = STEPS) -> None:
    """Train and write the beginning of an adapter."""
    publish(adapters.file(kind), train(kind, steps).state_dict())
