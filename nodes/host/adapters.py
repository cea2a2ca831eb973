"""Adapters in ComfyUI's memory: loaded when tokens are made, free to go while sampling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakValueDictionary

import comfy.model_management as memory
import comfy.model_patcher
import comfy.ops
import torch
from torch import Tensor

from ...ip_adapter_core import adapter as core
from ...ip_adapter_core import saving
from ...ip_adapter_core.adapter import Adapter, Identity, KeysValues
from ...ip_adapter_core.prompt import ImagePrompt, Reading, image_prompt
from ...ip_adapter_core.resolution import AUTO
from . import files

_loaded: WeakValueDictionary[files.Fingerprint, LoadedAdapter] = WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class LoadedAdapter:
    """An adapter on the IP_ADAPTER socket; `patcher` lets ComfyUI see, count and free its weights."""

    name: str
    identity: Identity
    patcher: comfy.model_patcher.ModelPatcher

    def prompt(self, cond: Reading, uncond: Reading, **scales: float) -> ImagePrompt:
        """Tokens, keys and values of features, computed in fp32 on the adapter's device and kept off it.

        cond, uncond: what this adapter reads of the reference and of the negative images; scales: of its variant.
        """
        network = self._on_device()
        made = image_prompt(network, self._moved(cond), self._moved(uncond), **scales).to(memory.intermediate_device())
        return replace(made, project=self.keys_values) if made.project else made

    def keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer, as `prompt` computes them."""
        made = self._on_device().keys_values(*self._moved((tokens,)))
        return tuple(KeysValues(*(part.to(memory.intermediate_device()) for part in pair)) for pair in made)

    def _on_device(self) -> Adapter:
        memory.load_models_gpu([self.patcher])
        return self.patcher.model

    def _moved(self, features: Reading) -> Reading:
        return tuple(part.to(self.patcher.load_device, torch.float32) for part in features)


def load(name: str, choice: str = AUTO) -> LoadedAdapter:
    """The adapter of a file in the `ipadapter` folders; the same object while any graph holds it.

    choice: a row of resolution.CHOICES. Raises UnsupportedCheckpoint, with the file's name, before anything is loaded.
    """
    files.identify(files.ADAPTERS, name, choice)
    key = (*files.fingerprint(files.ADAPTERS, name), choice)
    if (known := _loaded.get(key)) is None:
        known = _loaded[key] = read(name, files.path(files.ADAPTERS, name), choice)
    return known


def read(name: str, file: str | Path, choice: str = AUTO) -> LoadedAdapter:
    """The adapter of a file that may lie anywhere; choice as in `load`. Raises UnsupportedCheckpoint."""
    network = core.load(file, comfy.ops.manual_cast, choice)
    patcher = comfy.model_patcher.CoreModelPatcher(
        network, load_device=memory.get_torch_device(), offload_device=memory.unet_offload_device()
    )
    return LoadedAdapter(name, network.identity(), patcher)


def save(adapter: LoadedAdapter, prefix: str, dtype: str) -> str:
    """Write an adapter to a new file of the first `ipadapter` folder, and return its name there.

    Raises ValueError for a prefix that is no name in that folder.
    """
    folder = Path(files.folders(files.ADAPTERS)[0])
    path = saving.free_path(folder, prefix)
    saving.save(adapter.patcher.model, path, dtype)
    return path.relative_to(folder.resolve()).as_posix()
