"""What all nodes of this package have in common: they look at what they are given first, and what they say can be
written down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from comfy_api.latest import io, ui

from ..ip_adapter_core.text.wording import brief, legible, shown
from . import given

_LONGEST = 6000  # letters of a message; those that list the files of a full folder come near it


class Node(io.ComfyNode):
    """Base of every node: what its subclasses define of `execute` and `validate_inputs` runs behind these checks.

    Optional inputs that are null hold each method's own default. Messages, also those of other packages, are such that
    they can be written in UTF-8: ComfyUI's worker ends for good, while prompts go on queueing, where its log fails.
    """

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name, guard in _GUARDS.items():
            method = vars(cls).get(name)
            if method is not None and not hasattr(method.__func__, "__wrapped__"):  # ComfyUI copies classes as they run
                setattr(cls, name, classmethod(guard(cls, method.__func__)))


def _executing(owner: type[io.ComfyNode], method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)
    judges = vars(owner).get("validate_inputs")
    judged = set(inspect.signature(judges.__func__).parameters) if judges else set()

    @wraps(method)
    def execute(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> io.NodeOutput:
        with _legible():
            values = _named(signature, cls, args, kwargs)
            inputs = {wanted.id: wanted for wanted in (owner.SCHEMA or owner.GET_SCHEMA()).inputs}
            values = given.filled(inputs, values)
            given.check(inputs, values)
            given.check_choices(owner.define_schema, inputs, {k: v for k, v in values.items() if k not in judged})
            return _shown(method(cls, **values))

    return execute


def _validating(owner: type[io.ComfyNode], method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @wraps(method)
    def validate_inputs(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> bool | str:
        with _legible():
            inputs = {wanted.id: wanted for wanted in (owner.SCHEMA or owner.GET_SCHEMA()).inputs}
            values = given.filled(inputs, _named(signature, cls, args, kwargs))
            wired = {name for name, value in values.items() if value is None}
            said = given.complaint(inputs, {name: values[name] for name in values.keys() - wired})
            said = said or method(cls, **values)
        return shown(brief(said), _LONGEST) if isinstance(said, str) else said

    # ComfyUI reads from it which inputs it leaves to us.
    validate_inputs.__signature__ = signature  # type: ignore[attr-defined]
    return validate_inputs


def _marking(owner: type[io.ComfyNode], method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def fingerprint_inputs(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> Any:
        with _legible():
            return method(cls, *args, **kwargs)

    return fingerprint_inputs


_GUARDS: dict[str, Callable[[type[io.ComfyNode], Callable[..., Any]], Callable[..., Any]]] = {
    "execute": _executing,
    "validate_inputs": _validating,
    "fingerprint_inputs": _marking,
}
"""By the name of a method, what stands around it."""


def _named(
    signature: inspect.Signature, cls: type[io.ComfyNode], args: tuple[Any, ...], kwargs: given.Given
) -> given.Given:
    """The arguments of a call by name; None for those that it lacks and that have no default."""
    own, *parameters = signature.parameters.values()
    values = dict(signature.bind_partial(cls, *args, **kwargs).arguments)
    del values[own.name]
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            values |= values.pop(parameter.name, {})
        elif parameter.default is parameter.empty:
            values.setdefault(parameter.name, None)
    return values


@contextmanager
def _legible() -> Iterator[None]:
    """Errors of the system as sentences, and no error with a message, or a cause, that cannot be written."""
    try:
        yield
    except Exception as error:
        texts = list(_messages(error))
        told = shown(brief(_sentence(error)), _LONGEST)
        writable = texts == list(map(legible, texts))
        if writable and told == texts[0]:
            raise
        kind = ValueError if isinstance(error, ValueError | OSError) else RuntimeError
        raise kind(told) from (error if writable else None)


def _messages(error: BaseException | None) -> Iterator[str]:
    """Of an error and of all behind it, which ComfyUI logs too."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"Check {shown(error.filename or 'the disk')}: the system says “{error.strerror}”."
    return str(error)


def _shown(output: io.NodeOutput) -> io.NodeOutput:
    """The output with a text for the node to show that can be written."""
    if isinstance(output.ui, ui.PreviewText):
        output.ui.value = legible(output.ui.value)
    elif isinstance(output.ui, dict) and "text" in output.ui:
        output.ui = output.ui | {"text": tuple(map(legible, output.ui["text"]))}
    return output
