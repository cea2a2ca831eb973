"""Keys and shapes of the two small networks beside the UNet: the CLIP text encoder and the TAESD autoencoder."""

from fabricate.unet import Shapes, conv, linear, norm

VOCABULARY, POSITIONS = 49408, 77


def text_shapes(width: int, layers: int, inner: int) -> Shapes:
    """A CLIP text encoder of `layers` layers; `inner` is the width inside its feed-forward."""
    shapes: Shapes = {
        "text_model.embeddings.token_embedding.weight": (VOCABULARY, width),
        "text_model.embeddings.position_embedding.weight": (POSITIONS, width),
    }
    for layer in range(layers):
        name = f"text_model.encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"{name}.self_attn.{part}", width, width)
        shapes |= norm(f"{name}.layer_norm1", width) | norm(f"{name}.layer_norm2", width)
        shapes |= linear(f"{name}.mlp.fc1", width, inner) | linear(f"{name}.mlp.fc2", inner, width)
    return shapes | norm("text_model.final_layer_norm", width)


def taesd_shapes(latents: int = 4, width: int = 64) -> Shapes:
    """The TAESD autoencoder: three steps down, three steps up, three residual blocks before each."""
    shapes: Shapes = {"vae_scale": (), "vae_shift": ()}
    return shapes | taesd_encoder("taesd_encoder", latents, width) | taesd_decoder("taesd_decoder", latents, width)


def taesd_encoder(name: str, latents: int, width: int) -> Shapes:
    """Pictures to latents; the place of each layer in the network is its number."""
    shapes = conv(f"{name}.0", 3, width) | residual(f"{name}.1", width)
    for first in (2, 6, 10):
        shapes |= resize(f"{name}.{first}", width)
        for place in range(first + 1, first + 4):
            shapes |= residual(f"{name}.{place}", width)
    return shapes | conv(f"{name}.14", width, latents)


def taesd_decoder(name: str, latents: int, width: int) -> Shapes:
    """Latents to pictures; layers without weights (clamp, activation, upsampling) leave gaps in the numbers."""
    shapes = conv(f"{name}.1", latents, width)
    for first in (3, 8, 13):
        for place in range(first, first + 3):
            shapes |= residual(f"{name}.{place}", width)
        shapes |= resize(f"{name}.{first + 4}", width)
    return shapes | residual(f"{name}.18", width) | conv(f"{name}.19", width, 3)


def residual(name: str, width: int) -> Shapes:
    """Three convolutions around which the input is added."""
    return (
        conv(f"{name}.conv.0", width, width)
        | conv(f"{name}.conv.2", width, width)
        | conv(f"{name}.conv.4", width, width)
    )


def resize(name: str, width: int) -> Shapes:
    """A convolution without a bias, at a change of resolution."""
    return {f"{name}.weight": (width, width, 3, 3)}
