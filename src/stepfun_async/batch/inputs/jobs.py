"""Turns one line of the inputs into a request, or into a list of all its problems. Reads no files but images."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from stepfun_async._core.capabilities import BUILT_IN, ENDPOINTS, Operation
from stepfun_async._core.input_images import names_path
from stepfun_async._core.parameters import Parameters, Purchase
from stepfun_async._core.problems import Problem, plain
from stepfun_async._core.profiles import Server
from stepfun_async._core.registry import row_of, rows
from stepfun_async._core.requests import REQUESTS, ImageEdit, ImageRequest, ImageToImage, TextToImage
from stepfun_async._core.rules import Integer, Rule, closest
from stepfun_async._core.scalars import is_missing, python_value
from stepfun_async._core.sizes import Size
from stepfun_async._core.text import reason
from stepfun_async._core.wire import HTTPRequest, fingerprint_of, from_call

from .descriptions import describe_fields, describe_request, escaped

LONGEST_ID = 200
"""Characters of an id."""

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "text_to_image": "text_to_image",
        "generate": "text_to_image",
        "edit": "edit",
        "image_to_image": "image_to_image",
    }
)
"""The names of operations in lines."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that is not a mapping at all.

    Attributes:
        problems: what is wrong with it.
    """

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """The settings of a batch for all of its lines.

    Attributes:
        defaults: fields for lines that do not have their own.
        folder: what the paths of images are relative to; `None` for the working directory.
        server: the profile of the server that the lines are for; `None` for StepFun's own form.
        variations: how many lines in a row are the same line of the inputs, each for an image of its own.
        warned: the line that was warned of since its image is empty, if any.
    """

    defaults: Mapping[str, object]
    folder: Path | None = None
    server: Server | None = None
    variations: int = 1
    warned: list[int] = dataclasses.field(default_factory=list[int])


class Cells(dict[str, str]):
    """The fields of a line whose numbers and truth values are text, as in CSV.

    Attributes:
        empty: the columns in which it has nothing.
    """

    empty: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A line, read.

    Attributes:
        line: its number.
        id: the user's; `None` if it has none.
        request: what to send; `None` if the line is bad.
        fingerprint: the request's; `None` if the line is bad.
        described: the request for the journal, as `Item.request` has it.
        digest: a hash of how the line is written, known before it is read; `None` if it has no written form.
        problems: what is wrong with it; empty where it can be sent.
    """

    line: int
    id: str | None = None
    request: ImageRequest | None = None
    fingerprint: str | None = None
    described: Mapping[str, object]
    digest: bytes | None = None
    problems: tuple[Problem, ...] = ()


def job_of(line: int, value: object, terms: JobDefaults, digest: bytes | None = None) -> Job:
    """Return the job that a line asks for, with all of its problems.

    Args:
        line: the line's number.
        value: a mapping of fields, a request value, or `Broken`.
        terms: the batch's.
        digest: a hash of how the line is written.
    """
    try:
        given = value if isinstance(value, Broken) else _fields_of(value)
        if not isinstance(given, Broken):
            return _job(line, {**terms.defaults, **given}, terms, digest, as_text=isinstance(value, Cells))
    except Exception as error:  # noqa: BLE001 - methods of a user's own value may raise anything
        given = Broken((Problem("line", None, "values that can be read", reason(error)),))
    return Job(line=line, described={}, digest=digest, problems=given.problems)


def is_edit_without_image(value: object, terms: JobDefaults) -> bool:
    """Whether a line has an `image` that is empty and names no operation, so that it makes an image from words."""
    if not isinstance(value, Mapping) or "image" in terms.defaults:
        return False
    line = cast("Mapping[object, object]", value)
    if not isinstance(value, Cells) and all(field_of(str(name)) != "image" for name in line):
        return False
    fields: dict[str | None, object] = {field_of(str(name)): field for name, field in line.items()}
    if isinstance(value, Cells):
        fields.update(dict.fromkeys(value.empty))
    named = {*terms.defaults, *(name for name, field in fields.items() if not _is_empty(field))}
    return "image" in fields and "image" not in named and "operation" not in named


