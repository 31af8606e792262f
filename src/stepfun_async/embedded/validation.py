"""Validate a call against the model tables before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from stepfun_async._core.capabilities import ENDPOINTS, Capability, Operation
from stepfun_async._core.data_uris import decode_base64, is_data_uri
from stepfun_async._core.image_rules import ImageInput, Style
from stepfun_async._core.parameters import ImageCache, open_images
from stepfun_async._core.problems import Problem, plain
from stepfun_async._core.rules import Integer, Number, Rule, closest
from stepfun_async._core.size_rules import AnySize, Sizes
from stepfun_async._core.sizes import Size
from stepfun_async._core.validation import Values, convert
from stepfun_async._core.wire import HTTPRequest, from_call

from .wording import in_wire_words

Fetch = Callable[[str], bytes | None]
"""Returns the bytes behind a link to one of the engine's own files; `None` for any other link."""


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A valid request: the model's row, and the parameters with images read.

    Attributes:
        row: the model's.
        values: the parameters.
        ignored: parameters that the model does not have and that were left out, as given.
    """

    row: Capability
    values: Values
    ignored: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected request, with the reason."""

    why: str


MEANINGLESS: Mapping[str, frozenset[object] | None] = MappingProxyType(
    {
        "n": frozenset({1, "1"}),
        "drop_params": None,
        "stream": frozenset({False, "false"}),
        "partial_images": frozenset({0, "0"}),
        **dict.fromkeys(("quality", "style", "user", "background", "moderation", "output_format")),
        **dict.fromkeys(("output_compression", "input_fidelity")),
    }
)
"""Parameters that clients of OpenAI's API send with every call, or gateways add, and StepFun does not document. They
may be left out for these values; `None` for any value. LiteLLM 1.110.2 adds `drop_params=true` to forms.
"""


def read(
    call: HTTPRequest, fetch: Fetch, served: Collection[Capability], *, plan: bool, strict: bool = True
) -> ParsedRequest | Rejection:
    """Parse `call`, a POST to one of the image endpoints.

    Args:
        call: the HTTP request, as received.
        fetch: reads the engine's own links.
        served: the rows of the models that the engine serves.
        plan: whether it used the Step Plan, which serves fewer models.
        strict: whether to reject the parameters that clients of OpenAI's API always send.
    """
    asked = from_call(call)
    if asked is None:
        return Rejection(f"there is nothing at {call.path}")
    operation, values = asked
    if ENDPOINTS[operation].body == "json" and call.json is None:
        return Rejection(f"{call.path} takes a JSON object: send it with content-type application/json")
    model = values.pop("model", None)
    row = next((row for row in served if row.operation == operation and row.model == model), None)
    if row is None:
        return Rejection(_not_served(model, operation, served))
    if plan and not row.step_plan:
        return Rejection(f"model: {row.model} is not part of the Step Plan")
    ignored = {} if strict else _meaningless(row, values)
    values = {name: value for name, value in values.items() if value is not None and name not in ignored}
    safe, unread = _harmless(row, values, fetch)
    unread += _size_problems(row, values)
    opened = open_images(safe, row, ImageCache())
    fields = {problem.field for problem in unread}
    judged = (problem for problem in convert(row, opened, safe)[1] if problem.field not in fields)
    problems = [*judged, *unread]
    if problems:
        said = (in_wire_words(operation, row, problem, _given(values, problem.field)) for problem in problems)
        return Rejection("; ".join(said))
    return ParsedRequest(row, _whole(opened, row), ignored)


def _not_served(model: object, operation: Operation, served: Collection[Capability]) -> str:
    """Return why there is no row for a model: it is missing or unknown, or lacks the operation."""
    able = tuple(row.model for row in served if row.operation == operation)
    others = sorted(row.operation for row in served if row.model == model)
    why = "there is no such model"
    if model is None:
        why = "is required"
    elif others:
        why = f"it has {' and '.join(others)}, not {operation}"
    nearest = closest(model, able)
    problem = Problem("model", plain(model), ", ".join(able), why, nearest)
    return in_wire_words(operation, None, problem, model)


