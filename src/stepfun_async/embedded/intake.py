"""What a call asks for, judged by the model tables, before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from stepfun_async._core.capabilities import ENDPOINTS, Capability, Operation
from stepfun_async._core.data_uris import decode_base64, is_data_uri
from stepfun_async._core.problems import Problem, show
from stepfun_async._core.registry import row_of
from stepfun_async._core.requests import REQUESTS, ImageRequest
from stepfun_async._core.rules import Photo, Real, Rule, Style, Whole
from stepfun_async._core.validation import Values
from stepfun_async._core.wire import Call, from_call, wire_name

Fetch = Callable[[str], bytes | None]
"""The bytes behind a link to one of the engine's own files; None for any other link."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that keeps to every rule: the model's row, and the parameters with pictures read."""

    row: Capability
    values: Values


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request is refused, in words."""

    why: str


def read(call: Call, fetch: Fetch, *, plan: bool) -> Asked | Refused:
    """What `call`, a POST to one of the picture endpoints, asks for.

    Args:
        call: the call, as it came over the wire.
        fetch: reads the engine's own links.
        plan: whether it came in through the Step Plan, which serves fewer models.
    """
    asked = from_call(call)
    if asked is None:
        return Refused(f"there is nothing at {call.path}")
    operation, values = asked
    if ENDPOINTS[operation].body == "json" and call.json is None:
        return Refused(f"{call.path} takes a JSON object: send it with content-type application/json")
    row = row_of(values.get("model"), operation)
    if row is not None and plan and not row.step_plan:
        return Refused(f"model: {row.model} is not part of the Step Plan")
    safe, unfetched = _harmless(row, values, fetch)
    request = REQUESTS[operation](**_complete(row, safe))
    problems = [*_stray_problems(values), *request.problems(), *unfetched]
    if problems or row is None:
        return Refused("; ".join(str(_named(operation, problem)) for problem in problems))
    return Asked(row, _whole(request, row))


def _complete(row: Capability | None, values: Mapping[str, object]) -> dict[str, Any]:
    """The parameters, with the server's defaults where the request value has others."""
    rule = row.rules.get("response_format") if row else None
    defaults = {"model": None, "response_format": rule.default if rule else None}
    given = {name: value for name, value in values.items() if value is not None and name not in _STRAY}
    return {**defaults, **given}


_STRAY = frozenset({"extra_body"})
"""Fields of the request values that do not exist on the wire."""


def _stray_problems(values: Mapping[str, object]) -> list[Problem]:
    why = "no such parameter; what the SDK takes as extra_body is sent beside the others"
    return [Problem(name, show(values[name]), "", why) for name in _STRAY if name in values]


def _whole(request: ImageRequest, row: Capability) -> Values:
    defaults = {name: rule.default for name, rule in row.rules.items() if rule.default is not None}
    return {**defaults, **{name: _number(row.rules.get(name), value) for name, value in request.values().items()}}


def _number(rule: Rule | None, value: object) -> object:
    """A number of the type that its rule has: JSON may write a seed as 5.0."""
    return rule.to_wire(value) if isinstance(rule, Whole | Real) else value


def _named(operation: Operation, problem: Problem) -> Problem:
    return replace(problem, field=wire_name(operation, problem.field))


# --- pictures from the wire ---------------------------------------------------------------------


def _harmless(
    row: Capability | None, values: Mapping[str, object], fetch: Fetch
) -> tuple[dict[str, object], list[Problem]]:
    """The parameters with pictures as bytes, so that no text of a caller is ever taken for a path."""
    rules: Mapping[str, Rule] = row.rules if row else {}
    safe = dict(values)
    problems: list[Problem] = []
    if "image" in values:
        safe["image"] = _picture(values["image"], rules.get("image"), fetch)
        problems += _unfetched("image", safe["image"], rules.get("image"))
    style = values.get("style_reference")
    if isinstance(style, Mapping) and "source_url" in style:
        style = cast("Mapping[str, object]", style)
        rule = rules.get("style_reference")
        photo = rule.picture if isinstance(rule, Style) else None
        picture = _picture(style["source_url"], photo, fetch)
        safe["style_reference"] = {**style, "source_url": picture}
        problems += _unfetched("style_reference.source_url", picture, photo)
    return safe, problems


def _picture(value: object, rule: Rule | None, fetch: Fetch) -> object:
    """What may be looked at: bytes, a data URI or a link."""
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        return str(value).encode("utf-8", "replace")
    if is_data_uri(value):
        return value
    if value[:8].lower().startswith(("http://", "https://")):
        own = fetch(value) if isinstance(rule, Photo) and rule.links else None
        return value if own is None else own
    return _from_base64(value)


def _from_base64(text: str) -> bytes:
    try:
        return decode_base64(text)
    except ValueError:
        return text.encode("utf-8", "replace")  # no picture begins like text, so the rule refuses it


def _unfetched(field: str, value: object, rule: Rule | None) -> list[Problem]:
    is_link = isinstance(value, str) and value[:4].lower() == "http"
    if not is_link or not (isinstance(rule, Photo) and rule.links):
        return []
    why = "the picture cannot be fetched: the embedded engine has no network"
    return [Problem(field, value, "a data URI, or a link to a picture of this engine", why)]
