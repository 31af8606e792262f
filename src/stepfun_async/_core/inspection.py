"""Inspection of a server by free requests: which profile fits it, and which endpoints and models it has.

`PROBES` are GETs only. A server that has an endpoint for POST answers 405, or refuses the key; one without it, 404.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .capabilities import ENDPOINTS, Operation
from .profiles import Server
from .registry import rows
from .servers import DEFAULT_SERVER, find_server
from .text import escaped
from .wire import HTTPResponse

MODELS, ACCOUNT = "/models", "/accounts"

PROBES: tuple[str, ...] = (MODELS, ACCOUNT, *(endpoint.path for endpoint in ENDPOINTS.values()))
"""The paths to GET, below the base URL."""

Responses = Mapping[str, HTTPResponse]
"""The response to each of `PROBES`."""

_MOST_MODELS = 10
"""The maximum number of model names in the text of a report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """The findings from a server's responses to free requests.

    Attributes:
        base_url: where it stands.
        server: the profile that fits it.
        sign: what shows that, in words; empty if nothing does, and the profile is that of any address.
        configured: the profile that the client has.
        models: the names of the models that it lists.
        operations: for each operation, whether the server has it; `None` if its responses do not show that.
        has_account: whether it shows the account behind the key.
        refused_key: whether it refuses the key, or wants one.
    """

    base_url: str
    server: Server
    sign: str
    configured: Server
    models: tuple[str, ...]
    operations: Mapping[Operation, bool | None]
    has_account: bool
    refused_key: bool

    @property
    def fits(self) -> bool:
        """Whether the client has the profile that fits, or no response speaks for another."""
        return not self.sign or self.server.name == self.configured.name

    def __str__(self) -> str:
        """The report for people."""
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The report for people, a line for each fact."""
        yield f"{self.base_url}: {self.server.name}, {self.server.title}"
        yield from (f"{name + ':':<16}{text}" for name, text in self._facts())

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "shown by", self.sign or "nothing; this is the profile of every address that is not known"
        yield "models", self._named_models()
        yield from ((operation, self._about(operation)) for operation in ENDPOINTS)
        yield "account", "shown" if self.has_account else "not shown"
        if self.refused_key:
            yield "key", "refused, or missing; with a valid one, more may be shown"
        if self.is_empty:
            yield "hint", "none of the API's paths is below this address; most base URLs end in /v1"
            return
        yield from (("note", note) for note in self.server.notes)
        yield from (("to use it", line) for line in self.code)

    @property
    def is_empty(self) -> bool:
        """Whether none of the API's paths is below the base URL."""
        return not (self.models or self.has_account) and set(self.operations.values()) == {False}

    @property
    def code(self) -> tuple[str, ...]:
        """The lines of Python that make a client for it, and register a model of its own."""
        named = f", server={self.server.name!r}"
        client = f"Client(base_url={self.base_url!r}{named if self.sign and not self.server.native else ''})"
        opened = self.unknown_models[:1] if self.server.open_rows("") else ()
        return (client, *(f"register_model({model!r}{named})" for model in opened))

    @property
    def unknown_models(self) -> tuple[str, ...]:
        """The models that it lists and the tables do not have."""
        known = {row.model for row in rows()}
        return tuple(model for model in self.models if model not in known)

    def _named_models(self) -> str:
        names = ", ".join(self.models[:_MOST_MODELS]) or "none listed"
        return names if len(self.models) <= _MOST_MODELS else f"{names} and {len(self.models) - _MOST_MODELS} more"

    def _about(self, operation: Operation) -> str:
        route = self.server.routes.get(operation)
        there = self.operations[operation]
        if route is not None and route.endpoint != ENDPOINTS[operation]:
            return f"sent to {route.endpoint.path}" if self._has(route.endpoint.path) is not False else "not there"
        if there is False or route is None:
            return "not there"
        return "there" if there else "not shown"

    def _has(self, path: str) -> bool | None:
        return next((self.operations[name] for name, endpoint in ENDPOINTS.items() if endpoint.path == path), None)


