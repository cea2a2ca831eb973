"""TABLE of models with the adapters that are made for them, a row for each way in which image prompts get into a model.

What holds while a UNet is sampled is asked of every row, by the fixture `adapted`; what a row has no place for, a field
of it says.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

import anima_twins
import sd3_twins
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.layers import architectures
from comfyui_ip_adapter.ip_adapter_core.layers.cross_stream import CROSS
from comfyui_ip_adapter.ip_adapter_core.layers.double_stream import DOUBLE
from comfyui_ip_adapter.ip_adapter_core.layers.joint_stream import JOINT
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from fabricate import adapters
from flux_twins import weakened
from twins import Twins

EMBED, SIGLIP = 40, 1152
Change = Callable[[Any], Any]
"""A MODEL -> a clone of it with a patch of another pack."""
Encode = Callable[..., ImagePrompt]
"""Seeds of images, and how they are gathered, by name -> their prompt."""
Seen = list[Tensor]


class Adapted(NamedTuple):
    """A model and an adapter for it: a row of ADAPTED.

    twins: the fixture that has the model.
    save: the twins, where to, a seed and a number of tokens -> the file of an adapter.
    features: images and a seed -> what an encoder might say of them.
    last: its last layer, as lists of weights name it.
    show: has the network note what it holds right behind that layer: pictures, or tokens after those of the text.
    others: what other packs patch there, by what it is.
    attention: a MODEL and a function of what attention gives -> a MODEL whose attention to the text is that, where
        images are added to it; None where other packs' patches are around the images.
    blocks: the keys of patches in the place of whole blocks, inside which images are added; none where they are not.
    refused: the options that have one value alone.
    has_negative: whether adapters know of a negative image.
    reads_alone: whether images share their softmax with nothing else, so that an image twice is that image.
    wrapped: which wrappers the host calls innermost around its network, so that other packs may patch each call there.
    loader: what a model is called whose blocks another pack has built; empty where any blocks are taken.
    has_stages: whether its layers have the stages and roles of UNets, and maps are made of them.
    """

    twins: str
    save: Callable[[Twins, Path, int, int], Path]
    features: Callable[[int, int], Tensor]
    last: str
    show: Callable[[Any, Seen], Any]
    others: Mapping[str, Change]
    attention: Callable[[Any, Callable[[Tensor], Tensor]], Any] | None = None
    blocks: tuple[tuple[str, int], ...] = ()
    refused: Mapping[str, str] = {}
    has_negative: bool = True
    reads_alone: bool = True
    wrapped: str = "diffusion_model"
    loader: str = ""
    has_stages: bool = False


def encoder(row: Adapted, twins: Twins, folder: Path, seed: int, tokens: int = 4) -> Encode:
    """Prompts of one adapter."""
    network = load(row.save(twins, folder / f"{seed}.safetensors", seed, tokens))

    def encode(*images: int, **gathered: Any) -> ImagePrompt:
        cond = torch.cat([row.features(1, image) for image in images])
        uncond = torch.zeros_like(cond[:1]) if row.has_negative else cond
        return image_prompt(network, (cond,), (uncond,), Gathering(**gathered))

    return encode


def usual(twins: Twins) -> Adapted:
    """The row of the adapters that a model's first layers are of."""
    stage = architectures.layers(twins.patcher.model.model_config.unet_config)[0].stage
    return ADAPTED[{DOUBLE: "XLabs on Flux", JOINT: "InstantX on SD3.5", CROSS: "Anima"}.get(stage, "UNet")]


# Adapters


def _save_base(twins: Twins, file: Path, seed: int, tokens: int, bias: bool = False) -> Path:
    widths = tuple(layer.width for layer in architectures.layers(twins.patcher.model.model_config.unet_config))
    nested = adapters.adapter("base", widths, twins.context, EMBED, seed, tokens=tokens, bias=bias)
    return adapters.save(file, nested)


def _save_inner(twins: Twins, file: Path, seed: int, tokens: int) -> Path:
    widths = (twins.construction.comfy["hidden_size"],) * twins.construction.layers
    nested = adapters.adapter("InstantX Flux", widths, twins.context, SIGLIP, seed, tokens=tokens)
    return adapters.save(file.with_suffix(".bin"), adapters.counted(nested))


def _save_sd3(twins: Twins, file: Path, seed: int, tokens: int) -> Path:
    return adapters.save(file, sd3_twins.sd3_adapter(seed, tokens))


def _save_anima(twins: Twins, file: Path, seed: int, tokens: int) -> Path:
    save_file(adapters.as_anima(adapters.flat(anima_twins.anima_adapter(seed, tokens))), file)
    return file


def _save_outer(twins: Twins, file: Path, seed: int, tokens: int) -> Path:
    save_file(adapters.as_lucifer(adapters.flat(anima_twins.outer_adapter(seed))), file)
    return file


def embeds(images: int = 1, seed: int = 5, width: int = EMBED) -> Tensor:
    """What an encoder might say of pictures."""
    return torch.randn(images, width, generator=torch.Generator().manual_seed(seed))


# What a network holds behind its last layer


def _after(part: Callable[[Any], Any]) -> Callable[[Any, Seen], Any]:
    """What a part of the network gives."""
    return lambda network, seen: part(network).register_forward_hook(lambda module, given, found: seen.append(found))


def _before(part: Callable[[Any], Any]) -> Callable[[Any, Seen], Any]:
    """What a part of the network is given, and may change."""

    def show(network: Any, seen: Seen) -> Any:
        return part(network).register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))

    return show


# Other packs


