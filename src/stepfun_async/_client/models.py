"""`client.models` and `client.account`: what the server lists, and the account behind the key."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar, Unpack
from urllib.parse import quote

from .._call.caller import Caller
from .._call.options import Options
from .._core.errors import InvalidRequestError, StepFunError
from .._core.keywords import unknown_keywords
from .._core.problems import Problem
from .._core.responses import HintOf, parse_account, parse_model, parse_models
from .._core.results import Account, Model
from .._runtime.tracebacks import without_frames
from .signatures import shown

if TYPE_CHECKING:
    from .._core.params import Nothing
    from .._core.wire import HTTPResponse

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Parse(Protocol[T_co]):
    """Makes a value of a response."""

    def __call__(self, response: HTTPResponse, *, now: float, hint_of: HintOf | None = None) -> T_co: ...


async def _fetched(service: Caller, operation: str, path: str, parse: Parse[T], timeout: float | None) -> T:
    read = partial(parse, now=time.time(), hint_of=partial(service.config.hint, operation))
    try:
        return await service.fetch(operation, path, read, Options(timeout=timeout))
    except StepFunError as error:
        raise without_frames(error) from error.__cause__


class AsyncModels:
    """The server's models."""

    def __init__(self, service: Caller) -> None:
        self._service = service

    @shown
    async def list(self, *, timeout: float | None = None, **unknown: Unpack[Nothing]) -> tuple[Model, ...]:
        """List the models of the server.

        Args:
            timeout: seconds for the whole call; `None` for the client's.

        Returns:
            The models, in the server's order.

        Raises:
            APIError: there was no usable response.
        """
        if unknown:
            raise unknown_keywords("models.list()", unknown, ("timeout",))
        return await _fetched(self._service, "models", "/models", parse_models, timeout)

    @shown
    async def retrieve(self, model: str, *, timeout: float | None = None, **unknown: Unpack[Nothing]) -> Model:
        """Return one model.

        Args:
            model: its name.
            timeout: seconds for the whole call; `None` for the client's.

        Returns:
            The model as the server describes it.

        Raises:
            InvalidRequestError: `model` is not a valid name; nothing was sent.
            NotFoundError: the server has no such model.
            APIError: there was no usable response.
        """
        if unknown:
            raise unknown_keywords("models.retrieve()", unknown, ("model", "timeout"))
        return await _fetched(self._service, "models", f"/models/{_name(model)}", parse_model, timeout)


class AsyncAccount:
    """The account behind the key."""

    def __init__(self, service: Caller) -> None:
        self._service = service

    @shown
    async def retrieve(self, *, timeout: float | None = None, **unknown: Unpack[Nothing]) -> Account:
        """Return the account and its balance.

        Args:
            timeout: seconds for the whole call; `None` for the client's.

        Returns:
            The account, in the currency of its region.

        Raises:
            APIError: there was no usable response.
        """
        if unknown:
            raise unknown_keywords("account.retrieve()", unknown, ("timeout",))
        return await _fetched(self._service, "account", "/accounts", parse_account, timeout)


def _name(model: object) -> str:
    if not isinstance(model, str) or not model.strip("./") or not model.isprintable():
        raise InvalidRequestError.of("models.retrieve", (Problem("model", model, "the name of a model"),))
    return quote(model, safe="")
