"""What a graph gives to a node, looked at before the node runs: every value is of the kind that its input takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.faces.features import Faces
from ..ip_adapter_core.prompts.prompt import ImagePrompt
from ..ip_adapter_core.settings.layer_weights import LayerWeights
from ..ip_adapter_core.settings.schedule import Schedule
from ..ip_adapter_core.text.wording import legible, quoted, shown
from .host.adapters import LoadedAdapter
from .host.regions import Region

Given = dict[str, Any]

_NOTHING = "None"
"""What ComfyUI makes of null for a text."""

_NESTED = "COMFY_"  # begins the types of inputs that hold others, which ComfyUI checks itself
_MENU_SHOWN = 20  # as many as ComfyUI lists


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_latent(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("samples"), Tensor)


def _is_conditioning(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, list | tuple) and len(one) == 2 for one in value)


def _is_regions(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, Region) for one in value)


def _is_linked(value: Any) -> bool:
    """Whether it is no literal: of the classes of other packs only that is known."""
    return not isinstance(value, str | int | float | list | dict)


_CARRIES: dict[str, Callable[[Any], bool]] = {
    "IMAGE": _is(Tensor),
    "MASK": _is(Tensor),
    "SIGMAS": _is(Tensor),
    "LATENT": _is_latent,
    "CONDITIONING": _is_conditioning,
    "IP_ADAPTER": _is(LoadedAdapter),
    "IMAGE_PROMPT": _is(ImagePrompt),
    "FACE_FEATURES": _is(Faces),
    "LAYER_WEIGHTS": _is(LayerWeights),
    "WEIGHT_SCHEDULE": _is(Schedule),
    "IMAGE_PROMPT_REGIONS": _is_regions,
    "*": lambda value: True,
}
"""By the type of a socket, what comes through it; other types are of classes that only the host and packs know."""


def filled(inputs: Mapping[str, io.Input], given: Given) -> Given:
    """What is given without the optional inputs that are left empty: null in a prompt means that nothing is connected,
    and each node's own default holds."""
    return {name: value for name, value in given.items() if not (name in inputs and _is_empty(inputs[name], value))}


def check(inputs: Mapping[str, io.Input], given: Given) -> None:
    """Raises ValueError, with the input's name, where a value is not of the kind that its input takes."""
    for name, value in given.items():
        if name in inputs:
            _check(inputs[name], value)


def complaint(inputs: Mapping[str, io.Input], given: Given) -> str | None:
    """Why a value cannot be used, as `check` says it, or None."""
    try:
        check(inputs, given)
        return None
    except ValueError as mistake:
        return str(mistake)


def check_choices(fresh: Callable[[], io.Schema], inputs: Mapping[str, io.Input], given: Given) -> None:
    """Raises ValueError, with the input's name, where a menu does not offer what is given.

    fresh: gives the menus as they are now, which is asked only where those known do not offer it.
    """
    chosen = {name: value for name, value in given.items() if isinstance(inputs.get(name), io.Combo.Input)}
    if all(value in (inputs[name].options or ()) for name, value in chosen.items()):
        return
    for wanted in fresh().inputs:
        if wanted.id in chosen:
            _check_choice(wanted, chosen[wanted.id])


def _is_empty(wanted: io.Input, value: Any) -> bool:
    return bool(wanted.optional) and (value is None or (isinstance(wanted, io.String.Input) and value == _NOTHING))


def _check(wanted: io.Input, value: Any) -> None:
    if isinstance(wanted, io.Float.Input | io.Int.Input):
        _check_number(wanted, value)
    elif isinstance(wanted, io.String.Input):
        _check_text(wanted, value)
    elif isinstance(wanted, io.Combo.Input):
        _check_chosen(wanted, value)
    elif not isinstance(wanted, io.WidgetInput) and not wanted.get_io_type().startswith(_NESTED):
        _check_socket(wanted, value)


def _check_number(wanted: io.Input, value: Any) -> None:
    if not isinstance(value, int | float) or not math.isfinite(value):
        example = "3" if isinstance(wanted, io.Int.Input) else "0.8"
        raise ValueError(f"Set {wanted.id} to a finite number such as {example}; found {_found(value)}.")


def _check_text(wanted: io.Input, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"Write {wanted.id} as text; found {_found(value)}.")
    if legible(value) != value:
        raise ValueError(f"Write {wanted.id} anew: {quoted(value)} holds what cannot be written as UTF-8.")


def _check_chosen(wanted: io.Combo.Input, value: Any) -> None:
    if not isinstance(value, str) and value not in (wanted.options or ()):
        raise ValueError(f"Choose a {wanted.id} from its menu; found {_found(value)}.")


def _check_choice(wanted: io.Combo.Input, value: Any) -> None:
    options = wanted.options or ()
    if value not in options:
        known = f"one of {', '.join(map(shown, options))}" if len(options) <= _MENU_SHOWN else "what the menu offers"
        raise ValueError(f"Set {wanted.id} to {known}; found {_found(value)}.")


def _check_socket(wanted: io.Input, value: Any) -> None:
    kind = wanted.get_io_type()
    fits = _is(list) if wanted.rawLink else _CARRIES.get(kind, _is_linked)
    if value is None or not fits(value):
        raise ValueError(f"Connect {wanted.id} to a node that gives {kind}; found {_found(value)}.")


def _found(value: Any) -> str:
    """A value in a few words: what can be written as it is written, other things by their class."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return quoted(value)
    return shown(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