def halved(model: Any, *address: Any) -> Any:
    """Another pack's patch: text values count half in this block of a UNet."""
    from comfy.ldm.modules.attention import optimized_attention

    clone = model.clone()
    clone.set_model_attn2_replace(lambda q, k, v, extra: optimized_attention(q, k, v * 0.5, extra["n_heads"]), *address)
    return clone


def patched(key: str, patch: Callable[..., Any]) -> Change:
    """A patch of the input or output of attention."""

    def change(model: Any) -> Any:
        clone = model.clone()
        clone.set_model_patch(patch, key)
        return clone

    return change


def replaced(model: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Another attention in the middle block of a UNet."""
    from comfy.ldm.modules.attention import optimized_attention

    clone = model.clone()
    clone.set_model_attn2_replace(
        lambda q, k, v, extra: change(optimized_attention(q, k, v, extra["n_heads"])), "middle", 0
    )
    return clone


def overridden(model: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """An override of all attention."""
    clone = model.clone()
    options = clone.model_options["transformer_options"]
    options["optimized_attention_override"] = lambda attend, *given, **how: change(attend(*given, **how))
    return clone


def without_blocks(row: Adapted) -> Change:
    """Patches that leave all these blocks out."""

    def change(model: Any) -> Any:
        clone = model.clone()
        for key in row.blocks:
            clone.set_model_patch_replace(lambda args, extra: args, "dit", *key)
        return clone

    return change


def in_each_call(change: Change, wrapped: str) -> Change:
    """The same patches, which a wrapper of this kind adds to the options of each call."""

    def changed(model: Any) -> Any:
        theirs, name = change(model).model_options["transformer_options"], "transformer_options"

        def wrapper(executor: Any, *given: Any, **more: Any) -> Any:
            if name in more:
                return executor(*given, **{**more, name: _joined(more[name], theirs)})
            return executor(*given[:-1], _joined(given[-1], theirs), **more)

        clone = model.clone()
        clone.add_wrapper_with_key(wrapped, "another pack", wrapper)
        return clone

    return changed


def _joined(options: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(options)
    for key in theirs.keys() & {"patches", "patches_replace", "optimized_attention_override"}:
        joined[key] = _added(options.get(key), theirs[key])
    return joined


def _added(ours: Any, theirs: Any) -> Any:
    if ours is None or callable(theirs):
        return theirs
    if isinstance(theirs, list):
        return [*ours, *theirs]
    return {**ours, **{key: _added(ours.get(key), value) for key, value in theirs.items()}}


def _turned(q: Tensor, k: Tensor, v: Tensor, **more: Any) -> dict[str, Tensor]:
    return {"q": -q}


def _half(attended: Tensor, *more: Any) -> Tensor:
    return 0.5 * attended


def _half_values(q: Tensor, k: Tensor, v: Tensor, **more: Any) -> dict[str, Tensor]:
    return {"v": 0.5 * v}


# The table

_UNET: dict[str, Change] = {
    "a block": lambda model: halved(model, "middle", 0),
    "a layer": lambda model: halved(model, "middle", 0, 0),
}
_FLUX: dict[str, Change] = {
    "a double block": lambda model: weakened(model, 1),
    "the queries": patched("attn1_patch", _turned),
}
_INNER: dict[str, Change] = {
    **_FLUX,
    "a single block": lambda model: weakened(model, 1, "single_block"),
    "after attention": patched("attn1_output_patch", _half),
}
_SD3: dict[str, Change] = {
    "a block": lambda model: weakened(model, 1),
    "all attention": lambda model: overridden(model, _half),
}
_ANIMA: dict[str, Change] = {
    "all attention": lambda model: overridden(model, _half),
    "the text": patched("attn2_patch", _half_values),
}


def _blocks(kind: str, count: int) -> Iterable[tuple[str, int]]:
    return ((kind, number) for number in range(count))


ADAPTED: dict[str, Adapted] = {
    "UNet": Adapted(
        "small",
        _save_base,
        embeds,
        "output.2",
        _after(lambda network: network.output_blocks[2][1]),
        _UNET,
        attention=replaced,
        has_stages=True,
    ),
    "XLabs on Flux": Adapted(
        "flux",
        partial(_save_base, bias=True),
        embeds,
        "double.2",
        _before(lambda network: network.single_blocks[0]),
        _FLUX,
        blocks=tuple(_blocks("double_block", 3)),
        refused={"balance": "off"},
        loader="Flux",
    ),
    "InstantX on Flux": Adapted(
        "wide",
        _save_inner,
        partial(embeds, width=SIGLIP),
        "single.2",
        _after(lambda network: network),
        _INNER,
        blocks=(*_blocks("double_block", 2), *_blocks("single_block", 3)),
        refused={"balance": "off"},
        loader="Flux",
    ),
    "InstantX on SD3.5": Adapted(
        "sd3",
        _save_sd3,
        sd3_twins.hidden,
        "joint.2",
        _after(lambda network: network),
        _SD3,
        attention=overridden,
        blocks=tuple(_blocks("double_block", 3)),
        refused={"balance": "off", "scaling": "V only"},
        reads_alone=False,
        wrapped="apply_model",
        loader="SD3.5",
    ),
    "Anima": Adapted(
        "anima",
        _save_anima,
        anima_twins.hidden,
        "cross.2",
        _after(lambda network: network),
        _ANIMA,
        attention=overridden,
        has_negative=False,
        loader="Anima",
    ),
    "SigLIP2 on Anima": Adapted(
        "anima",
        _save_outer,
        anima_twins.states,
        "cross.2",
        _after(lambda network: network),
        _ANIMA,
        refused={"balance": "off"},
        has_negative=False,
        loader="Anima",
    ),
}


def having(says: Callable[[Adapted], object]) -> list[str]:
    """The rows that have something."""
    return [name for name, row in ADAPTED.items() if says(row)]