def _given(values: Mapping[str, object], field: str) -> object:
    """Return the value of a problem's field in `values`; `None` if absent."""
    outer, _, inner = field.partition(".")
    value = values.get(outer)
    return cast("Mapping[str, object]", value).get(inner) if inner and isinstance(value, Mapping) else value


def _meaningless(row: Capability, values: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters that clients of OpenAI's API always send and the model does not have."""
    return {
        name: value
        for name, value in values.items()
        if name in MEANINGLESS and name not in row.rules and _may_go(MEANINGLESS[name], value)
    }


def _may_go(meaningless: frozenset[object] | None, value: object) -> bool:
    if meaningless is None:
        return True
    # False equals 0 in Python, and is another value in JSON.
    return any(isinstance(value, bool) is isinstance(known, bool) and value == known for known in meaningless)


def _size_problems(row: Capability, values: Mapping[str, object]) -> list[Problem]:
    """Return what is wrong with a size that the SDK takes and StepFun does not: a ratio, or an object."""
    rule, value = row.rules.get("size"), values.get("size")
    if not isinstance(rule, Sizes | AnySize) or value is None or rule.judge(value) is not None:
        return []
    if isinstance(value, str) and Size.from_wire(value, rule.order) is not None:
        return []
    return [Problem("size", plain(value), rule.wire_allowed, "", rule.to_wire(value))]


def _whole(values: Values, row: Capability) -> Values:
    """Return the parameters with the server's defaults."""
    defaults = {name: rule.default for name, rule in row.rules.items() if rule.default is not None}
    return {**defaults, **{name: _number(row.rules.get(name), value) for name, value in values.items()}}


def _number(rule: Rule | None, value: object) -> object:
    """Convert a number to the type of its rule: JSON may write a seed as 5.0."""
    return rule.to_wire(value) if isinstance(rule, Integer | Number) else value


# --- images from the wire ---------------------------------------------------------------------


def _harmless(row: Capability, values: Mapping[str, object], fetch: Fetch) -> tuple[dict[str, object], list[Problem]]:
    """Return the parameters with images as bytes, so that no text of a caller is ever used as a path."""
    rules = row.rules
    safe = dict(values)
    problems: list[Problem] = []
    if "image" in values:
        safe["image"] = _load_image(values["image"], rules.get("image"), fetch)
        problems += _unread("image", safe["image"], rules.get("image"))
    style = values.get("style_reference")
    if isinstance(style, Mapping) and "source_url" in style:
        style = cast("Mapping[str, object]", style)
        rule = rules.get("style_reference")
        photo = rule.image if isinstance(rule, Style) else None
        image = _load_image(style["source_url"], photo, fetch)
        safe["style_reference"] = {**style, "source_url": image}
        problems += _unread("style_reference.source_url", image, photo)
    return safe, problems


def _load_image(value: object, rule: Rule | None, fetch: Fetch) -> object:
    """Return bytes, a data URI or a link as it is; `_unread` rejects any other text."""
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        return _NoImage(value)
    if is_data_uri(value):
        return value
    if _is_link(value):
        own = fetch(value) if isinstance(rule, ImageInput) and rule.links else None
        return value if own is None else own
    try:
        return decode_base64(value)
    except ValueError:
        return _NoImage(value)


class _NoImage:
    """A value sent instead of an image.

    Attributes:
        value: text, or another value of JSON.
    """

    def __init__(self, value: object) -> None:
        self.value = value


def _is_link(text: str) -> bool:
    return text[:8].lower().startswith(("http://", "https://"))


def _unread(field: str, value: object, rule: Rule | None) -> list[Problem]:
    links = isinstance(rule, ImageInput) and rule.links
    if isinstance(value, _NoImage):
        return [_not_an_image(field, value.value, rule, links=links)]
    if not links or not isinstance(value, str) or not _is_link(value):
        return []
    why = "the image cannot be fetched: the embedded engine has no network"
    return [Problem(field, value, "a data URI, or a link to an image of this engine", why)]


def _not_an_image(field: str, given: object, rule: Rule | None, *, links: bool) -> Problem:
    forms = "a link, a data URI or base64" if links else "a file, a data URI or base64"
    why = f"it is text, but not {forms}; a server cannot read your files" if isinstance(given, str) else f"not {forms}"
    return Problem(field, plain(given), rule.allowed if rule else "an image", why)
