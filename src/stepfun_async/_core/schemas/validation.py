"""Validation by pydantic, with the rules of the tables and each problem as an error of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError

from ..capabilities import Capability
from ..data_uris import is_data_uri
from ..image_rules import ImageInput, Style
from ..input_images import names_link
from ..problems import Problem, plain, show
from ..registry import rows
from ..rules import Rule
from ..text import escaped
from .rows import PURPOSES, request_schema
from .rules import Form, Schema
from .serialization import json_value

if TYPE_CHECKING:
    from ..requests import ImageRequest

_SENT = Form(images="sent")

_NO_PATHS = "text that is validated may come from another machine, so that it names no file here: give pathlib.Path"

_LONGEST_INPUT = 1000
"""Characters of a value that an error repeats in full."""


def json_schema_of(kind: type[ImageRequest]) -> Schema:
    """Return the JSON Schema of a request class as it is now: of all models for its operation, registered ones too."""
    one = row_of_type(kind)
    if one is not None:
        return {**request_schema(one, _SENT), "title": kind.__name__}
    usual = kind.model_fields["model"].default
    models = [row for row in rows() if row.operation == kind.operation]
    branches = [request_schema(row, _SENT) for row in models]
    for row, branch in zip(models, branches, strict=True):
        if row.model != usual:
            del branch["properties"]["model"]["default"]
            branch["required"] = ["model", *branch["required"]]
    return {"title": kind.__name__, "description": PURPOSES[kind.operation], "type": "object", "anyOf": branches}


def validated(kind: type[ImageRequest], value: object) -> ImageRequest:
    """Return the request that `value` is, a mapping of fields or an instance of `kind`.

    Text that stands for an image is a data URI or a link here, never the path of a file of this machine, since what
    is validated may come from another one.

    Raises:
        PydanticKnownError: it is neither.
        ValidationError: the request has problems.
    """
    if isinstance(value, kind):
        raise_problems(kind, value)
        return value
    fields = _fields_of(value)
    if fields is None:
        raise PydanticKnownError("model_type", {"class_name": kind.__name__})
    request = _unjudged(kind, fields)
    raise_problems(kind, request, tuple(_paths(request)))
    return request


def _unjudged(kind: type[ImageRequest], fields: dict[str, Any]) -> ImageRequest:
    """Return a request with any values. The constructors of `request_type` would check them, and read paths."""
    from ..requests import REQUESTS

    made: Any = kind
    request: ImageRequest = made.__new__(made)
    build: Any = REQUESTS[kind.operation].__init__
    build(request, **fields)
    return request


def _fields_of(value: object) -> dict[str, Any] | None:
    if not isinstance(value, Mapping):
        return None
    fields = dict(cast("Mapping[object, object]", value))
    return cast("dict[str, Any]", fields) if all(type(name) is str for name in fields) else None


def _paths(request: ImageRequest) -> Iterator[Problem]:
    """Yield a problem for each image that is text, but neither a data URI nor a link."""
    rules: Mapping[str, Rule] = request.row.rules if request.row else {}
    given = request.given()
    yield from _path("image", given.get("image"), rules.get("image"))
    style, rule = given.get("style_reference"), rules.get("style_reference")
    if isinstance(style, Mapping) and isinstance(rule, Style):
        source = cast("Mapping[str, object]", style).get("source_url")
        yield from _path("style_reference.source_url", source, rule.image)


def _path(field: str, given: object, rule: Rule | None) -> Iterator[Problem]:
    if isinstance(given, str) and isinstance(rule, ImageInput) and not (is_data_uri(given) or names_link(given)):
        allowed = "a data URI, or a link" if rule.links else "a data URI"
        yield Problem(field, plain(given), allowed, _NO_PATHS)


def raise_problems(kind: type[ImageRequest], request: ImageRequest, known: tuple[Problem, ...] = ()) -> None:
    """Raise the problems of a request, each at its field.

    Args:
        kind: the class that it is to be of.
        request: the request.
        known: problems already found, whose fields are not checked again.

    Raises:
        ValidationError: there is a problem.
    """
    named = {problem.field.partition(".")[0] for problem in known}
    row = row_of_type(kind)
    other = tuple(_other_model(row, request))
    changed = dict.fromkeys(named) | ({"model": row.model} if row and other else {})
    left = request.model_copy(update=changed) if changed else request
    found = (problem for problem in left.problems() if problem.field not in named)
    problems = (*other, *known, *found)
    if problems:
        raise ValidationError.from_exception_data(kind.__name__, [_error_of(problem) for problem in problems])


def _other_model(row: Capability | None, request: ImageRequest) -> Iterator[Problem]:
    """Yield a problem if there is a row for one model, and the request is for another one."""
    if row is not None and request.model != row.model:
        yield Problem("model", plain(request.model), f"only {row.model!r}", "", row.model)


def row_of_type(kind: type[ImageRequest]) -> Capability | None:
    """Return the row that a class of `request_type` is made from; `None` for the classes of all models."""
    row: object = kind.row
    return row if isinstance(row, Capability) else None


def _error_of(problem: Problem) -> InitErrorDetails:
    # The sentence comes last, so that nothing in it is taken for the name of another value.
    facts = {"allowed": problem.allowed, "nearest": json_value(problem.nearest), "problem": _sentence(problem)}
    return InitErrorDetails(
        type=PydanticCustomError("invalid_parameter", "{problem}", facts), loc=_place(problem), input=_input(problem)
    )


def _sentence(problem: Problem) -> str:
    return str(problem).removeprefix(f"{escaped(problem.field)}: ")


def _place(problem: Problem) -> tuple[str | int, ...]:
    outer, _, inner = problem.field.partition(".")
    return (outer, inner) if outer == "style_reference" and inner else (problem.field,)


def _input(problem: Problem) -> object:
    """Return the value of a problem as errors repeat it: cut where it is long, as an image in base64 is."""
    given = problem.given
    return show(given) if isinstance(given, str) and len(given) > _LONGEST_INPUT else given
