"""Adapters in ComfyUI's memory: loaded when tokens are made, free to go while sampling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import comfy.model_management as memory
import comfy.model_patcher
import comfy.ops
import torch
from torch import Tensor

from ...ip_adapter_core.adapters import loading as core
from ...ip_adapter_core.adapters import saving
from ...ip_adapter_core.adapters.adapter import Adapter
from ...ip_adapter_core.adapters.identity import Identity
from ...ip_adapter_core.adapters.keys_values import KeysValues, TimedKeysValues
from ...ip_adapter_core.adapters.resolution import AUTO
from ...ip_adapter_core.prompts.combine import CONCAT, Gathering
from ...ip_adapter_core.prompts.features import AdapterInputs
from ...ip_adapter_core.prompts.prompt import ImagePrompt, Origin, image_prompt
from ...ip_adapter_core.settings.instruction import Instruction
from . import files

_CHUNK = 16  # images at once: bounds memory for long batches


@dataclass(frozen=True, eq=False)
class LoadedAdapter:
    """An adapter on the IP_ADAPTER socket.

    name: of its file, as users pick it.
    identity: what the file is.
    patcher: holds the network, so that ComfyUI sees, counts and frees its weights.
    """

    name: str
    identity: Identity
    patcher: comfy.model_patcher.ModelPatcher

    def prompt(
        self,
        cond: AdapterInputs,
        uncond: AdapterInputs,
        gathering: Gathering = CONCAT,
        instruction: Instruction | None = None,
        **scales: float,
    ) -> ImagePrompt:
        """The image prompt of what this adapter reads, computed in fp32 on the adapter's device and kept off it.

        cond, uncond: what this adapter reads of the reference and of the negative images; gathering, instruction,
        scales and errors as in `image_prompt`.
        """
        origin = self.origin  # read while the weights are at home
        memory.load_models_gpu([self.patcher])
        prompt = image_prompt(_OnDevice(self), cond, uncond, gathering, instruction, **scales)
        return replace(
            prompt,
            make_keys_values=self.keys_values if prompt.make_keys_values else None,
            remake_keys_values=self.keys_values if prompt.remake_keys_values else None,
            origin=origin,
            timed=self if prompt.timed else None,
        )

    @cached_property
    def origin(self) -> Origin:
        """The name and digest by which prompts refer to this adapter."""
        return Origin(self.name, self.patcher.model.digest())

    def keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        """K' and V' of every layer, as `prompt` computes them."""
        memory.load_models_gpu([self.patcher])
        return _OnDevice(self).keys_values(tokens)

    def keys_values_at(self, tokens: Tensor, images: int, time: float | Tensor) -> tuple[TimedKeysValues, ...]:
        """K' and V' of every layer at a noise level, in fp32 where the tokens are; arguments as in `Adapter`.

        It is called while the model samples, which the host has loaded this adapter beside: nothing is loaded here.
        """
        network: Adapter = self.patcher.model
        return network.keys_values_at(tokens.float(), images, time)


_loaded = files.Shared[LoadedAdapter]()


class _OnDevice:
    """A `Network` that computes on the adapter's device, where it is loaded already.

    Inputs come and results go in chunks, so that long animations need no more memory there than short ones.
    """

    def __init__(self, adapter: LoadedAdapter) -> None:
        self.adapter = adapter
        self.network: Adapter = adapter.patcher.model
        self.lora = self.network.lora

    def identity(self) -> Identity:
        return self.adapter.identity

    def keys_values_at(self, tokens: Tensor, images: int, time: float | Tensor) -> tuple[TimedKeysValues, ...]:
        return self.adapter.keys_values_at(tokens, images, time)

    def tokens(self, *features: Tensor, **beside: float | Tensor) -> Tensor:
        held = {name: self._on(value) if isinstance(value, Tensor) else value for name, value in beside.items()}
        chunks = zip(*(part.split(_CHUNK) for part in features), strict=True)
        return torch.cat([_off(self.network.tokens(*map(self._on, chunk), **held)) for chunk in chunks])

    def keys_values(self, tokens: Tensor) -> tuple[KeysValues, ...]:
        chunks = [self._chunk_keys_values(chunk) for chunk in tokens.split(_CHUNK)]
        return tuple(KeysValues(*map(torch.cat, zip(*pairs, strict=True))) for pairs in zip(*chunks, strict=True))

    def _chunk_keys_values(self, tokens: Tensor) -> list[KeysValues]:
        pairs = self.network.keys_values(self._on(tokens))
        return [KeysValues(_off(pair.keys), _off(pair.values)) for pair in pairs]

    def _on(self, tensor: Tensor) -> Tensor:
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.adapter.patcher.load_device, dtype)


def _off(tensor: Tensor) -> Tensor:
    """A result where ComfyUI wants intermediate results."""
    return tensor.to(memory.intermediate_device())


def load(name: str, choice: str = AUTO) -> LoadedAdapter:
    """The adapter of a file in the `ipadapter` folders; the same object while any graph holds it.

    choice: a row of resolution.CHOICES. Raises UnsupportedCheckpoint, with the file's name, before anything is loaded.
    """
    files.identify(files.ADAPTERS, name, choice)
    key = (*files.fingerprint(files.ADAPTERS, name), choice)
    return _loaded.get(key, lambda: read(name, files.path(files.ADAPTERS, name), choice))


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
