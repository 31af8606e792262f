"""Signatures of the public methods, as editors, notebooks and documentation show them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from .._call.settings import hidden_headers
from .._core.errors import StepFunError
from .._core.keywords import unknown_keywords
from .._runtime.tracebacks import without_frames

if TYPE_CHECKING:
    from .._call.blocking import BlockingCaller

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
T = TypeVar("T")

UNKNOWN = "unknown"
"""The name of the parameter that collects keywords which a method does not have."""


def shown(method: F) -> F:
    """Leave what collects unknown keywords out of the signature that is shown at run time."""
    signature = inspect.signature(method)
    kept = [parameter for parameter in signature.parameters.values() if parameter.name != UNKNOWN]
    method.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return method


def parameters_of(method: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a method's parameters, without `self`."""
    return tuple(inspect.signature(method).parameters)[1:]


def blocking(
    method: Callable[Concatenate[Any, P], Awaitable[T]],
) -> Callable[[Callable[..., Any]], Callable[Concatenate[Any, P], T]]:
    """Make a method of a sync client out of the async client's: with its signature, and without `await`.

    The function that is decorated gives its name and its documentation, which editors read there.

    Args:
        method: a method of the group that the sync client's group has as `_methods`.
    """
    signature = inspect.signature(method)
    names = signature.parameters.keys()

    def decorate(function: Callable[..., Any]) -> Callable[Concatenate[Any, P], T]:
        @functools.wraps(function)
        def call(self: Any, *args: Any, **options: Any) -> T:
            if not options.keys() <= names:
                unknown = [name for name in options if name not in names]
                raise unknown_keywords(_called(self, function), unknown, parameters_of(method))
            if "extra_headers" in options:
                options["extra_headers"] = hidden_headers(options["extra_headers"])
            bridge: BlockingCaller = self._bridge
            try:
                return bridge.run(method, self._methods, *args, **options)
            except StepFunError as error:
                raise without_frames(error) from error.__cause__
            except TypeError:
                _check_arguments(signature, _called(self, function), self, *args, **options)
                raise

        call.__signature__ = signature  # type: ignore[attr-defined]
        return cast("Callable[Concatenate[Any, P], T]", call)

    return decorate


def _check_arguments(signature: inspect.Signature, called: str, *args: Any, **options: Any) -> None:
    """Raise TypeError, with the name of the method, if the signature does not take these arguments."""
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise TypeError(f"{called}: {error}") from None


def _called(group: object, function: Callable[..., Any]) -> str:
    """Return how users write the method of a group."""
    return f"{type(group).__name__.removesuffix('Of').lower()}.{function.__name__}()"
