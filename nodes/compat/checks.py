"""Checks of what a graph gives to an old node, before it runs; words of other times pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple

from ...ip_adapter_core.compat.presets import read_preset
from ...ip_adapter_core.compat.signatures import MENU, Input
from ...ip_adapter_core.compat.words import RESAMPLINGS, read_weight_type
from ...ip_adapter_core.text.wording import quoted
from ..host import files, old_names, prompt_files
from .numbers import chosen

Values = Mapping[str, Any]

_ANY = "*"
_NUMBERS = ("FLOAT", "INT")


def complete(inputs: Mapping[str, Input], given: Values, arguments: Container[str] = ()) -> dict[str, Any]:
    """The values of a call: those of known inputs and arguments, and the defaults of widgets that are left out.

    arguments: names that are known beside those of the inputs. Raises ValueError for a socket that must be connected
    and is not.
    """
    known = {name: value for name, value in given.items() if name in inputs or name in arguments}
    values = {name: value for name, value in known.items() if value is not None}
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


def complaint(inputs: Mapping[str, Input], links: Values, given: Values) -> str | None:
    """Why a graph cannot run this node, or None.

    links: the type that each link brings, by the name of the input. given: the values that stand on the node.
    """
    for name, spec in inputs.items():
        reason = _of_link(spec, links[name]) if name in links else _of_value(spec, given.get(name))
        if reason:
            return reason
    return None


def fingerprint(inputs: Mapping[str, Input], given: Values) -> Any:
    """Changes when files or settings that a node reads do."""
    menus = {name: file_menu(spec) for name, spec in inputs.items() if spec.of_files and given.get(name) is not None}
    picked = [menu.fingerprint(str(given[name])) for name, menu in menus.items()]
    among = files.fingerprints() if "preset" in inputs else []
    return [*picked, *among, *([chosen(given.get("numbers"))] if "numbers" in inputs else [])]


def _of_link(spec: Input, brought: Any) -> str | None:
    """Texts and numbers go into any widget; what fits is seen when the graph runs."""
    kinds = {kind.strip() for kind in brought.split(",")} if isinstance(brought, str) else {_ANY}
    if spec.is_widget or _ANY in kinds or spec.type in kinds:
        return None
    return f"Connect {spec.name} to a node that gives {spec.type}; found {brought}."


def _of_value(spec: Input, value: Any) -> str | None:
    if value is None:
        return None
    if spec.type in _NUMBERS:
        return None if _is_number(value) else f"Set {spec.name} to a finite number; found {quoted(value)}."
    try:
        if spec.of_files:
            file_menu(spec).check(str(value))
        elif spec.type == MENU:
            _CHECKS.get(spec.name, _is_offered)(spec, value)
    except ValueError as error:
        return str(error)
    return None


def _is_number(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)


def _is_offered(spec: Input, value: Any) -> None:
    if spec.options and value not in spec.options:
        raise ValueError(f"Set {spec.name} to one of {', '.join(spec.options)}; found {quoted(value)}.")


class FileMenu(NamedTuple):
    """A menu of files.

    names: what it offers.
    check: raises ValueError where a name means no file that can be used.
    fingerprint: changes when the file that a name means is exchanged.
    """

    names: Callable[[], list[str]]
    check: Callable[[str], object]
    fingerprint: Callable[[str], Any]


def _check_adapter(name: str) -> None:
    files.identify(files.ADAPTERS, old_names.adapter(name).name)


def _adapter_fingerprint(name: str) -> Any:
    try:
        return files.fingerprint(files.ADAPTERS, old_names.adapter(name).name)
    except ValueError:
        return files.fingerprint(files.ADAPTERS, None)


_ADAPTERS = FileMenu(lambda: files.names(files.ADAPTERS), _check_adapter, _adapter_fingerprint)
_EMBEDS = FileMenu(prompt_files.embeds_in_input, prompt_files.load_embeds, prompt_files.embeds_fingerprint)


def file_menu(spec: Input) -> FileMenu:
    """The menu of an input whose options are files."""
    return _EMBEDS if spec.name == "embeds" else _ADAPTERS


def _is_timing(spec: Input, value: Any) -> None:
    if value != "reverse_in_out":  # of two weeks in April 2024
        _is_offered(spec, value)


_CHECKS: dict[str, Callable[[Input, Any], object]] = {
    "weight_type": lambda spec, value: read_weight_type(value),
    "preset": lambda spec, value: read_preset(value),
    "interpolation": lambda spec, value: _is_offered(spec, RESAMPLINGS.get(value, value)),
    "timing": _is_timing,
    "model_name": lambda spec, value: None,  # the first face model that is there is taken
    "provider": lambda spec, value: None,  # ComfyUI knows the device
}
"""Menus that accept more than they offer, by the name of the input."""
