"""The base of all nodes: it checks inputs before a node runs, and keeps messages such that they can be logged."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from comfy_api.latest import io, ui

from ..ip_adapter_core.text.wording import brief, legible, shown
from . import input_checks

_MAX_MESSAGE = 6000  # letters of a message; those that list the files of a full folder come near it


class Node(io.ComfyNode):
    """Base of every node: what its subclasses define of `execute` and `validate_inputs` runs behind these checks.

    Optional inputs that are null hold each method's own default. `execute` of a node that takes lists is given rows:
    the inputs by name, for each entry of the longest list. Messages, also those of other packages, are such that
    they can be written in UTF-8: ComfyUI's worker ends for good, while prompts go on queueing, where its log fails.
    """

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name, guard in _GUARDS.items():
            method = vars(cls).get(name)
            if method is not None and not hasattr(method.__func__, "__wrapped__"):  # ComfyUI copies classes as they run
                setattr(cls, name, classmethod(guard(cls, method.__func__)))


def _guard_execute(owner: type[io.ComfyNode], method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)
    validate = vars(owner).get("validate_inputs")
    validated = set(inspect.signature(validate.__func__).parameters) if validate else set()

    @wraps(method)
    def execute(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> io.NodeOutput:
        with legible_errors():
            about = owner.SCHEMA or owner.GET_SCHEMA()
            inputs = {spec.id: spec for spec in about.inputs}

            def checked(values: input_checks.Values) -> input_checks.Values:
                values = input_checks.without_empty(inputs, values)
                input_checks.check(inputs, values)
                others = {name: value for name, value in values.items() if name not in validated}
                input_checks.check_choices(owner.define_schema, inputs, others)
                return values

            if about.is_input_list:
                return _with_legible_text(method(cls, [checked(row) for row in input_checks.rows(inputs, kwargs)]))
            return _with_legible_text(method(cls, **checked(_bind(signature, cls, args, kwargs))))

    return execute


def _guard_validate(owner: type[io.ComfyNode], method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @wraps(method)
    def validate_inputs(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> bool | str:
        with legible_errors():
            inputs = {spec.id: spec for spec in (owner.SCHEMA or owner.GET_SCHEMA()).inputs}
            values = input_checks.without_empty(inputs, _bind(signature, cls, args, kwargs))
            wired = {name for name, value in values.items() if value is None}
            answer = input_checks.complaint(inputs, {name: values[name] for name in values.keys() - wired})
            answer = answer or method(cls, **values)
        return shown(brief(answer), _MAX_MESSAGE) if isinstance(answer, str) else answer

    # ComfyUI reads from it which inputs it leaves to us.
    validate_inputs.__signature__ = signature  # type: ignore[attr-defined]
    return validate_inputs


def _guard_fingerprint(owner: type[io.ComfyNode], method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def fingerprint_inputs(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> Any:
        with legible_errors():
            return method(cls, *args, **kwargs)

    return fingerprint_inputs


_GUARDS: dict[str, Callable[[type[io.ComfyNode], Callable[..., Any]], Callable[..., Any]]] = {
    "execute": _guard_execute,
    "validate_inputs": _guard_validate,
    "fingerprint_inputs": _guard_fingerprint,
}
"""Name of a method of a node -> what puts the checks around it."""


def _bind(
    signature: inspect.Signature, cls: type[io.ComfyNode], args: tuple[Any, ...], kwargs: input_checks.Values
) -> input_checks.Values:
    """The arguments of a call by name; None for those that it lacks and that have no default."""
    of_class, *parameters = signature.parameters.values()
    values = dict(signature.bind_partial(cls, *args, **kwargs).arguments)
    del values[of_class.name]
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            values |= values.pop(parameter.name, {})
        elif parameter.default is parameter.empty:
            values.setdefault(parameter.name, None)
    return values


@contextmanager
def legible_errors() -> Iterator[None]:
    """Turns errors of the system into sentences, and lets no message or cause pass that cannot be written."""
    try:
        yield
    except Exception as error:
        texts = list(_messages(error))
        message = shown(brief(_sentence(error)), _MAX_MESSAGE)
        writable = texts == list(map(legible, texts))
        if writable and message == texts[0]:
            raise
        kind = ValueError if isinstance(error, ValueError | OSError) else RuntimeError
        raise kind(message) from (error if writable else None)


def _messages(error: BaseException | None) -> Iterator[str]:
    """The messages of an error and of all errors behind it, which ComfyUI logs too."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"Check {shown(error.filename or 'the disk')}: the system says “{error.strerror}”."
    return str(error)


def _with_legible_text(output: io.NodeOutput) -> io.NodeOutput:
    """The output with a text for the node to show that can be written."""
    if isinstance(output.ui, ui.PreviewText):
        output.ui.value = legible(output.ui.value)
    elif isinstance(output.ui, dict) and "text" in output.ui:
        output.ui = output.ui | {"text": tuple(map(legible, output.ui["text"]))}
    return output