def _fields_of(value: object) -> dict[str, object] | Broken:
    """The fields that a line gives; those without a value count as not given."""
    if isinstance(value, str):
        return {"prompt": python_value(value)}
    if isinstance(value, TextToImage | ImageEdit | ImageToImage):
        fields: dict[str, object] = {name: getattr(value, name) for name in value.model_fields_set}
        fields.setdefault("operation", value.operation)
        return _given(fields)
    if isinstance(value, Mapping):
        return _named(cast("Mapping[object, object]", value))
    allowed = "a mapping of fields, a prompt, or a TextToImage, ImageEdit or ImageToImage"
    return Broken((Problem("line", plain(value), allowed),))


def _named(line: Mapping[object, object]) -> dict[str, object] | Broken:
    """The fields of a mapping by their names; a batch line of OpenAI's as the request that it wraps."""
    names = {str(name): field for name, field in line.items()}
    if _USUAL_FIELDS.issuperset(names) and "body" not in names:
        return {name: _python(field) for name, field in names.items() if not _is_empty(field)}
    odd = [name for name in names if escaped(name) != name or "\0" in name]
    if odd:
        return Broken(tuple(Problem(escaped(name), None, "the name of a field, in UTF-8") for name in odd))
    fields: dict[str, object] = {}
    for name, field in _given(names).items():
        meant = field_of(name) or name
        taken = meant != name and (meant in names or meant in fields)  # it is not certain which of them is meant
        fields[name if taken else meant] = field
    return _from_openai(fields) if isinstance(fields.get("body"), Mapping) else fields


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that have a value, as one of Python's; an index that pandas wrote along is none."""
    return {name: _python(field) for name, field in fields.items() if not (_INDEX.fullmatch(name) or _is_empty(field))}


_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+")
"""The names that pandas gives to an index without one, in Parquet, and when it reads it from CSV."""


def _is_empty(field: object) -> bool:
    """Whether a field has no value, or is a structure without any: Arrow has one of nulls where a row has none."""
    if type(field) in _PLAIN:
        return False
    if isinstance(field, Mapping):
        parts = cast("Mapping[object, object]", field)
        return bool(parts) and all(map(_is_empty, parts.values()))
    return is_missing(field)


_PLAIN = (str, int, bool)
"""The types of values that are given, and are Python's own."""


def _python(field: object) -> object:
    """A field with scalars as Python's own values, in mappings and lists too, and None in place of no value."""
    if type(field) in _PLAIN:
        return field
    if isinstance(field, Mapping):
        parts = cast("Mapping[object, object]", field)
        return {name: None if is_missing(part) else _python(part) for name, part in parts.items()}
    if type(field) is list:
        return [_python(part) for part in cast("list[object]", field)]
    return python_value(field)


# --- names of fields ----------------------------------------------------------------------------

_OWN_FIELDS = frozenset({"id", "operation", "model", "width", "height", "extra_body"})
OPENAI_FIELDS = frozenset({"custom_id", "method", "url", "body"})


_USUAL_FIELDS = _OWN_FIELDS | OPENAI_FIELDS | {name for row in BUILT_IN for name in row.rules}


def known_fields() -> frozenset[str]:
    """The names of all fields, those of registered models included."""
    return _USUAL_FIELDS | {name for row in rows() for name in row.rules}


def field_of(name: str) -> str | None:
    """The field that a column or key means: `Prompt` is `prompt`, `CFG Scale` is `cfg_scale`. `None` if it is none."""
    if name in _USUAL_FIELDS:
        return name
    known = known_fields()
    meant = re.sub(r"[\s_-]+", "_", name.strip()).casefold()
    return meant if meant in known else None


def likely_field(name: str) -> str | None:
    """The field that `name` is a slip of the pen for; `None` if none is near."""
    return next(iter(difflib.get_close_matches(name.casefold(), known_fields(), n=1, cutoff=0.8)), None)


# --- lines of OpenAI's batch format -------------------------------------------------------------

_PREFIXES = re.compile(r"(https?://[^/]+)?(/step_plan)?(/v1)?(?=/)")


