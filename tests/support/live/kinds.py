"""Which of the fabricated kinds of adapter act in live graphs, by what they read."""

from comfyui_ip_adapter.ip_adapter_core.adapters.variants import ENCODED, KOLORS, VARIANTS
from fabricate.adapters import KINDS

_ROWS = {variant.name: variant for variant in VARIANTS}
_OWN_PARTS = {kind for kind in KINDS if _ROWS[kind].family == KOLORS} | {"InstantX Flux", "Anima SigLIP2"}
"""They need Kolors' model and its projection of texts, Anima, or an encoder as wide as SigLIP: the template `kolors`
runs one, tests/host the others."""

OF_PICTURES = [kind for kind in KINDS if kind not in _OWN_PARTS and _ROWS[kind].reads[0] in ENCODED]
OF_PULID = [kind for kind in KINDS if _ROWS[kind].method]
TOLD = [kind for kind in OF_PICTURES if _ROWS[kind].instructed]
OF_FACES = [kind for kind in KINDS if kind not in _OWN_PARTS and kind not in OF_PICTURES]

TOWER, POOLING_TOWER = "tower.safetensors", "tower_pooling.safetensors"
TOWERS = {kind: POOLING_TOWER if _ROWS[kind].reads == ("normed_hidden",) else TOWER for kind in OF_PICTURES}
"""The fabricated encoder that each reads."""
