"""A CUDA device for ComfyUI's DynamicVRAM: its tensors are views of memory that others write, and may be parameters.

A tensor keeps its memory and becomes one of the device, which a wrapper as in `cuda_with_numbers` cannot do. Tensors of
two devices in one operation are an error, and so is what numpy may not read; nothing notes what waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda", 0)

_PROCESSOR = torch.device("cpu")
# What torch hands to `__torch_function__` where such an attribute is read or set.
_DATA, _DEVICE, _IS_CUDA, _IS_CPU = cast(tuple[Any, ...], (Tensor.data, Tensor.device, Tensor.is_cuda, Tensor.is_cpu))
# What may meet tensors of both devices.
_CROSSING = {Tensor.copy_, _DATA.__set__, torch._has_compatible_shallow_copy_type}
_ANSWERS: dict[Any, Any] = {_DEVICE.__get__: DEVICE, _IS_CUDA.__get__: True, _IS_CPU.__get__: False}


class OnGpu(Tensor):
    """A tensor on DEVICE; its values lie in main memory."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Gpu(TorchFunctionMode):
    """Within it, DEVICE can be named as the device of new and moved tensors. Mixing devices is an error, as it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def on_gpu(memory: Tensor) -> Tensor:
    """The same memory as a tensor of the GPU."""
    with torch._C.DisableTorchFunctionSubclass():
        return memory.as_subclass(OnGpu)


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    with torch._C.DisableTorchFunctionSubclass():
        first = args[0] if args else None
        if func in _ANSWERS and isinstance(first, OnGpu):
            return _ANSWERS[func]
        if func is Tensor.numpy and isinstance(first, OnGpu):
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy; copy it to host memory first")
        if func == _DATA.__set__:  # another object at each look
            return _set_data(*args)
        if func in _MOVES:
            return _moved(func, args, kwargs)
        return _computed(func, args, kwargs)


def _computed(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What a function makes of tensors of one device, or of none where it makes new ones."""
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    if ours and func not in _CROSSING and any(t.ndim for t in tensors if not isinstance(t, OnGpu)):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {DEVICE} and cpu ({func}).")
    there = isinstance(tensors[0], OnGpu) if func in _CROSSING else bool(ours)
    wanted = kwargs.get("device")
    if wanted is not None:
        there = torch.device(wanted).type == DEVICE.type
        kwargs = {**kwargs, "device": _PROCESSOR}
    made = func(*tree_map(_bare, args), **tree_map(_bare, kwargs))
    return tree_map(_there, made) if there else made


def _moved(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A tensor on the device that was asked for; it shares no memory with the other one."""
    tensor, *others = args
    there = func is Tensor.cuda or (func is not Tensor.cpu and isinstance(tensor, OnGpu))
    for value in (*others, *kwargs.values()):
        if isinstance(value, Tensor):
            there = isinstance(value, OnGpu)
        elif isinstance(value, (str, torch.device)):
            there = torch.device(value).type == DEVICE.type
    made = _bare(tensor) if func in (Tensor.cuda, Tensor.cpu) else func(*_here(args), **_here(kwargs))
    if there == isinstance(tensor, OnGpu):
        return tensor if made is _bare(tensor) or made.data_ptr() == tensor.data_ptr() else _like(made, there)
    made = made.clone() if made.data_ptr() == tensor.data_ptr() else made
    return _like(made, there)


_MOVES = {Tensor.to, Tensor.cuda, Tensor.cpu}


def _set_data(parameter: Tensor, value: Tensor) -> None:
    _DATA.__set__(parameter, _bare(value))
    if isinstance(value, OnGpu) != isinstance(parameter, OnGpu):
        parameter.__class__ = OnGpu if isinstance(value, OnGpu) else nn.Parameter
        parameter._is_param = True


def _here(given: Any) -> Any:
    return tree_map(lambda value: _PROCESSOR if isinstance(value, (str, torch.device)) else _bare(value), given)


def _bare(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, OnGpu) else value


def _there(value: Any) -> Any:
    return value.as_subclass(OnGpu) if isinstance(value, Tensor) else value


def _like(made: Tensor, there: bool) -> Tensor:
    return made.as_subclass(OnGpu) if there else made
