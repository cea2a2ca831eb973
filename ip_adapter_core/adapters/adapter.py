"""An adapter: an image projection, for every cross-attention to_k_ip and to_v_ip, and for some a LoRA."""

from __future__ import annotations

import hashlib

from einops import rearrange
from torch import Tensor, nn

from ..files.tensor_file import Shape
from ..layers.layout import Geometry
from .checkpoint import Parts
from .identity import Identity
from .key_value_layers import FadedKeyValueLayers, KeyValueLayers, TimedKeyValueLayers
from .keys_values import KeysValues, TimedKeysValues
from .lora import AdapterLora
from .projections import LayerClasses
from .resolution import NOTHING, Evidence, decide
from .stored_layers import stored_weights
from .variants import candidates

_TIMED = (TimedKeyValueLayers, FadedKeyValueLayers)


class Adapter(nn.Module):
    """The network of one adapter file; the shapes in the file decide its sizes.

    variant, rule: the kind of adapter, and what decided it.
    image_proj: features -> tokens.
    ip_adapter: tokens -> K' and V' of every layer.
    lora: changes to the model's own weights that the file contains; they are no part of the network.
    """

    def __init__(self, shapes: Parts[Shape], nn_: LayerClasses, evidence: Evidence = NOTHING) -> None:
        super().__init__()
        self.variant, self.rule = decide(candidates(shapes), evidence)
        self.lora: AdapterLora | None = None
        self.image_proj = self.variant.network(shapes.projection, nn_)
        layers = {str(n): self.variant.layer(inner, nn_) for n, inner in shapes.layers.items()}
        self.ip_adapter = nn.ModuleDict(layers)

    def forward(self, *features: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer from features, a row for each image: training calls this."""
        return self.keys_values(self.tokens(*features))

    def tokens(self, *features: Tensor, **beside: float | Tensor) -> Tensor:
        """Tokens from the features that the variant reads: (images, …) each -> (images, tokens, context).

        beside: the numbers, or the states of texts, that its network takes beside.
        """
        return self.image_proj(*features, **beside)

    def keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer, in adapter order: (…, tokens, context) -> (…, tokens, inner)."""
        return tuple(layer(tokens) for layer in self.layers())

    def keys_values_at(self, tokens: Tensor, images: int, time: float | Tensor) -> tuple[TimedKeysValues, ...]:
        """K' and V' of every layer at a noise level, of a kind that is timed.

        tokens: of so many images side by side, (rows, images · patches, width). time: 0..1000, or where the kind reads
        it as the model has it, the model's embedding of it, (1, time).
        """
        each = rearrange(tokens, "r (i p) w -> (r i) p w", i=images)
        embedded: Tensor = (
            time if isinstance(time, Tensor) else self.image_proj.time_embedding(tokens.new_tensor([time]))
        )
        made = rearrange(self.image_proj.at(each, embedded), "(r i) t c -> r (i t) c", i=images)
        return tuple(layer.at(made, embedded) for layer in self.layers() if isinstance(layer, _TIMED))

    @property
    def token_width(self) -> int:
        """Of the tokens that prompts keep."""
        width: int = self.image_proj.width if self.variant.timed else self.image_proj.context
        return width

    def layers(self) -> list[KeyValueLayers]:
        """to_k_ip and to_v_ip of each cross-attention, in adapter order."""
        return [layer for layer in self.ip_adapter.values() if isinstance(layer, KeyValueLayers)]

    def identity(self) -> Identity:
        """What this adapter is."""
        layers, projection = self.layers(), self.image_proj
        geometry = Geometry(layers[0].context, tuple(layer.width for layer in layers))
        has_lora, text_width = self.lora is not None, projection.text_width if self.variant.instructed else None
        return Identity(self.variant, geometry, projection.tokens, projection.widths, has_lora, self.rule, text_width)

    def digest(self) -> str:
        """The sha256 of the first and the last layer's weights: files with the same weights have the same digest."""
        digest = hashlib.sha256()
        for layer in (self.layers()[0], self.layers()[-1]):
            for weight in (layer.to_k_ip.weight, layer.to_v_ip.weight):
                digest.update(weight.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()

    def named_tensors(self) -> dict[str, Tensor]:
        """All its tensors under the names of published files."""
        return {**self.state_dict(), **stored_weights(self), **(self.lora.named_tensors() if self.lora else {})}
