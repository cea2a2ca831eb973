"""A random checkpoint of a small SD3.5 that stock ComfyUI loads: the model, a T5 and its autoencoder in one file.

The host reads the model's sizes from the file, and takes as many joint blocks as heads for granted. It builds T5 in one
size only, unless support/packs/tinytexts tells it that of the file. Of the two CLIPs of the published file there is
none, as the host makes what they say 4096 wide.
"""

from pathlib import Path

from fabricate.checkpoints import autoencoder, save
from fabricate.flux import t5_shapes
from fabricate.unet import Shapes, linear
from fabricate.weights import random_weights

HEAD, PATCH, TIME, POOLED = 64, 2, 256, 2048  # what the host takes for granted; POOLED: of both CLIPs together
HEADS, LATENTS, SIDE, TEXT = 3, 16, 32, 48  # SIDE: the most patches along a side; TEXT: width of T5's tokens
WIDTH = HEADS * HEAD


def tiny_sd3(path: Path, seed: int = 0) -> Path:
    """The whole checkpoint."""
    weights = random_weights(sd3_shapes(), seed, "model.diffusion_model.")
    weights["model.diffusion_model.final_layer.linear.weight"] *= 4  # for pictures of more than a few levels
    t5 = t5_shapes(TEXT, layers=2, heads=2, feed=96)
    weights |= random_weights(t5, seed + 1, "text_encoders.t5xxl.transformer.")
    return save(path, weights | autoencoder(seed + 2, "first_stage_model.", LATENTS))


def sd3_shapes() -> Shapes:
    """Every key of the model, with the norms of queries and keys that SD3.5 has."""
    shapes: Shapes = {
        "pos_embed": (1, SIDE * SIDE, WIDTH),
        "x_embedder.proj.weight": (WIDTH, LATENTS, PATCH, PATCH),
        "x_embedder.proj.bias": (WIDTH,),
    }
    shapes |= linear("context_embedder", TEXT, WIDTH)
    for name, inner in (("t_embedder", TIME), ("y_embedder", POOLED)):
        shapes |= linear(f"{name}.mlp.0", inner, WIDTH) | linear(f"{name}.mlp.2", WIDTH, WIDTH)
    for block in range(HEADS):
        shapes |= _stream(f"joint_blocks.{block}.x_block")
        shapes |= _stream(f"joint_blocks.{block}.context_block", last=block == HEADS - 1)
    shapes |= linear("final_layer.linear", WIDTH, LATENTS * PATCH**2)
    return shapes | linear("final_layer.adaLN_modulation.1", WIDTH, 2 * WIDTH)


def _stream(name: str, last: bool = False) -> Shapes:
    """One of the two streams of a block; the text's has nothing behind its keys and values in the last one."""
    shapes = linear(f"{name}.attn.qkv", WIDTH, 3 * WIDTH)
    shapes |= {f"{name}.attn.ln_{part}.weight": (HEAD,) for part in "qk"}
    shapes |= linear(f"{name}.adaLN_modulation.1", WIDTH, (2 if last else 6) * WIDTH)
    if last:
        return shapes
    shapes |= linear(f"{name}.attn.proj", WIDTH, WIDTH)
    return shapes | linear(f"{name}.mlp.fc1", WIDTH, 4 * WIDTH) | linear(f"{name}.mlp.fc2", 4 * WIDTH, WIDTH)
