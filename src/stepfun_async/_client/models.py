"""`client.models` and `client.account`: what the server lists, and the account behind the key."""

from __future__ import annotations

import time
from functools import partial
from typing import Any
from urllib.parse import quote

from .._call.options import Options
from .._call.service import Caller
from .._core.answers import parse_account, parse_model, parse_models
from .._core.errors import InvalidRequestError
from .._core.problems import Problem
from .._core.results import Account, Model


class ModelMethods:
    """The server's models."""

    def list(self, *args: Any, **options: Any) -> Any:
        """List the models of the server.

        Args:
            timeout: seconds for the whole call; by default the client's.

        Raises:
            APIError: there was no usable response.
        """

    def retrieve(self, *args: Any, **options: Any) -> Any:
        """Return one model.

        Args:
            model: its name.
            timeout: seconds for the whole call; by default the client's.

        Raises:
            InvalidRequestError: `model` is not a valid name; nothing was sent.
            NotFoundError: the server has no such model.
            APIError: there was no usable response.
        """


class AsyncModels(ModelMethods):
    """The server's models."""

    def __init__(self, service: Caller) -> None:
        self._service = service

    async def list(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        return await self._service.fetch(
            "models", "/models", partial(parse_models, now=time.time()), Options(timeout=timeout)
        )

    async def retrieve(self, model: str, *, timeout: float | None = None) -> Model:
        path = f"/models/{_name(model)}"
        return await self._service.fetch(
            "models", path, partial(parse_model, now=time.time()), Options(timeout=timeout)
        )


class AccountMethods:
    """The account behind the key."""

    def retrieve(self, *args: Any, **options: Any) -> Any:
        """Return the account and its balance.

        Args:
            timeout: seconds for the whole call; by default the client's.

        Raises:
            APIError: there was no usable response.
        """


class AsyncAccount(AccountMethods):
    """The account behind the key."""

    def __init__(self, service: Caller) -> None:
        self._service = service

    async def retrieve(self, *, timeout: float | None = None) -> Account:
        return await self._service.fetch(
            "account", "/accounts", partial(parse_account, now=time.time()), Options(timeout=timeout)
        )


def _name(model: object) -> str:
    if not isinstance(model, str) or not model.strip("./") or not model.isprintable():
        raise InvalidRequestError.of("models.retrieve", (Problem("model", model, "the name of a model"),))
    return quote(model, safe="")
