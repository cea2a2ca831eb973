"""Checks of what a graph gives to an old node, before it runs; words of other times pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

from ...ip_adapter_core.compat import file_names
from ...ip_adapter_core.compat.presets import read_preset
from ...ip_adapter_core.compat.signatures import MENU, Input
from ...ip_adapter_core.compat.words import RESAMPLINGS, read_weight_type
from ...ip_adapter_core.text.wording import quoted
from ..host import files, old_names, prompt_files
from . import instantid
from .numbers import chosen

Values = Mapping[str, Any]

_TEXTS = ("STRING", MENU)  # types of links that bring a word
_NUMBERS = ("FLOAT", "INT")
_PRESET, _LEFT_OPEN = "preset", "None"
"""A preset that packs with switches save where it is not reached; who does reach it is told when the graph runs."""


def complete(inputs: Mapping[str, Input], given: Values, arguments: Container[str] = ()) -> dict[str, Any]:
    """The values of a call: those of known inputs and arguments, and the defaults of widgets that are left out.

    arguments: names that are known beside those of the inputs. Raises ValueError for a socket that must be connected
    and is not, and for words and numbers that mean nothing.
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
    for name in values.keys() & inputs.keys():
        _check(inputs[name], values[name])
    return values


_REPLACEABLE = ("IMAGE", "CLIP_VISION", "EMBEDS")
"""Sockets whose place another input can take; what is missing then is said by what the node does."""


class Menu(list[str]):
    """The options of an input, which also has in it what graphs of other times hold, and takes texts of other nodes.

    ComfyUI asks a menu itself, and names the input whose value is not in it; a node that is asked instead has its
    answer repeated for each of its inputs. Whether a link fits it asks by !=, as it says in its validation.py.
    """

    def __init__(self, spec: Input) -> None:
        super().__init__(file_menu(spec).names() if spec.of_files else spec.options or ())
        self._spec = spec

    def __contains__(self, word: object) -> bool:
        if word is None or self._spec.of_files or (self._spec.name == _PRESET and word == _LEFT_OPEN):
            return True
        try:
            _check(self._spec, word)
            return True
        except ValueError:
            return False

    def __ne__(self, brought: object) -> bool:
        return not isinstance(brought, list) and brought not in _TEXTS


def complaint_of_file(spec: Input, name: Any) -> str | None:
    """Why the file that a name means cannot be used, or None; a name that is wired in is None yet."""
    try:
        if name is not None:
            file_menu(spec).check(str(name))
        return None
    except ValueError as error:
        return str(error)


def fingerprint(inputs: Mapping[str, Input], given: Values) -> Any:
    """Changes when files or settings that a node reads do."""
    menus = {name: file_menu(spec) for name, spec in inputs.items() if spec.of_files and given.get(name) is not None}
    picked = [menu.fingerprint(str(given[name])) for name, menu in menus.items()]
    among = files.fingerprints() if _PRESET in inputs else []
    return [*picked, *among, *([chosen(given.get("numbers"))] if "numbers" in inputs else [])]


def _check(spec: Input, value: Any) -> None:
    """Raises ValueError for a word that no version had, for no finite number, and for no file; none is looked for."""
    if spec.of_files and value is None:
        raise ValueError(f"Choose a file for {spec.name}; found none.")
    if spec.type in _NUMBERS and not _is_number(value):
        raise ValueError(f"Set {spec.name} to a finite number; found {quoted(value)}.")
    if spec.type == MENU and not spec.of_files:
        _CHECKS.get(spec.name, _is_offered)(spec, value)


def _is_number(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(isinstance(number, Real) and math.isfinite(number) for number in numbers)


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
    files.identify(files.ADAPTERS, old_names.find(files.ADAPTERS, name).name)


_ADAPTERS = FileMenu(
    partial(files.names, files.ADAPTERS), _check_adapter, partial(old_names.fingerprint, files.ADAPTERS)
)
_EMBEDS = FileMenu(prompt_files.embeds_in_input, prompt_files.load_embeds, prompt_files.embeds_fingerprint)


_INSTANTID = _ADAPTERS._replace(check=instantid.find_file, fingerprint=instantid.file_fingerprint)
_FILE_MENUS = {file_names.EMBEDS: _EMBEDS, file_names.INSTANTID: _INSTANTID}


def file_menu(spec: Input) -> FileMenu:
    """The menu of an input whose options are files."""
    return _FILE_MENUS.get(spec.name, _ADAPTERS)


def _is_timing(spec: Input, value: Any) -> None:
    if value != "reverse_in_out":  # of two weeks in April 2024
        _is_offered(spec, value)


_CHECKS: dict[str, Callable[[Input, Any], object]] = {
    "weight_type": lambda spec, value: read_weight_type(value),
    _PRESET: lambda spec, value: read_preset(value),
    "interpolation": lambda spec, value: _is_offered(spec, RESAMPLINGS.get(value, value)),
    "timing": _is_timing,
    "model_name": lambda spec, value: None,  # the first face model that is there is taken
    "provider": lambda spec, value: None,  # ComfyUI knows the device
}
"""Menus that accept more than they offer, by the name of the input."""
