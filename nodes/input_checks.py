"""Checks of what a graph gives to a node, before the node runs: every value is of the kind that its input takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.faces.features import Faces
from ..ip_adapter_core.prompts.prompt import ImagePrompt
from ..ip_adapter_core.settings.layer_weights import LayerWeights
from ..ip_adapter_core.settings.moodboard import Card
from ..ip_adapter_core.settings.schedule import Schedule
from ..ip_adapter_core.text.wording import legible, quoted, shown
from .host.adapters import LoadedAdapter
from .host.regions import Region

Values = dict[str, Any]
"""What a graph gives, by the name of the input."""

_NULL_TEXT = "None"
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
    """Whether a value came through a link; nothing more is known of the classes of other packs."""
    return not isinstance(value, str | int | float | list | dict)


_FITS_SOCKET: dict[str, Callable[[Any], bool]] = {
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
    "MOODBOARD_PICTURE": _is(Card),
    "*": lambda value: True,
}
"""Type of a socket -> whether a value fits it. Other types carry classes that only the host and packs know."""


def without_empty(inputs: Mapping[str, io.Input], values: Values) -> Values:
    """The values without those of optional inputs that are left empty: null in a prompt means that nothing is
    connected, and the node's own default holds."""
    return {name: value for name, value in values.items() if not (name in inputs and _is_empty(inputs[name], value))}


def rows(inputs: Mapping[str, io.Input], lists: Mapping[str, list[Any]]) -> list[Values]:
    """Lists of values, by the name of the input, as ComfyUI deals them out to a node that takes no lists.

    There are as many rows as the longest list has entries, and the last entry of a shorter one is that of all later
    rows. Required inputs that are missing are None. Raises ValueError, with the input's name, for an empty list.
    """
    given = {name: [None] for name, spec in inputs.items() if not spec.optional} | dict(lists)
    for name, values in given.items():
        if not values:
            raise ValueError(f"Connect {name} to a node that gives something; found an empty list.")
    return [
        {name: values[min(number, len(values) - 1)] for name, values in given.items()}
        for number in range(max(map(len, given.values())))
    ]


def check(inputs: Mapping[str, io.Input], values: Values) -> None:
    """Raises ValueError, with the input's name, where a value is not of the kind that its input takes."""
    for name, value in values.items():
        if name in inputs:
            _check(inputs[name], value)


def readable(read: Callable[..., object], *texts: object) -> bool | str:
    """Whether texts that users wrote can be read, or the reason why not, as `validate_inputs` gives it.

    An input that is wired in is None: it is known only when the graph runs.
    """
    if None in texts:
        return True
    try:
        read(*texts)
    except ValueError as mistake:
        return str(mistake)
    return True


def complaint(inputs: Mapping[str, io.Input], values: Values) -> str | None:
    """Why a value cannot be used, as `check` says it, or None."""
    try:
        check(inputs, values)
        return None
    except ValueError as mistake:
        return str(mistake)


def check_choices(fresh: Callable[[], io.Schema], inputs: Mapping[str, io.Input], values: Values) -> None:
    """Raises ValueError, with the input's name, where a menu does not offer a value.

    fresh: makes the schema with the menus as they are now; it is called only where the menus of `inputs` do not offer
    the value.
    """
    choices = {name: value for name, value in values.items() if isinstance(inputs.get(name), io.Combo.Input)}
    if all(value in (inputs[name].options or ()) for name, value in choices.items()):
        return
    for spec in fresh().inputs:
        if spec.id in choices:
            _check_choice(spec, choices[spec.id])


def _is_empty(spec: io.Input, value: Any) -> bool:
    return bool(spec.optional) and (value is None or (isinstance(spec, io.String.Input) and value == _NULL_TEXT))


def _check(spec: io.Input, value: Any) -> None:
    if isinstance(spec, io.Float.Input | io.Int.Input):
        _check_number(spec, value)
    elif isinstance(spec, io.String.Input):
        _check_text(spec, value)
    elif isinstance(spec, io.Combo.Input):
        _check_chosen(spec, value)
    elif not isinstance(spec, io.WidgetInput) and not spec.get_io_type().startswith(_NESTED):
        check_socket(spec, value)


def _check_number(spec: io.Input, value: Any) -> None:
    if not isinstance(value, int | float) or not math.isfinite(value):
        example = "3" if isinstance(spec, io.Int.Input) else "0.8"
        raise ValueError(f"Set {spec.id} to a finite number such as {example}; found {_describe(value)}.")


def _check_text(spec: io.Input, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"Write {spec.id} as text; found {_describe(value)}.")
    if legible(value) != value:
        raise ValueError(f"Write {spec.id} anew: {quoted(value)} holds what cannot be written as UTF-8.")


def _check_chosen(spec: io.Combo.Input, value: Any) -> None:
    if not isinstance(value, str) and value not in (spec.options or ()):
        raise ValueError(f"Choose a {spec.id} from its menu; found {_describe(value)}.")


def _check_choice(spec: io.Combo.Input, value: Any) -> None:
    options = spec.options or ()
    if value not in options:
        offered = f"one of {', '.join(map(shown, options))}" if len(options) <= _MENU_SHOWN else "what the menu offers"
        raise ValueError(f"Set {spec.id} to {offered}; found {_describe(value)}.")


def check_socket(spec: io.Input, value: Any) -> None:
    """Raises ValueError, with the input's name, where a value is not of the type of its socket."""
    kind = spec.get_io_type()
    fits = _FITS_SOCKET.get(kind, _is_linked)
    if value is None or not fits(value):
        raise ValueError(f"Connect {spec.id} to a node that gives {kind}; found {_describe(value)}.")


def _describe(value: Any) -> str:
    """A value in a few words: what can be written as it is written, other things by their class."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return quoted(value)
    return shown(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
