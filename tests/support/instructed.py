"""What IP-Adapter-Instruct makes of one image and two texts, as a plain formula, head by head."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import gelu

HEAD = 64  # numbers of a head
IN_TURN = ("layers", "prompt_layers", "new_input_layers")  # of each depth: the image, the prompt, the instruction

Weights = Mapping[str, Tensor]


def plain_tokens(weights: Weights, hidden: Tensor, instruction: Tensor, prompt: Tensor) -> Tensor:
    """(patches, hidden), (words, text) twice -> (tokens, context); weights: of the projection, without a prefix."""
    given = {
        "layers": _linear(weights, "proj_in", hidden),
        "prompt_layers": _linear(weights, "proj_prompt_input", prompt),
        "new_input_layers": _linear(weights, "proj_new_input", instruction),
    }
    latents = weights["latents"][0]
    depth = sum(name.startswith("layers.") and name.endswith("to_q.weight") for name in weights)
    for number in range(depth):
        for stack in IN_TURN:
            latents = _layer(weights, f"{stack}.{number}", given[stack], latents)
    return _norm(weights, "norm_out", _linear(weights, "proj_out", latents))


def _layer(weights: Weights, name: str, read: Tensor, latents: Tensor) -> Tensor:
    """Latents after they have read something and themselves, and after the two layers behind that."""
    normed = _norm(weights, f"{name}.0.norm2", latents)
    both = torch.cat([_norm(weights, f"{name}.0.norm1", read), normed])
    queries = normed @ weights[f"{name}.0.to_q.weight"].T
    keys, values = (both @ weights[f"{name}.0.to_kv.weight"].T).chunk(2, dim=-1)
    heads = [slice(start, start + HEAD) for start in range(0, queries.shape[1], HEAD)]
    seen = [(queries[:, one] @ keys[:, one].T * HEAD**-0.5).softmax(-1) @ values[:, one] for one in heads]
    latents = latents + torch.cat(seen, dim=1) @ weights[f"{name}.0.to_out.weight"].T
    wide = _norm(weights, f"{name}.1.0", latents) @ weights[f"{name}.1.1.weight"].T
    return latents + gelu(wide) @ weights[f"{name}.1.3.weight"].T


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    unit = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]
