"""A CUDA device whose tensors have numbers, for sampling and encoding: it notes what waits for the device.

Tensors say that they are on the device, and their numbers lie on the processor, so that the host's samplers run as they
are and results can be compared. As on a card, tensors of two devices in one operation are an error. What makes the
processor wait is noted: a value read, a tensor copied back, a size that depends on values. What CUDA's kernels round or
cost it cannot show. It is for inference. `cuda_in_main_memory` shares the memory of a tensor with others, and
`cuda_without_numbers` follows the gradients of a training.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from package import ROOT

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
_OURS = tuple(str(ROOT / folder) for folder in ("nodes", "ip_adapter_core"))
_NOBODYS = (str(Path(torch.__file__).parent), __file__, "<")  # frames that act for whoever called them
_ATEN = torch.ops.aten
_MOVES = (_ATEN.copy_.default, _ATEN._to_copy.default)
# What makes the processor wait: a value, or a size that depends on values.
_WAITS = (
    _ATEN._local_scalar_dense.default,
    _ATEN.equal.default,
    _ATEN.nonzero.default,
    _ATEN.masked_select.default,
    _ATEN.unique_dim.default,
    _ATEN._unique2.default,
    _ATEN.repeat_interleave.Tensor,
)
_NAMED = {"cpu": CPU, "cuda": CUDA}
_waits: list[str] = []


class OnCuda(Tensor):
    """A tensor that says it is on the device; held: the same on the processor."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCuda:
        made: OnCuda = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=CUDA
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, given: Sequence[Any] = (), more: dict[str, Any] | None = None
    ) -> Any:
        """Outside of a device, as where a test looks at a result."""
        return _dispatched(function, given, more or {})

    def __repr__(self, **more: Any) -> str:  # type: ignore[override]
        return f"OnCuda({self.held!r})"


class Driver(TorchFunctionMode):
    """Answers what asks CUDA's driver before any dispatch does; and torch's attention as a whole, as its parts would be
    those of a device that this torch may not know."""

    def __torch_function__(
        self, function: Any, types: Any, given: Sequence[Any] = (), more: dict[str, Any] | None = None
    ) -> Any:
        answer = _ANSWERS.get(getattr(function, "__name__", ""), _asked)
        return answer(function, given, more or {})


class Device(TorchDispatchMode):
    """The device while it is there. waits: functions of this package that made the processor wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = _waits
        self.waits.clear()

    def __torch_dispatch__(
        self, function: Any, types: Any, given: Sequence[Any] = (), more: dict[str, Any] | None = None
    ) -> Any:
        return _dispatched(function, given, more or {})


@contextmanager
def fake_cuda(patch: pytest.MonkeyPatch) -> Iterator[Device]:
    """A ComfyUI whose device it is, with all the memory in the world, and torch's own attention."""
    import comfy.model_management as memory
    from comfy.ldm.modules import attention

    plenty = 1 << 40
    patch.setattr(torch.cuda, "_lazy_init", lambda: None)  # torch asks for it before it asks any mode
    patch.setattr(torch.cuda, "current_device", lambda: CUDA.index)
    for name in ("set_device", "synchronize"):
        patch.setattr(torch.cuda, name, lambda device=None: None)
    generator = torch.Generator
    patch.setattr(torch, "Generator", lambda device=None: generator())
    for name in ("get_torch_device", "text_encoder_device"):
        patch.setattr(memory, name, lambda: CUDA)
    for name in ("get_free_memory", "get_total_memory"):
        patch.setattr(memory, name, lambda dev=None, both=False, **more: (plenty, plenty) if both or more else plenty)
    patch.setattr(attention, "optimized_attention", attention.attention_pytorch)
    with Device() as device, Driver():
        yield device


