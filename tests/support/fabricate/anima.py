"""Random files of a small Anima that stock ComfyUI loads: the model, its text encoder, its autoencoder.

The host builds all but the autoencoder in one size only, unless support/packs/tinyanima tells it those of the files.
"""

from pathlib import Path

from fabricate.checkpoints import save
from fabricate.flux import T5_VOCABULARY
from fabricate.unet import Shapes, conv, linear
from fabricate.weights import random_weights

LATENTS, PATCH, LORA = 16, 4, 16  # PATCH: pixels of latents in a token; LORA: rank of the modulation
HEAD, WIDTH, TEXT, BLOCKS = 64, 128, 64, 3  # TEXT: width of the text encoder's tokens and of the model's
QWEN_VOCABULARY, QWEN_HEAD = 151936, 128  # what the host takes for granted
TAE = 64  # width of the autoencoder


def tiny_anima(path: Path, seed: int = 0) -> Path:
    """The diffusion model, with the small network that reads the text encoder's tokens."""
    weights = random_weights(anima_shapes(), seed)
    weights["final_layer.linear.weight"] *= 8  # for pictures of more than a few levels
    return save(path, weights)


def tiny_qwen(path: Path, seed: int = 1) -> Path:
    """The text encoder, of two layers."""
    return save(path, random_weights(qwen_shapes(), seed))


def tiny_taehv(path: Path, seed: int = 2) -> Path:
    """An autoencoder of pictures with an axis for time, whose pictures are mid-grey instead of mostly black."""
    weights = random_weights(taehv_encoder() | taehv_decoder(), seed)
    weights["decoder.22.bias"] += 0.5
    return save(path, weights)


def anima_shapes() -> Shapes:
    """Every key of the model."""
    shapes: Shapes = {
        "x_embedder.proj.1.weight": (WIDTH, (LATENTS + 1) * PATCH),
        "t_embedder.1.linear_1.weight": (WIDTH, WIDTH),
        "t_embedder.1.linear_2.weight": (3 * WIDTH, WIDTH),
        "t_embedding_norm.weight": (WIDTH,),
        "final_layer.linear.weight": (LATENTS * PATCH, WIDTH),
    }
    shapes |= _modulation("final_layer.adaln_modulation", 2)
    for block in range(BLOCKS):
        name = f"blocks.{block}"
        shapes |= _attention(f"{name}.self_attn", WIDTH, WIDTH, "output_proj")
        shapes |= _attention(f"{name}.cross_attn", WIDTH, TEXT, "output_proj")
        shapes |= {f"{name}.mlp.layer1.weight": (4 * WIDTH, WIDTH), f"{name}.mlp.layer2.weight": (WIDTH, 4 * WIDTH)}
        for part in ("self_attn", "cross_attn", "mlp"):
            shapes |= _modulation(f"{name}.adaln_modulation_{part}", 3)
    return shapes | _reader("llm_adapter")


def _modulation(name: str, parts: int) -> Shapes:
    return {f"{name}.1.weight": (LORA, WIDTH), f"{name}.2.weight": (parts * WIDTH, LORA)}


def _attention(name: str, width: int, context: int, out: str) -> Shapes:
    shapes: Shapes = {f"{name}.q_proj.weight": (width, width), f"{name}.{out}.weight": (width, width)}
    shapes |= {f"{name}.{part}_proj.weight": (width, context) for part in "kv"}
    return shapes | {f"{name}.{part}_norm.weight": (HEAD,) for part in "qk"}


def _reader(name: str) -> Shapes:
    """Of one block, as wide as the text."""
    block = f"{name}.blocks.0"
    shapes: Shapes = {f"{name}.embed.weight": (T5_VOCABULARY, TEXT), f"{name}.norm.weight": (TEXT,)}
    for part in ("self_attn", "cross_attn"):
        shapes |= _attention(f"{block}.{part}", TEXT, TEXT, "o_proj")
    shapes |= {f"{block}.norm_{part}.weight": (TEXT,) for part in ("self_attn", "cross_attn", "mlp")}
    shapes |= linear(f"{block}.mlp.0", TEXT, 4 * TEXT) | linear(f"{block}.mlp.2", 4 * TEXT, TEXT)
    return shapes | linear(f"{name}.out_proj", TEXT, TEXT)


def qwen_shapes(layers: int = 2) -> Shapes:
    """Every key of Qwen3, with one head."""
    shapes: Shapes = {"model.embed_tokens.weight": (QWEN_VOCABULARY, TEXT), "model.norm.weight": (TEXT,)}
    for layer in range(layers):
        name = f"model.layers.{layer}"
        shapes |= {f"{name}.self_attn.{part}_proj.weight": (QWEN_HEAD, TEXT) for part in "qkv"}
        shapes |= {f"{name}.self_attn.{part}_norm.weight": (QWEN_HEAD,) for part in "qk"}
        shapes |= {f"{name}.self_attn.o_proj.weight": (TEXT, QWEN_HEAD)}
        shapes |= {f"{name}.mlp.{part}_proj.weight": (2 * TEXT, TEXT) for part in ("gate", "up")}
        shapes |= {f"{name}.mlp.down_proj.weight": (TEXT, 2 * TEXT)}
        shapes |= {f"{name}.{part}_layernorm.weight": (TEXT,) for part in ("input", "post_attention")}
    return shapes


def taehv_encoder() -> Shapes:
    """Pictures to latents; the place of each layer in the network is its number."""
    shapes = conv("encoder.0", 3, TAE) | conv("encoder.17", TAE, LATENTS)
    for pool, frames in ((2, 2), (7, 2), (12, 1)):
        shapes |= {f"encoder.{pool}.conv.weight": (TAE, frames * TAE, 1, 1)}
        shapes |= {f"encoder.{pool + 1}.weight": (TAE, TAE, 3, 3)}
        for place in range(pool + 2, pool + 5):
            shapes |= _remembering(f"encoder.{place}", TAE)
    return shapes


def taehv_decoder() -> Shapes:
    """Latents to pictures, narrower from step to step."""
    shapes = conv("decoder.1", LATENTS, 4 * TAE) | conv("decoder.22", TAE, 3)
    for first, frames, width, narrower in ((3, 1, 4 * TAE, 2 * TAE), (9, 2, 2 * TAE, TAE), (15, 2, TAE, TAE)):
        for place in range(first, first + 3):
            shapes |= _remembering(f"decoder.{place}", width)
        shapes |= {f"decoder.{first + 4}.conv.weight": (frames * width, width, 1, 1)}
        shapes |= {f"decoder.{first + 5}.weight": (narrower, width, 3, 3)}
    return shapes


def _remembering(name: str, width: int) -> Shapes:
    """Three convolutions, the first of which reads the frame before too."""
    first = conv(f"{name}.conv.0", 2 * width, width)
    return first | conv(f"{name}.conv.2", width, width) | conv(f"{name}.conv.4", width, width)
