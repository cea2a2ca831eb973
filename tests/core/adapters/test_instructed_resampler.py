"""The projection of IP-Adapter-Instruct equals the plain formula, and each of its inputs counts."""

import pytest
import torch
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.adapters.instructed_resampler import InstructedResampler
from fabricate.adapters import adapter, projection_shapes
from instructed import plain_tokens
from published_shapes import FILES

SIZES = {
    "as wide as the context": {"width": 64, "inner": 64},
    "of two heads, narrower than the context": {"width": 48, "inner": 128},
}
TEXT, EMBED, CONTEXT = 40, 24, 64


def made(sizes: str) -> InstructedResampler:
    given = {"embed": EMBED, "tokens": 5, "depth": 3, "text": TEXT, **SIZES[sizes]}
    weights = adapter("Instruct", (32,), CONTEXT, **given)["image_proj"]
    network = InstructedResampler({name: tuple(value.shape) for name, value in weights.items()}, nn)
    network.load_state_dict(weights, strict=True)
    return network.eval().requires_grad_(False)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


IMAGES, INSTRUCTION, PROMPT = draw(1, 2, 9, EMBED), draw(2, 1, 7, TEXT), draw(3, 1, 7, TEXT)


@pytest.mark.parametrize("sizes", SIZES)
def test_tokens_are_those_of_the_plain_formula(sizes: str) -> None:
    network = made(sizes)
    found = network(IMAGES, instruction=INSTRUCTION, prompt=PROMPT)
    assert found.shape == (2, 5, CONTEXT)
    for image, tokens in zip(IMAGES, found, strict=True):
        expected = plain_tokens(dict(network.state_dict()), image, INSTRUCTION[0], PROMPT[0])
        torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=0)
    assert found.abs().mean() > 0.1


@pytest.mark.parametrize("changed", ["image", "instruction", "prompt", "both texts in each other's place"])
def test_every_input_counts(changed: str) -> None:
    network, other = made("as wide as the context"), draw(4, 1, 7, TEXT)
    usual = network(IMAGES, instruction=INSTRUCTION, prompt=PROMPT)
    found = {
        "image": lambda: network(IMAGES.flip(0), instruction=INSTRUCTION, prompt=PROMPT),
        "instruction": lambda: network(IMAGES, instruction=other, prompt=PROMPT),
        "prompt": lambda: network(IMAGES, instruction=INSTRUCTION, prompt=other),
        "both texts in each other's place": lambda: network(IMAGES, instruction=PROMPT, prompt=INSTRUCTION),
    }[changed]()
    assert (found - usual).abs().max() > 0.05


def test_texts_may_be_of_different_lengths() -> None:
    network, short = made("as wide as the context"), draw(5, 1, 3, TEXT)
    found = network(IMAGES, instruction=short, prompt=PROMPT)
    expected = plain_tokens(dict(network.state_dict()), IMAGES[1], short[0], PROMPT[0])
    torch.testing.assert_close(found[1], expected, atol=1e-5, rtol=0)


def test_patches_that_are_not_kept_are_not_read_and_texts_are() -> None:
    network = made("as wide as the context")
    kept = torch.tensor([[True, False, True, True, False, False, True, True, False], [False] * 8 + [True]])
    found = network(IMAGES, kept, instruction=INSTRUCTION, prompt=PROMPT)
    for image in range(2):
        part = IMAGES[image, kept[image]]
        expected = plain_tokens(dict(network.state_dict()), part, INSTRUCTION[0], PROMPT[0])
        torch.testing.assert_close(found[image], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("file", "heads", "context"), [("sd15", 12, 768), ("sdxl", 20, 2048)])
def test_published_sizes_have_the_published_heads(file: str, heads: int, context: int) -> None:
    """Of the authors' init_proj: 16 tokens, 4 layers, heads of 64, texts of CLIP-L."""
    sizes = FILES[f"ip-adapter-instruct-{file}"].sizes
    with torch.device("meta"):
        network = InstructedResampler(projection_shapes("Instruct", context, **sizes), nn)
    assert [layer[0].heads for layer in (*network.layers, *network.prompt_layers, *network.new_input_layers)] == [
        heads
    ] * 12
    assert (network.tokens, network.context, network.widths, network.text_width) == (16, context, (1280,), 768)