def _from_openai(line: Mapping[str, object]) -> dict[str, object] | Broken:
    """The fields that a line of OpenAI's batch format asks for: `custom_id`, `method`, `url` and `body`."""
    content = cast("dict[str, Any]", line["body"])
    url, method = line.get("url", ENDPOINTS[OPERATIONS[_implied(content)]].path), line.get("method", "POST")
    path = _PREFIXES.sub("", url, count=1) if isinstance(url, str) else ""
    asked = from_call(HTTPRequest(str(method).upper(), path, json=content))
    if asked is None:
        endpoints = ", ".join(f"POST /v1{endpoint.path}" for endpoint in ENDPOINTS.values())
        return Broken((Problem("url", f"{method} {url}", endpoints),))
    operation, body = asked
    fields = _given(body)
    if fields.get("n") == 1:
        del fields["n"]  # which some operations do not have, and a line means anyway
    others = {name: field for name, field in line.items() if name not in OPENAI_FIELDS}
    named = {} if "custom_id" not in line else {"id": line["custom_id"]}
    return {**fields, **named, **others, "operation": operation}


# --- from fields to a request -------------------------------------------------------------------


def _job(line: int, fields: dict[str, object], terms: JobDefaults, digest: bytes | None, *, as_text: bool) -> Job:
    own_id, unfit = _id_of(fields.pop("id", None), as_text=as_text)
    variation = (line - 1) % terms.variations + 1
    if own_id is not None and variation > 1:
        own_id = f"{own_id}-v{variation}"
    problems = list(unfit)
    operation = fields.pop("operation", None) or _implied(fields)
    known = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if known is None:
        allowed = ", ".join(OPERATIONS)
        problems.append(Problem("operation", plain(operation), allowed, nearest=closest(operation, tuple(OPERATIONS))))
        return Job(line=line, id=own_id, described=describe_fields(fields), digest=digest, problems=tuple(problems))
    problems += join_sides(fields)
    typed = _typed(fields, known, as_text=as_text)
    if variation > 1:
        typed = _varied(typed, known, variation)
    request = REQUESTS[known](**_placed(typed, terms))
    reading = request.read(terms.server)
    call, wrong = reading.check()
    problems += wrong
    if terms.variations > 1:
        problems += _seed_of_all(reading)
    problems += (
        problem
        for problem in _not_for_batches(request, reading.purchase)
        if all(problem.field != p.field for p in problems)
    )
    return Job(
        line=line,
        id=own_id,
        request=None if problems else _afresh(request),
        fingerprint=None if problems else _fingerprint_of(request, reading, call),
        described=describe_request(reading),
        digest=digest,
        problems=tuple(problems),
    )


def _id_of(given: object, *, as_text: bool) -> tuple[str | None, tuple[Problem, ...]]:
    """The id as text, or what is wrong with it. A whole number may be written as 1.0, as tables with gaps write it."""
    if given is None:
        return None, ()
    text: object = _WHOLE.sub(r"\1", given) if as_text and isinstance(given, str) else given
    if isinstance(text, float) and text.is_integer():
        text = int(text)
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    allowed = f"1 to {LONGEST_ID} characters that can be printed, or a whole number"
    if isinstance(text, str) and 0 < len(text) <= LONGEST_ID and text.isprintable():
        return str.__str__(text), ()  # a plain str, not a user's subclass
    return None, (Problem("id", plain(given), allowed),)


_WHOLE = re.compile(r"^([0-9]+)\.0$")


def _implied(fields: Mapping[str, object]) -> str:
    """The operation of a line that names none."""
    if "image" not in fields:
        return "text_to_image"
    return "image_to_image" if "source_weight" in fields else "edit"


def join_sides(fields: dict[str, object]) -> Iterator[Problem]:
    """Put the fields `width` and `height`, or a `size` that is a mapping of them, in the form of a `Size`."""
    size = fields.get("size")
    if isinstance(size, Mapping):
        sides: dict[str, object] = dict(cast("Mapping[str, object]", size))
    else:
        sides = {name: fields.pop(name) for name in ("width", "height") if name in fields}
        if not sides:
            return
        if size is not None:
            yield Problem("size", plain(size), "size, or width and height", "it is given in both ways")
            return
    numbers = {name: _whole(side) for name, side in sides.items()}
    try:
        fields["size"] = Size(**cast("dict[str, int]", numbers))
    except (TypeError, ValueError):
        shown = ", ".join(f"{name}={plain(side)!r}" for name, side in sides.items())
        yield Problem("size", shown, "width and height in pixels, both")
        fields.pop("size", None)


_SIDE = Integer(minimum=1, maximum=65535)


def _whole(side: object) -> object:
    return _SIDE.to_wire(_SIDE.from_text(side) if isinstance(side, str) else side)


