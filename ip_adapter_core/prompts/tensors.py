"""The parts of an image prompt as the named tensors of a file, `<part>.<name>`; K' and V' are not among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ..files.tensor_file import Entry
from .prompt import PromptPart

T = TypeVar("T")

_NAME = re.compile(r"(0|[1-9][0-9]{0,5})\.(tokens|order|weights|images|emphasis|masks\.[0-9]{1,6})")
_FLOATS = ("F16", "BF16", "F32", "F64")


class _Slot(NamedTuple):
    """What a tensor of a part must be.

    dtypes: those that it may have.
    axes: numbers of axes that it may have.
    needed: whether every part has it.
    """

    dtypes: tuple[str, ...]
    axes: tuple[int, ...]
    needed: bool = True


_SLOTS = {
    "tokens": _Slot(_FLOATS, (3,)),
    "order": _Slot(("I64",), (2,)),
    "weights": _Slot(("F64",), (1,)),
    "images": _Slot(("I64",), (0,)),
    "emphasis": _Slot(_FLOATS, (1,), needed=False),
    "masks": _Slot(("U8", "F16", "F32"), (2, 3, 4), needed=False),
}


class _MaskFormat(NamedTuple):
    """A dtype that masks are stored in.

    pack: mask in float32 -> the stored tensor.
    unpack: the stored tensor -> mask in float32.
    """

    pack: Callable[[Tensor], Tensor]
    unpack: Callable[[Tensor], Tensor]


_MASK_FORMATS: dict[torch.dtype, _MaskFormat] = {
    torch.uint8: _MaskFormat(
        lambda mask: (mask * 255).round().clamp(0, 255).byte(), lambda levels: levels.float() / 255
    ),
    torch.float16: _MaskFormat(Tensor.half, Tensor.float),
    torch.float32: _MaskFormat(Tensor.float, Tensor.float),
}


def name_tensors(parts: Iterable[PromptPart]) -> dict[str, Tensor]:
    """The tensors of all parts by name, each in memory of its own.

    Masks have the smallest dtype in which none of their numbers changes. Raises ValueError when a value is no number.
    """
    return {
        f"{number}.{name}": tensor for number, part in enumerate(parts) for name, tensor in _tensors_of(part).items()
    }


def check_tensors(named: Mapping[str, Entry], timed: bool = False) -> list[dict[str, Entry]]:
    """For each part, its tensors by name. Raises ValueError when one is missing, unknown, or of an impossible shape.

    timed: whether there are other tokens under the softmax than the file has.
    """
    parts = _group_by_part(named)
    for part in parts:
        if missing := [name for name, slot in _SLOTS.items() if slot.needed and name not in part]:
            raise ValueError(f"a part lacks its {missing[0]}")
        for name in ("tokens", *part):
            _check_entry(name, part[name], part["tokens"].shape, timed)
    return parts


def restore(named: Mapping[str, Tensor], width: int) -> tuple[PromptPart, ...]:
    """The parts from tensors that passed `check_tensors`; width: of the adapter's tokens.

    Raises ValueError when a number in them is not valid.
    """
    return tuple(_part(tensors, width) for tensors in _group_by_part(named))


def _tensors_of(part: PromptPart) -> dict[str, Tensor]:
    weights = torch.tensor(part.weights, dtype=torch.float64)
    images = torch.tensor(part.images)
    tensors = {"tokens": part.tokens, "order": part.row_index.long(), "weights": weights, "images": images}
    if part.attn_bias is not None:
        tensors["emphasis"] = part.attn_bias
    tensors |= {f"masks.{number}": _pack(mask.detach().cpu().float()) for number, mask in enumerate(part.masks)}
    _check_numbers(tensors)
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _pack(mask: Tensor) -> Tensor:
    """A mask in the first of _MASK_FORMATS that keeps all its numbers."""
    packed_by = ((format_, format_.pack(mask)) for format_ in _MASK_FORMATS.values())
    return next((packed for format_, packed in packed_by if torch.equal(format_.unpack(packed), mask)), mask)


def _check_numbers(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"there are values that are no numbers in its {_kind(name)}")


def _group_by_part(named: Mapping[str, T]) -> list[dict[str, T]]:
    """For each part, its tensors or entries by name."""
    parts: dict[int, dict[str, T]] = {}
    for name, value in named.items():
        if not (match := _NAME.fullmatch(name)):
            raise ValueError(f"it holds {name}, which image prompts do not have")
        parts.setdefault(int(match[1]), {})[match[2]] = value
    if missing := set(range(len(parts))) - set(parts):
        raise ValueError(f"it lacks part {min(missing)}")
    return [parts[number] for number in range(len(parts))]


def _check_entry(name: str, entry: Entry, tokens: tuple[int, ...], timed: bool) -> None:
    """tokens: shape of the part's tokens."""
    kind, shape = _kind(name), entry.shape
    slot = _SLOTS[kind]
    possible = entry.dtype in slot.dtypes and len(shape) in slot.axes and 0 not in shape
    matching = {"order": shape[:1] == (2,), "emphasis": timed or shape == tokens[1:2]}.get(kind, True)
    if not (possible and matching):
        raise ValueError(
            f"it holds {kind} of shape {list(shape)} in {entry.dtype}, beside tokens of shape {list(tokens)}"
        )


def _part(stored: Mapping[str, Tensor], width: int) -> PromptPart:
    _check_numbers(stored)
    own = {
        name: tensor.clone() for name, tensor in stored.items()
    }  # a copy, so that the file can be replaced while it is in use
    tokens, order = own["tokens"], own["order"]
    if tokens.shape[2] != width:
        raise ValueError(f"its tokens have width {tokens.shape[2]}, and those of the adapter {width}")
    if order.min() < 0 or order.max() >= len(tokens):
        raise ValueError(f"its order points outside of its {len(tokens)} rows of tokens")
    images = int(own["images"])
    if images < 1 or tokens.shape[1] % images:
        raise ValueError(f"it says that its {tokens.shape[1]} tokens are of {images} images")
    return PromptPart(tokens, (), order, tuple(own["weights"].tolist()), own.get("emphasis"), _masks(own), images)


def _masks(tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    names = sorted((name for name in tensors if _kind(name) == "masks"), key=lambda name: int(name.split(".")[1]))
    return tuple(_MASK_FORMATS[tensors[name].dtype].unpack(tensors[name]) for name in names)


def _kind(name: str) -> str:
    return name.split(".")[0]
