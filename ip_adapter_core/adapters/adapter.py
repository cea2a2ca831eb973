"""An adapter: an image projection, for every cross-attention to_k_ip and to_v_ip, and for some a LoRA."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor, nn

from ..files.tensor_file import Shape
from ..layers.layout import Geometry
from .checkpoint import Parts
from .identity import Identity
from .keys_values import KeysValues
from .lora import AdapterLora
from .projections import LayerClasses
from .resolution import NOTHING, Evidence, decide
from .variants import candidates

_KEY = "to_k_ip.weight"


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
        layers = {str(n): KeyValueLayers(inner, nn_, self.variant.bias) for n, inner in shapes.layers.items()}
        self.ip_adapter = nn.ModuleDict(layers)

    def forward(self, *features: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer from features, a row for each image: training calls this."""
        return self.keys_values(self.tokens(*features))

    def tokens(self, *features: Tensor, **scales: float) -> Tensor:
        """Tokens from the features that the variant reads: (images, …) each -> (images, tokens, context)."""
        return self.image_proj(*features, **scales)

    def keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer, in adapter order: (…, tokens, context) -> (…, tokens, inner)."""
        return tuple(layer(tokens) for layer in self.layers())

    def layers(self) -> list[KeyValueLayers]:
        """to_k_ip and to_v_ip of each cross-attention, in adapter order."""
        return [layer for layer in self.ip_adapter.values() if isinstance(layer, KeyValueLayers)]

    def identity(self) -> Identity:
        """What this adapter is."""
        layers, projection = self.layers(), self.image_proj
        geometry = Geometry(layers[0].context, tuple(layer.width for layer in layers))
        has_lora = self.lora is not None
        return Identity(self.variant, geometry, projection.tokens, projection.widths, has_lora, self.rule)

    def digest(self) -> str:
        """The sha256 of the first and the last layer's weights: files with the same weights have the same digest."""
        digest = hashlib.sha256()
        for layer in (self.layers()[0], self.layers()[-1]):
            for weight in (layer.to_k_ip.weight, layer.to_v_ip.weight):
                digest.update(weight.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()

    def named_tensors(self) -> dict[str, Tensor]:
        """All its tensors under the names of published files."""
        return {**self.state_dict(), **(self.lora.named_tensors() if self.lora else {})}


class KeyValueLayers(nn.Module):
    """to_k_ip and to_v_ip of one cross-attention."""

    def __init__(self, shapes: Mapping[str, Shape], nn_: LayerClasses, bias: bool = False) -> None:
        super().__init__()
        self.width, self.context = shapes[_KEY]
        self.to_k_ip = nn_.Linear(self.context, self.width, bias=bias)
        self.to_v_ip = nn_.Linear(self.context, self.width, bias=bias)

    def forward(self, tokens: Tensor) -> KeysValues:
        """(…, tokens, context) -> K' and V', (…, tokens, inner)."""
        return KeysValues(self.to_k_ip(tokens), self.to_v_ip(tokens))