_USUAL_MODELS: Mapping[Operation, str] = MappingProxyType(
    {operation: kind.model_fields["model"].default for operation, kind in REQUESTS.items()}
)


def _typed(fields: dict[str, object], operation: Operation, *, as_text: bool) -> dict[str, object]:
    """The fields with whole numbers as such, and numbers and truth values made of text where the inputs have that."""
    row = row_of(fields.get("model", _USUAL_MODELS[operation]), operation)
    if row is None:
        return fields
    rules = row.rules
    return {
        name: value if type(value) is int else _value_for(rules.get(name), value, as_text=as_text)
        for name, value in fields.items()
    }


def _varied(fields: Mapping[str, object], operation: Operation, variation: int) -> dict[str, object]:
    """The fields of a variation, from 2: a seed counts up, unless it is a 0 that stands for a random one.

    Without a seed, the server draws one for each image, or else the client does.
    """
    seed = fields.get("seed")
    row = row_of(fields.get("model", _USUAL_MODELS[operation]), operation)
    rule = row.rules.get("seed") if row else None
    if type(seed) is not int or (seed == 0 and isinstance(rule, Integer) and rule.zero_is_random):
        return dict(fields)
    return {**fields, "seed": seed + variation - 1}


def _seed_of_all(request: Parameters) -> Iterator[Problem]:
    """A seed in `extra_body` would be that of each variation, so that they would all be one image."""
    name = request.row.wire_names.get("seed", "seed") if request.row else "seed"
    if isinstance(request.extra_body, Mapping) and name in request.extra_body:
        why = "with variations, the line's field `seed` counts up, and this one would not"
        yield Problem("extra_body", plain(request.extra_body), f"no {name}", why)


def _value_for(rule: Rule | None, value: object, *, as_text: bool) -> object:
    if rule is not None and as_text and isinstance(value, str):
        value = rule.from_text(value)
    return rule.to_wire(value) if isinstance(rule, Integer) else value


def _placed(fields: Mapping[str, object], terms: JobDefaults) -> dict[str, Any]:
    """The fields with the paths of images made relative to the inputs' folder."""
    placed: dict[str, Any] = dict(fields)
    if "image" in placed:
        placed["image"] = _image_of(placed["image"], terms)
    style = placed.get("style_reference")
    if isinstance(style, Mapping) and "source_url" in style:
        parts = cast("Mapping[str, object]", style)
        placed["style_reference"] = {**parts, "source_url": _image_of(parts["source_url"], terms)}
    return placed


def _image_of(image: object, terms: JobDefaults) -> object:
    """An image with its path made relative to the inputs' folder; that of a Hugging Face dataset is a mapping."""
    if isinstance(image, Mapping):
        parts = cast("Mapping[str, object]", image)
        if not set(parts) <= {"bytes", "path"}:
            return parts
        return _image_of(parts.get("path") if parts.get("bytes") is None else parts["bytes"], terms)
    if terms.folder is None or not isinstance(image, str) or not names_path(image):
        return image
    return str(terms.folder / image)


def _fingerprint_of(request: ImageRequest, reading: Parameters, call: HTTPRequest | None) -> str:
    """The fingerprint of a request, which is made of its form for StepFun: that is `call` where the server takes it."""
    if call is None or reading.row is not request.row:
        return request.fingerprint()
    return fingerprint_of(call)


def _not_for_batches(request: ImageRequest, purchase: Purchase) -> Iterator[Problem]:
    if request.response_format not in ("b64_json", None):
        allowed = "b64_json: a batch stores the images themselves, since links expire"
        yield Problem("response_format", plain(request.response_format), allowed, nearest="b64_json")
    if purchase.images != 1:
        given = plain(request.n if purchase.images is None else purchase.images)
        yield Problem(
            "n", given, "1, also in extra_body: a line is one image; variations= makes more of each line", nearest=1
        )
    if purchase.model != request.model:
        yield Problem("extra_body", plain(request.extra_body), "no model: it is the line's field `model`")


def _afresh(request: ImageRequest) -> ImageRequest:
    """The same request without what it read from files, so that jobs that wait take no memory for images."""
    image = vars(request).get("image")
    if image is None or not isinstance(image, str | os.PathLike):
        return request
    fields = {name: getattr(request, name) for name in request.model_fields_set}
    return type(request)(**fields)
