"""The parts of an image prompt as named tensors, `<part>.<what>`, without keys and values: how files hold them."""

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
    """A tensor of a part: dtypes and numbers of axes that it may have, and whether every part has it."""

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


class _Form(NamedTuple):
    """A dtype that masks are held in: how they come into it, and out of it."""

    pack: Callable[[Tensor], Tensor]
    unpack: Callable[[Tensor], Tensor]


_FORMS: dict[torch.dtype, _Form] = {
    torch.uint8: _Form(lambda mask: (mask * 255).round().clamp(0, 255).byte(), lambda levels: levels.float() / 255),
    torch.float16: _Form(Tensor.half, Tensor.float),
    torch.float32: _Form(Tensor.float, Tensor.float),
}


def named(parts: Iterable[PromptPart]) -> dict[str, Tensor]:
    """Tensors of all parts by name, each in memory of its own; masks take the least room in which none of their numbers
    changes.

    Raises ValueError where there are values that are no numbers.
    """
    return {f"{number}.{name}": tensor for number, part in enumerate(parts) for name, tensor in _held(part).items()}


def checked(found: Mapping[str, Entry]) -> list[dict[str, Entry]]:
    """The tensors of each part by name. Raises ValueError where one is missing, unknown, or of an impossible shape."""
    parts = _group_by_part(found)
    for part in parts:
        if missing := [name for name, slot in _SLOTS.items() if slot.needed and name not in part]:
            raise ValueError(f"a part lacks its {missing[0]}")
        for name in ("tokens", *part):
            _check_entry(name, part[name], part["tokens"].shape)
    return parts


def restore(found: Mapping[str, Tensor], width: int) -> tuple[PromptPart, ...]:
    """The parts of tensors whose names and shapes are `checked`; width: of the adapter's tokens.

    Raises ValueError where their numbers cannot be meant.
    """
    return tuple(_part(held, width) for held in _group_by_part(found))


def _held(part: PromptPart) -> dict[str, Tensor]:
    weights = torch.tensor(part.weights, dtype=torch.float64)
    images = torch.tensor(part.images)
    held = {"tokens": part.tokens, "order": part.row_index.long(), "weights": weights, "images": images}
    if part.attn_bias is not None:
        held["emphasis"] = part.attn_bias
    held |= {f"masks.{number}": _pack(mask.detach().cpu().float()) for number, mask in enumerate(part.masks)}
    _check_numbers(held)
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in held.items()}


def _pack(mask: Tensor) -> Tensor:
    """A mask in the first of _FORMS that gives the same numbers back."""
    forms = ((form, form.pack(mask)) for form in _FORMS.values())
    return next((packed for form, packed in forms if torch.equal(form.unpack(packed), mask)), mask)


def _check_numbers(held: Mapping[str, Tensor]) -> None:
    for name, tensor in held.items():
        if not tensor.isfinite().all():
            raise ValueError(f"there are values that are no numbers in its {_kind(name)}")


def _group_by_part(found: Mapping[str, T]) -> list[dict[str, T]]:
    """What there is of each part, by name."""
    parts: dict[int, dict[str, T]] = {}
    for name, value in found.items():
        if not (match := _NAME.fullmatch(name)):
            raise ValueError(f"it holds {name}, which image prompts do not have")
        parts.setdefault(int(match[1]), {})[match[2]] = value
    if missing := set(range(len(parts))) - set(parts):
        raise ValueError(f"it lacks part {min(missing)}")
    return [parts[number] for number in range(len(parts))]


def _check_entry(name: str, entry: Entry, tokens: tuple[int, ...]) -> None:
    """tokens: shape of the part's tokens."""
    kind, shape = _kind(name), entry.shape
    slot = _SLOTS[kind]
    possible = entry.dtype in slot.dtypes and len(shape) in slot.axes and 0 not in shape
    matching = {"order": shape[:1] == (2,), "emphasis": shape == tokens[1:2]}.get(kind, True)
    if not (possible and matching):
        raise ValueError(
            f"it holds {kind} of shape {list(shape)} in {entry.dtype}, beside tokens of shape {list(tokens)}"
        )


def _part(held: Mapping[str, Tensor], width: int) -> PromptPart:
    _check_numbers(held)
    own = {name: tensor.clone() for name, tensor in held.items()}  # a file that is mapped could not be replaced
    tokens, order = own["tokens"], own["order"]
    if tokens.shape[2] != width:
        raise ValueError(f"its tokens have width {tokens.shape[2]}, and those of the adapter {width}")
    if order.min() < 0 or order.max() >= len(tokens):
        raise ValueError(f"its order points outside of its {len(tokens)} rows of tokens")
    images = int(own["images"])
    if images < 1 or tokens.shape[1] % images:
        raise ValueError(f"it says that its {tokens.shape[1]} tokens are of {images} images")
    return PromptPart(tokens, (), order, tuple(own["weights"].tolist()), own.get("emphasis"), _masks(own), images)


def _masks(held: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    names = sorted((name for name in held if _kind(name) == "masks"), key=lambda name: int(name.split(".")[1]))
    return tuple(_FORMS[held[name].dtype].unpack(held[name]) for name in names)


def _kind(name: str) -> str:
    return name.split(".")[0]
