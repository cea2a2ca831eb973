"""The classes of the old nodes, in ComfyUI's first form: made of the tables, with the names that packs look for."""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from ...ip_adapter_core.compat import instantid
from ...ip_adapter_core.compat.signatures import MENU, OTHER_SHAPES, SIGNATURES, Input, Signature
from ...ip_adapter_core.compat.words import NUMBERS, NUMBERS_ROW, OF_SERVER
from ..node import legible_errors
from . import checks
from .doors import BEHAVIOURS, OF_INSTANTID, Behaviour

PACKS = IPADAPTER_PLUS, INSTANTID = "IPAdapter Plus", "ComfyUI_InstantID"

_NUMBERS = Input(NUMBERS_ROW, MENU, OF_SERVER, None, NUMBERS, optional=True)

_ABOUT = "A node of {}, kept for graphs that have it. New graphs are made with this package's own nodes."
_NUMBERS_TOOLTIP = (
    "right: as the adapters were trained. IPAdapter Plus: that pack's numbers, without the middle block and with a "
    "black negative. As set for the server: what ComfyUI's settings say, right unless changed."
)


def _options(given: Input) -> dict[str, Any]:
    options: dict[str, Any] = {} if given.default is None else {"default": given.default}
    if given.limits:
        options |= dict(zip(("min", "max", "step"), given.limits, strict=True))
    if given.type == "STRING" and given.name != "filename_prefix":
        options["multiline"] = True
    if given is _NUMBERS:
        options["tooltip"] = _NUMBERS_TOOLTIP
    return options


def _spec(given: Input) -> tuple[Any, ...]:
    """An input as ComfyUI wants it."""
    kind: Any = given.type
    if given.type == MENU:
        kind = checks.Menu(given)
    return (kind, _options(given)) if given.is_widget else (kind,)


def _input_types(inputs: Iterable[Input], late: Container[str]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """The inputs as ComfyUI wants them; late: widgets that a graph may lack."""
    sections: dict[str, dict[str, tuple[Any, ...]]] = {"required": {}, "optional": {}}
    for given in sorted(inputs, key=lambda given: given.optional):
        section = "optional" if given.optional or given.name in late else "required"
        sections[section][given.name] = _spec(given)
    return {name: section for name, section in sections.items() if section or name == "required"}


def make(node: str, signature: Signature, behaviour: Behaviour, pack: str = IPADAPTER_PLUS) -> type:
    """The class of an old node, of one of PACKS."""
    inputs = (*signature.inputs, *((_NUMBERS,) if behaviour.has_numbers else ()))
    by_name = {given.name: given for given in inputs}
    arguments = behaviour.arguments or tuple(by_name)

    def run(self: Any, *args: Any, **given: Any) -> tuple[Any, ...]:
        with legible_errors():
            values = dict(zip(arguments, args, strict=False)) | given
            return behaviour.run(**checks.complete(by_name, values, arguments))

    def changed(cls: type, **given: Any) -> Any:
        return checks.fingerprint(by_name, given)

    return type(
        node,
        (),
        {
            "__doc__": _ABOUT.format(pack),
            "DESCRIPTION": _ABOUT.format(pack),
            "CATEGORY": f"IP-Adapter/{pack}",
            "DEPRECATED": True,
            "FUNCTION": behaviour.method,
            "OUTPUT_NODE": signature.saves,
            "RETURN_TYPES": tuple(output.type for output in signature.outputs),
            "RETURN_NAMES": tuple(output.name for output in signature.outputs),
            "INPUT_TYPES": classmethod(lambda cls: _input_types(inputs, signature.late)),
            "IS_CHANGED": classmethod(changed),
            behaviour.method: run,
            **_validation(inputs),
        },
    )


def _validation(inputs: Iterable[Input]) -> dict[str, Any]:
    """What ComfyUI asks a node with a menu of files about the file before a graph runs, and nothing of others.

    One question, as it says the answer once for every argument.
    """
    spec = next((given for given in inputs if given.of_files), None)
    if spec is None:
        return {}

    def validate_file(cls: type, **given: Any) -> bool | str:
        return checks.complaint_of_file(spec, given.get(spec.name)) or True

    asked = (inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("cls", spec.name))
    validate_file.__signature__ = inspect.Signature(tuple(asked))  # type: ignore[attr-defined]
    return {"VALIDATE_INPUTS": classmethod(validate_file)}


class OldNodes(NamedTuple):
    """The nodes of another pack: a row of OLD_NODES.

    classes: by id. names: what people see, by id.
    """

    classes: dict[str, type]
    names: dict[str, str]


def _made(pack: str, signatures: Mapping[str, Signature], behaviours: Mapping[str, Behaviour]) -> OldNodes:
    return OldNodes(
        {node: make(node, signature, behaviours[node], pack) for node, signature in signatures.items()},
        {node: signature.name for node, signature in signatures.items()},
    )


OLD_NODES: dict[str, OldNodes] = {
    IPADAPTER_PLUS: _made(IPADAPTER_PLUS, SIGNATURES | OTHER_SHAPES, BEHAVIOURS),
    INSTANTID: _made(INSTANTID, instantid.SIGNATURES, OF_INSTANTID),
}
"""By the name of the pack."""

CLASSES, NAMES = OLD_NODES[IPADAPTER_PLUS]
