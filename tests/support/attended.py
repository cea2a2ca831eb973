"""What image prompts of the tiny adapters add in the layers of a model as tiny."""

from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.reference import image_attention
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import PromptPart
from drawn import draw
from fabricate import adapters

TINY = tuple(Layer("input", block, 0, width, 1) for block, width in enumerate(adapters.TINY_WIDTHS))


def attended(part: PromptPart, side: int) -> list[Tensor]:
    """What each layer adds on one side, to queries of its width."""
    found = []
    for layer, (keys, values) in zip(TINY, part.keys_values, strict=True):
        q = draw(1, 9, layer.width, seed=layer.block)
        rows = part.row_index[side]
        found.append(image_attention(q, KeysValues(keys[rows], values[rows]), 4, part.attn_bias))
    return found