def report_of(responses: Responses, *, base_url: str, configured: Server, hosted: bool) -> ServerReport:
    """Return the findings from the responses to all of `PROBES`.

    Args:
        responses: the responses, by path.
        base_url: where the server stands.
        configured: the client's profile.
        hosted: whether it is one of StepFun's own hosts.
    """
    models = _models(responses[MODELS])
    found = ("stepfun", "its address") if hosted else _recognized(responses, models)
    known = found is not None or configured.name != DEFAULT_SERVER.name
    server = find_server(found[0]) if found else configured
    return ServerReport(
        base_url=base_url,
        server=server,
        sign=found[1] if found else ("the client's settings" if known else ""),
        configured=configured,
        models=tuple(escaped(name) for model in models if isinstance(name := model.get("id"), str)),
        operations={operation: _has(responses[endpoint.path], server) for operation, endpoint in ENDPOINTS.items()},
        has_account=responses[ACCOUNT].status == 200,
        refused_key=responses[MODELS].status in (401, 403),
    )


@dataclass(frozen=True, slots=True)
class _Sign:
    """A sign of a kind of server.

    Attributes:
        server: the profile's name.
        words: what is seen.
        shows: whether the responses, of which the second argument has the models, show it.
    """

    server: str
    words: str
    shows: Callable[[Responses, Sequence[Mapping[str, Any]]], bool]


def _owned_by(name: str) -> Callable[[Responses, Sequence[Mapping[str, Any]]], bool]:
    return lambda _, models: any(model.get("owned_by") == name for model in models)


def _litellm(responses: Responses, _: Sequence[Mapping[str, Any]]) -> bool:
    return any(name.startswith("x-litellm-") for response in responses.values() for name in response.headers)


def _placeholder(_: Responses, models: Sequence[Mapping[str, Any]]) -> bool:
    return bool(models) and all(model.get("created") == _LITELLM_CREATED for model in models)


def _own(responses: Responses, _: Sequence[Mapping[str, Any]]) -> bool:
    error = _json(responses[ENDPOINTS["image_to_image"].path]).get("error")
    return isinstance(error, dict) and cast("dict[str, object]", error).get("type") == "method_not_allowed"


_LITELLM_CREATED = 1677610602
"""The creation time of every model, as listed by LiteLLM (1.108.7)."""

_SIGNS = (
    _Sign("litellm", "headers that begin with x-litellm-", _litellm),
    _Sign("litellm", "the same time of creation for every model, LiteLLM's own", _placeholder),
    _Sign("sglang", "models owned by sglang", _owned_by("sglang")),
    _Sign("vllm-omni", "models owned by vllm", _owned_by("vllm")),
    _Sign("sd-server", "the model sd-cpp-local", lambda _, models: any(m.get("id") == "sd-cpp-local" for m in models)),
    _Sign("embedded", "the wording of its errors", _own),
)
"""The signs of each kind of server, the most certain first. Sources: as for the profiles."""


def _recognized(responses: Responses, models: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    return next(((sign.server, sign.words) for sign in _SIGNS if sign.shows(responses, models)), None)


def _has(response: HTTPResponse, server: Server) -> bool | None:
    """Whether a GET of an endpoint shows that it is there for POST."""
    if response.status in (405, 401, 403, 400, 422):
        return None if response.status in (401, 403) else True
    return None if server.name == "sd-server" or response.status != 404 else False  # which returns 404 for both


def _models(response: HTTPResponse) -> Sequence[Mapping[str, Any]]:
    items = _json(response).get("data") if response.status == 200 else None
    listed = cast("list[object]", items) if isinstance(items, list) else []
    return [cast("dict[str, Any]", item) for item in listed if isinstance(item, dict)]


def _json(response: HTTPResponse) -> Mapping[str, Any]:
    try:
        content: object = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}