def on_device(use: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What comes out there, its tensors brought home in fp32, and which functions of this package waited for it."""
    with pytest.MonkeyPatch.context() as patch, fake_cuda(patch) as device:
        found = use()
        waits = list(device.waits)
    return tree_map(lambda one: _held(one).float() if isinstance(one, Tensor) else one, found), waits


def _dispatched(function: Any, given: Sequence[Any], more: dict[str, Any]) -> Any:
    tensors = [one for one in tree_leaves((given, more)) if isinstance(one, Tensor)]
    on_cuda = any(isinstance(one, OnCuda) for one in tensors)
    target = more.get("device")
    there = on_cuda if target is None else torch.device(target).type == "cuda"
    if function is _ATEN.copy_.default:
        there = isinstance(given[0], OnCuda)
    if function not in _MOVES:
        _check(function, given, more)
    if on_cuda and (not there or function in _WAITS or _is_choice(function, given)):
        _note()
    here = {} if target is None else {"device": CPU}
    found = function(*tree_map(_held, tuple(given)), **{**tree_map(_held, more), **here})
    if function._schema.name.endswith("_") and tensors and found is _held(given[0]):
        return given[0]
    return tree_map(lambda one: OnCuda(one) if isinstance(one, Tensor) and there else one, found)


def _asked(function: Any, given: Sequence[Any], more: dict[str, Any]) -> Any:
    return function(*given, **more)


def _attention(function: Any, given: Sequence[Any], more: dict[str, Any]) -> Any:
    _check(function, given, more)
    found = function(*tree_map(_held, tuple(given)), **tree_map(_held, more))
    return tree_map(lambda one: _alike(given[0], one), found)


def _value(function: Any, given: Sequence[Any], more: dict[str, Any]) -> Any:
    if isinstance(given[0], OnCuda):
        _note()
    return _alike(given[0], function(_held(given[0]), *given[1:], **more))


def _indexed(function: Any, given: Sequence[Any], more: dict[str, Any]) -> Any:
    tensor, index, *value = given
    if isinstance(tensor, OnCuda) and any(isinstance(x, Tensor) and x.dtype == torch.bool for x in tree_leaves(index)):
        _note()
    _check(function, (tensor, *value), more)
    return _alike(tensor, function(_held(tensor), tree_map(_held, index), *map(_held, value)))


def _copied(function: Any, given: Sequence[Any], more: dict[str, Any]) -> Any:
    into, source, *rest = given
    if isinstance(source, OnCuda) and not isinstance(into, OnCuda):
        _note()
    function(_held(into), _held(source), *rest, **more)
    return into


def _incompatible(function: Any, given: Sequence[Any], more: dict[str, Any]) -> bool:
    """Else a module that is moved keeps its parameters' objects, which know nothing of what is held."""
    return False


def _moved(function: Any, given: Sequence[Any], more: dict[str, Any]) -> Any:
    """`to`, `contiguous`, and tensors made of values: on the device that is named, or where they were."""
    named = [one for one in (*given[1:], more.get("device"), more.get("other")) if _device(one) is not None]
    place = _device(named[0]) if named else _NAMED.get(function.__name__, _device(given[0]))
    there = place is not None and place.type == "cuda"
    if isinstance(given[0], OnCuda) and not there:
        _note()
    here = {name: _here(one) for name, one in more.items()}
    found = function(_held(given[0]), *map(_here, given[1:]), **here)
    if found is _held(given[0]) and there == isinstance(given[0], OnCuda):
        return given[0]
    return OnCuda(found) if there else found


def _device(one: Any) -> torch.device | None:
    """The device that an argument names."""
    if isinstance(one, Tensor):
        return CUDA if isinstance(one, OnCuda) else one.device
    named = isinstance(one, torch.device) or (isinstance(one, str) and one.startswith(("cuda", "cpu")))
    return torch.device(one) if named else None


def _here(one: Any) -> Any:
    return _held(one) if isinstance(one, Tensor) or _device(one) is None else CPU


def _alike(tensor: Any, found: Any) -> Any:
    return OnCuda(found) if isinstance(tensor, OnCuda) and isinstance(found, Tensor) else found


_ANSWERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("scaled_dot_product_attention", "multi_head_attention_forward"), _attention),
    **dict.fromkeys(("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "nonzero"), _value),
    **dict.fromkeys(("__getitem__", "__setitem__"), _indexed),
    "copy_": _copied,
    "_has_compatible_shallow_copy_type": _incompatible,
    **dict.fromkeys(("to", "cpu", "cuda", "contiguous", "tensor", "as_tensor", "new_tensor"), _moved),
}


def _held(one: Any) -> Any:
    return one.held if isinstance(one, OnCuda) else one


def _check(function: Any, given: Sequence[Any], more: dict[str, Any]) -> None:
    """Raises RuntimeError where devices meet; single numbers of the processor may be anywhere, and indices."""
    tensors = [one for one in tree_leaves((given, more)) if isinstance(one, Tensor)]
    if function in (_ATEN.index.Tensor, _ATEN.index_put_.default):
        tensors = tensors[:1]
    if any(isinstance(one, OnCuda) for one in tensors) and any(not isinstance(x, OnCuda) and x.ndim for x in tensors):
        met = ", ".join(f"{tuple(one.shape)} on {one.device}" for one in tensors)
        raise RuntimeError(f"{function} was given tensors of the device and of the processor: {met}.")


def _is_choice(function: Any, given: Sequence[Any]) -> bool:
    """Whether as many are taken as a mask says."""
    chosen = tree_leaves(given[1]) if function in (_ATEN.index.Tensor, _ATEN.index_put_.default) else []
    return any(isinstance(one, Tensor) and one.dtype == torch.bool for one in chosen)


def _note() -> None:
    """Keep the function that waits, where it is this package's."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_NOBODYS):
        if frame.f_back is None:
            return
        frame = frame.f_back
    if frame.f_code.co_filename.startswith(_OURS):
        _waits.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
