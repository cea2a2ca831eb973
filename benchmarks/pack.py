"""Another pack's IP-Adapter nodes, run as they are documented: `PEER=path make bench`.

IPAdapter Plus names them: IPAdapterModelLoader (ipadapter_file -> IPADAPTER) and IPAdapterEmbeds (model, ipadapter,
pos_embed, neg_embed, weight, … -> MODEL). Packs with the same ids work as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy.model_patcher import ModelPatcher

from fabricate.adapters import adapter as nested
from fabricate.adapters import save

from ..nodes.host import models
from .adapters import RandomAdapter
from .cases import Apply
from .settings import peer
from .unets import context

LOADER, APPLY = "IPAdapterModelLoader", "IPAdapterEmbeds"

_FOLDER = "ipadapter"
_SETTINGS = {"weight": 1.0, "weight_type": "linear", "start_at": 0.0, "end_at": 1.0, "embeds_scaling": "V only"}

# How a file of so many tokens is made, and what its images are encoded as: (…, embed) of one image.
_KINDS: dict[int, tuple[dict[str, Any], tuple[int, ...]]] = {
    4: ({"kind": "base", "embed": 1024}, (1024,)),
    16: ({"kind": "plus", "embed": 1280, "tokens": 16, "width": 768}, (257, 1280)),
}


def named() -> dict[str, Apply]:
    """How the pack that PEER names applies adapters, by its name; nothing where none is named.

    Raises ValueError, saying why, when it cannot be run.
    """
    place = peer()
    return {} if place is None else {place.name: loaded(place)}


def loaded(place: Path) -> Apply:
    """How the pack in a folder applies adapters. Raises ValueError, saying why, when it cannot be run."""
    loader, apply = nodes(place)

    def applied(model: ModelPatcher, adapters: Sequence[RandomAdapter]) -> ModelPatcher:
        for seed, adapter in enumerate(adapters):
            model = _run(apply, model=model, **_SETTINGS, **_inputs(loader, model, adapter.tokens.shape[1], seed))
        return model

    return applied


def nodes(place: Path) -> tuple[type, type]:
    """Its loader and the node that applies embeddings. Raises ValueError when it has none or does not load."""
    if not (place / "__init__.py").is_file():
        raise ValueError(f"PEER={place.name} is no custom node: it has no __init__.py.")
    import nodes as host

    # In a thread of its own: where a browser was driven, this one's event loop goes on running.
    with ThreadPoolExecutor(1) as apart:
        known = apart.submit(lambda: asyncio.run(host.load_custom_node(str(place)))).result()
    if not known:
        raise ValueError(f"ComfyUI cannot load {place.name}; its log above says why.")
    missing = [name for name in (LOADER, APPLY) if name not in host.NODE_CLASS_MAPPINGS]
    if missing:
        raise ValueError(f"{place.name} has no node {' and no '.join(missing)}, so nothing can be applied with it.")
    return host.NODE_CLASS_MAPPINGS[LOADER], host.NODE_CLASS_MAPPINGS[APPLY]


def _inputs(loader: type, model: ModelPatcher, tokens: int, seed: int) -> dict[str, Any]:
    """An adapter of random weights as its loader reads it, and embeddings of one image."""
    made, embedding = _KINDS[tokens]
    widths = tuple(layer.width for layer in models.layers(model))
    file = f"bench_{tokens}_{seed}.safetensors"
    folder = Path(folder_paths.get_folder_paths(_FOLDER)[0])
    save(folder / file, nested(widths=widths, context=context(model), seed=seed, **made), torch.float16)
    embeds = torch.randn(1, *embedding, generator=torch.Generator().manual_seed(seed))
    read = _run(loader, ipadapter_file=file)
    return {"ipadapter": read, "pos_embed": embeds, "neg_embed": torch.zeros_like(embeds)}


def _run(node: Any, **inputs: Any) -> Any:
    """The first output of a node. Raises ValueError when it does not run with these inputs."""
    try:
        return getattr(node(), node.FUNCTION)(**inputs)[0]
    except Exception as error:  # whatever another pack raises
        raise ValueError(f"{node.__name__} does not run with its documented inputs: {error!r}") from error
