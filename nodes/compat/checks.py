"""Checks of what a graph gives to an old node, before it runs; words of other times pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ...ip_adapter_core.compat.presets import read_preset
from ...ip_adapter_core.compat.signatures import MENU, Input
from ...ip_adapter_core.compat.words import RESAMPLINGS, read_weight_type
from ...ip_adapter_core.text.wording import quoted
from ..host import files, old_names, prompt_files
from .numbers import chosen

Values = Mapping[str, Any]

_ANY = "*"
_NUMBERS = ("FLOAT", "INT")


def complete(inputs: Mapping[str, Input], given: Values) -> dict[str, Any]:
    """The values of a call: those of known inputs, and the defaults of widgets that are left out.

    Raises ValueError for a socket that must be connected and is not.
    """
    values = {name: value for name, value in given.items() if name in inputs and value is not None}
    for name, spec in inputs.items():
        if name in values:
            continue
        if spec.is_widget and not spec.optional:
            values[name] = spec.default
        elif not spec.optional and spec.type not in _REPLACEABLE:
            raise ValueError(f"Connect {name} to a node that gives {spec.type}; found nothing.")
    return values


_REPLACEABLE = ("IMAGE", "CLIP_VISION", "EMBEDS")
"""Sockets whose place another input can take; what is missing then is said by what the node does."""


def complaint(node: str, inputs: Mapping[str, Input], links: Values, given: Values) -> str | None:
    """Why a graph cannot run this node, or None.

    links: the type that each link brings, by the name of the input. given: the values that stand on the node.
    """
    for name, spec in inputs.items():
        reason = _of_link(spec, links[name]) if name in links else _of_value(node, spec, given.get(name))
        if reason:
            return reason
    return None


def fingerprint(node: str, inputs: Mapping[str, Input], given: Values) -> Any:
    """Changes when files or settings that a node reads do."""
    if "preset" in inputs:
        return [
            files.fingerprint(kind, name) for kind in (files.ADAPTERS, files.ENCODERS) for name in files.names(kind)
        ]
    file = given.get("ipadapter_file", given.get("model_name") if "dtype" in inputs else None)
    if file is not None:
        return files.fingerprint(files.ADAPTERS, _adapter(file))
    if node == "IPAdapterLoadEmbeds":
        return prompt_files.embeds_fingerprint(given.get("embeds"))
    return chosen(str(given.get("numbers", ""))) if "numbers" in inputs else ""


def _of_link(spec: Input, brought: Any) -> str | None:
    """Texts and numbers go into any widget; what fits is seen when the graph runs."""
    kinds = {kind.strip() for kind in brought.split(",")} if isinstance(brought, str) else {_ANY}
    if spec.is_widget or _ANY in kinds or spec.type in kinds:
        return None
    return f"Connect {spec.name} to a node that gives {spec.type}; found {brought}."


def _of_value(node: str, spec: Input, value: Any) -> str | None:
    if value is None:
        return None
    if spec.type in _NUMBERS:
        return None if _is_number(value) else f"Set {spec.name} to a finite number; found {quoted(value)}."
    check = _CHECKS.get(spec.name, _is_offered) if spec.type == MENU else None
    try:
        if check:
            check(spec, value)
    except ValueError as error:
        return str(error)
    return None


def _is_number(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)


def _is_offered(spec: Input, value: Any) -> None:
    if spec.options and value not in spec.options:
        raise ValueError(f"Set {spec.name} to one of {', '.join(spec.options)}; found {quoted(value)}.")


def _adapter(name: Any) -> str | None:
    try:
        return old_names.adapter(str(name)).name
    except ValueError:
        return None


def _is_weight_type(spec: Input, value: Any) -> None:
    read_weight_type(value)


def _is_resampling(spec: Input, value: Any) -> None:
    _is_offered(spec, RESAMPLINGS.get(value, value))


def _is_timing(spec: Input, value: Any) -> None:
    if value != "reverse_in_out":  # of two weeks in April 2024
        _is_offered(spec, value)


def _is_adapter(spec: Input, value: Any) -> None:
    match = old_names.adapter(str(value))
    files.identify(files.ADAPTERS, match.name)


def _is_embeds(spec: Input, value: Any) -> None:
    prompt_files.check_embeds(str(value))


_CHECKS: dict[str, Callable[[Input, Any], None]] = {
    "weight_type": _is_weight_type,
    "preset": lambda spec, value: (read_preset(value), None)[1],
    "interpolation": _is_resampling,
    "timing": _is_timing,
    "ipadapter_file": _is_adapter,
    "model_name": lambda spec, value: None if spec.options else _is_adapter(spec, value),
    "embeds": _is_embeds,
    "provider": lambda spec, value: None,  # ComfyUI knows the device
    "numbers": _is_offered,
}
"""Menus that accept more than they offer, by the name of the input."""
