"""Image prompts beside other packs' patches of one layer: before its attention, in place of it, and after it."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.reference import plain_image_attention
from comfyui_ip_adapter.ip_adapter_core.layers.layout import layers
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt
from sampled import apply, difference, sample
from twins import Twins

pytestmark = pytest.mark.usefixtures("comfy")

BLOCK, ADDRESS, WEIGHT = ("middle", 0), ("middle", 0, 0), 0.7
Patched = Callable[[Any], Any]


class Seen:
    """Three patches on one layer, and what each of them saw there in the latest call."""

    def __init__(self) -> None:
        self.here: dict[str, Tensor] = {}

    def before(self, model: Any) -> Any:
        """Queries and values of the text are changed before the layer's own weights."""

        def patch(n: Tensor, context: Tensor, value: Tensor, options: Any) -> tuple[Tensor, Tensor, Tensor]:
            if options["block"] != BLOCK:
                return n, context, value
            return n * 0.8 + 0.1, context, value * 0.5

        clone = model.clone()
        clone.set_model_attn2_patch(patch)
        return clone

    def instead(self, model: Any) -> Any:
        """The text's attention is another one."""
        from comfy.ldm.modules.attention import optimized_attention

        def patch(q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
            found = optimized_attention(q, k, v, options["n_heads"]) * 0.6
            self.here |= {"q": q, "text": found, "kept": found.clone()}
            return found

        clone = model.clone()
        clone.set_model_attn2_replace(patch, *BLOCK)
        return clone

    def after(self, model: Any) -> Any:
        """The layer's result is changed."""

        def patch(n: Tensor, options: Any) -> Tensor:
            if options["block"] != BLOCK:
                return n
            self.here["result"] = n
            return n * 1.3

        clone = model.clone()
        clone.set_model_attn2_output_patch(patch)
        return clone


def image_of(small: Twins, prompt: ImagePrompt) -> KeysValues:
    """K' and V' of the layer, a row for the negative and one for the positive side."""
    (part,) = prompt.parts
    config = small.patcher.model.model_config.unet_config
    (keys, values) = next(
        pair for layer, pair in zip(layers(config), part.keys_values, strict=True) if layer.address == ADDRESS
    )
    rows = part.row_index[[UNCOND, COND], 0]
    return KeysValues(keys[rows], values[rows])


def patches(seen: Seen, prompt: ImagePrompt) -> dict[str, Patched]:
    return {
        "before": seen.before,
        "instead": seen.instead,
        "after": seen.after,
        "ours": lambda model: apply(model, prompt, WEIGHT),
    }


@pytest.mark.parametrize("names", [("before", "instead"), ("instead", "after"), ("before", "instead", "after")])
def test_patches_before_instead_of_and_after_a_layers_attention_all_act_with_ours(
    small: Twins, prompt: ImagePrompt, names: tuple[str, ...]
) -> None:
    """The layer's result is to_out of what the patch gives and of the image attention of the queries that it got."""
    seen = Seen()
    made = patches(seen, prompt)
    found = []
    for order in permutations((*names, "ours")):
        seen.here.clear()
        model = small.patcher
        for name in order:
            model = made[name](model)
        found.append(sample(model, steps=1))
        assert torch.equal(seen.here["text"], seen.here["kept"]), order
        if "after" in names:
            check_result(small, prompt, seen)
    assert all(torch.equal(one, found[0]) for one in found)
    for name in (*names, "ours"):
        model = small.patcher
        for other in (*names, "ours"):
            model = model if other == name else made[other](model)
        assert difference(sample(model, steps=1), found[0]) > 1e-3, name


def check_result(small: Twins, prompt: ImagePrompt, seen: Seen) -> None:
    attention = small.patcher.model.diffusion_model.middle_block[1].transformer_blocks[0].attn2
    q, text = seen.here["q"], seen.here["text"]
    keys, values = (x.repeat_interleave(len(q) // 2, dim=0) for x in image_of(small, prompt))
    added = WEIGHT * plain_image_attention(q, keys, values, attention.heads)
    torch.testing.assert_close(seen.here["result"], attention.to_out(text + added), atol=1e-5, rtol=1e-4)
