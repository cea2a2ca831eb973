"""How does a model under torch.compile notice that its attention patches have changed?

What the host says: core's compile node drops every guard on transformer_options, so a compiled graph goes on as it was
first traced, whatever attention patches come later (seen on ComfyUI 0.16 to 0.30). But the keyword names of the model's
call are guarded: one that names the structure of the patches makes dynamo trace each structure once.

The name reaches no further than the first graph break, and is guarded only where the network looks at its keywords;
that of SD3.5 does not. Where a graph breaks, where nobody looks, or where nothing can name a patch of another pack,
image prompts run without compilation rather than wrongly, with a warning. Dynamo counts breaks of the whole process:
only those that are counted while a structure is called are of its graph.
"""

from __future__ import annotations

import dis
import inspect
import sys
from typing import Any
from weakref import WeakKeyDictionary

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....ip_adapter_core.attention.grouped import GroupedKV, ImageKV
from ..warn import warn_once
from .compile_marks import Marks, Unmarkable
from .hooks import of_layers
from .layer_options import Options
from .prepared_layers import ImagesByLayer

_COMPILE_KEY = "torch.compile"  # comfy_api.torch_helpers registers its wrapper under this key
_UNTRACEABLE = (
    "torch.compile cannot trace this model in one graph, so image prompts run without it. "
    "Starting ComfyUI with --use-pytorch-cross-attention may help."
)
_NEW_EACH_CALL = (
    "Another pack's attention patch is a new one in each call of the model and would be compiled each time, so image "
    "prompts run without torch.compile."
)

_UNGUARDED = (
    "torch.compile cannot tell in this model which image prompts it has compiled, as ComfyUI's network looks at "
    "nothing that says so; image prompts run without torch.compile."
)

_marks = Marks()
_broken: WeakKeyDictionary[torch.nn.Module, set[str]] = WeakKeyDictionary()
"""The structures whose graphs broke, by compiled network."""


def is_compiled(base: Any, options: Options) -> bool:
    """Whether this call of a BaseModel goes to a compiled network."""
    wrappers = options.get("wrappers", {}).get(WrappersMP.APPLY_MODEL, {})
    return _COMPILE_KEY in wrappers or hasattr(base.diffusion_model, "_orig_mod")


def call_compiled(executor: Any, *args: Any, structure: str, **kwargs: Any) -> Tensor:
    """Call a compiled model so that it gives what the uncompiled one gives: once again, where its graph breaks.

    structure: the name of the patches; calls of equal structure share their graphs. Empty where nothing can name them.
    """
    network = executor.class_obj.diffusion_model
    broken = _broken.setdefault(network, set())
    named = bool(structure) and _looks_at_keywords(network)
    if named and structure not in broken:
        before = _graph_breaks()
        result = executor(*args, **kwargs, **{structure: True})
        if _graph_breaks() == before:
            return result
        broken.add(structure)
        torch._dynamo.reset()  # frames traced with these patches must not serve calls without them, nor other blocks
    warn_once(_UNTRACEABLE if named else _UNGUARDED if structure else _NEW_EACH_CALL)
    with torch.compiler.set_stance("force_eager"):
        return executor(*args, **kwargs)


def structure(options: Options, images: ImagesByLayer) -> str:
    """A keyword name that changes with the structure of the patches, and with nothing else; empty where another
    pack's patch is a new one in each call."""
    try:
        marks = [_marks.mark(patch) for patch in of_layers(images).foreign(options, images)]
    except Unmarkable:
        return ""
    shapes = [(address, [_signature(image) for image in group]) for address, group in images.items()]
    return f"ip_adapter_{hash(str((marks, shapes))) & 0xFFFFFFFFFFFFFFFF:x}"


def _signature(image: ImageKV | GroupedKV) -> tuple[Any, ...]:
    """Everything about an image that a traced graph takes as constant."""
    mode, limit = image.balance[:2] if image.balance else (None, None)
    joint = (*image.joint.norms, image.joint.weight) if isinstance(image, ImageKV) and image.joint else ()
    parts = (*image.kv, image.attn_bias, limit, *joint)
    tensors = [None if part is None else (tuple(part.shape), part.dtype) for part in parts]
    masks = [(grid, len(mask)) for grid, mask in (image.masks or {}).items()]
    how = (image.form, image.groups) if isinstance(image, GroupedKV) else image.method
    return how, mode, tensors, masks


def _looks_at_keywords(network: Any) -> bool:
    """Whether the forward of a network does anything with keywords of any name; dynamo guards no others."""
    forward = getattr(network, "_orig_mod", network).forward
    code = inspect.unwrap(getattr(forward, "__func__", forward)).__code__
    if not code.co_flags & inspect.CO_VARKEYWORDS:
        return False
    arguments = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    return any(step.argval == code.co_varnames[arguments] for step in dis.get_instructions(code))


def _graph_breaks() -> int:
    dynamo = sys.modules.get("torch._dynamo.utils")  # not imported as long as nothing was compiled
    return sum(dynamo.counters["graph_break"].values()) if dynamo else 0
