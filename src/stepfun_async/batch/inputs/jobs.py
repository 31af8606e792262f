"""Parses one line of the inputs into a request, or into a list of all its problems. It reads no files but images."""

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
"""The maximum number of characters of an id."""

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
class InvalidLine:
    """A line that cannot be parsed.

    Attributes:
        problems: its problems.
    """

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """The settings of a batch for all of its lines.

    Attributes:
        fields: the default values of fields.
        folder: the folder that paths of images are relative to; `None` for the working directory.
        server: the profile of the server that the lines are for; `None` for StepFun's own form.
        variations: the number of consecutive lines that are variations of one line of the inputs.
        warned: the line for which a warning about an empty image was issued, if any.
    """

    fields: Mapping[str, object]
    folder: Path | None = None
    server: Server | None = None
    variations: int = 1
    warned: list[int] = dataclasses.field(default_factory=list[int])


class TextFields(dict[str, str]):
    """The fields of a line whose numbers and booleans are text, as in CSV.

    Attributes:
        empty: the columns without a value.
    """

    empty: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A line, parsed.

    Attributes:
        line: its number.
        id: the id that the user gave; `None` without one.
        request: the request; `None` if the line is bad.
        fingerprint: the fingerprint of the request; `None` if the line is bad.
        described: the request for the journal, as in `Item.request`.
        digest: a hash of the text of the line, known before it is parsed; `None` if it has no text.
        problems: its problems; empty if it can be sent.
    """

    line: int
    id: str | None = None
    request: ImageRequest | None = None
    fingerprint: str | None = None
    described: Mapping[str, object]
    digest: bytes | None = None
    problems: tuple[Problem, ...] = ()


def parse_job(line: int, value: object, defaults: JobDefaults, digest: bytes | None = None) -> Job:
    """Return the job of a line, with all of its problems.

    Args:
        line: the number of the line.
        value: a mapping of fields, a request value, or `InvalidLine`.
        defaults: the settings for all lines.
        digest: a hash of the text of the line.
    """
    try:
        given = value if isinstance(value, InvalidLine) else _fields_of(value)
        if not isinstance(given, InvalidLine):
            return _job(line, {**defaults.fields, **given}, defaults, digest, as_text=isinstance(value, TextFields))
    except Exception as error:  # noqa: BLE001 - methods of a user's own value may raise anything
        given = InvalidLine((Problem("line", None, "values that can be read", reason(error)),))
    return Job(line=line, described={}, digest=digest, problems=given.problems)


def is_edit_without_image(value: object, defaults: JobDefaults) -> bool:
    """Whether a line has an empty `image` and no operation, so that it generates an image from its prompt alone."""
    if not isinstance(value, Mapping) or "image" in defaults.fields:
        return False
    line = cast("Mapping[object, object]", value)
    if not isinstance(value, TextFields) and all(field_of(str(name)) != "image" for name in line):
        return False
    fields: dict[str | None, object] = {field_of(str(name)): given for name, given in line.items()}
    if isinstance(value, TextFields):
        fields.update(dict.fromkeys(value.empty))
    named = {*defaults.fields, *(name for name, given in fields.items() if not _is_empty(given))}
    return "image" in fields and "image" not in named and "operation" not in named


def _fields_of(value: object) -> dict[str, object] | InvalidLine:
    """Return the fields of a line. Fields without a value count as absent."""
    if isinstance(value, str):
        return {"prompt": python_value(value)}
    if isinstance(value, TextToImage | ImageEdit | ImageToImage):
        fields: dict[str, object] = {name: getattr(value, name) for name in value.model_fields_set}
        fields.setdefault("operation", value.operation)
        return _without_missing(fields)
    if isinstance(value, Mapping):
        return _fields_of_mapping(cast("Mapping[object, object]", value))
    allowed = "a mapping of fields, a prompt, or a TextToImage, ImageEdit or ImageToImage"
    return InvalidLine((Problem("line", plain(value), allowed),))


def _fields_of_mapping(line: Mapping[object, object]) -> dict[str, object] | InvalidLine:
    """Return the fields of a mapping by their names; for a line in OpenAI's batch format, those of its request."""
    names = {str(name): value for name, value in line.items()}
    if _USUAL_FIELDS.issuperset(names) and "body" not in names:
        return {name: _to_python(value) for name, value in names.items() if not _is_empty(value)}
    invalid_names = [name for name in names if escaped(name) != name or "\0" in name]
    if invalid_names:
        return InvalidLine(
            tuple(Problem(escaped(name), None, "the name of a field, in UTF-8") for name in invalid_names)
        )
    fields: dict[str, object] = {}
    for name, value in _without_missing(names).items():
        field = field_of(name) or name
        is_ambiguous = field != name and (field in names or field in fields)  # it is not certain which of them is meant
        fields[name if is_ambiguous else field] = value
    return _from_openai(fields) if isinstance(fields.get("body"), Mapping) else fields


def _without_missing(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that have a value, as Python values. The index columns of pandas are left out."""
    return {
        name: _to_python(value) for name, value in fields.items() if not (_INDEX.fullmatch(name) or _is_empty(value))
    }


_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+")
"""The column names that pandas gives to an unnamed index, in Parquet and when it reads CSV."""


def _is_empty(value: object) -> bool:
    """Whether a field has no value, or is a mapping without values: Arrow has a struct of nulls for a missing one."""
    if type(value) in _PLAIN:
        return False
    if isinstance(value, Mapping):
        parts = cast("Mapping[object, object]", value)
        return bool(parts) and all(map(_is_empty, parts.values()))
    return is_missing(value)


_PLAIN = (str, int, bool)
"""Types of values that are never missing and need no conversion."""


def _to_python(value: object) -> object:
    """Return a field with Python values for other scalars and for missing ones, also in mappings and lists."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        parts = cast("Mapping[object, object]", value)
        return {name: None if is_missing(part) else _to_python(part) for name, part in parts.items()}
    if type(value) is list:
        return [_to_python(part) for part in cast("list[object]", value)]
    return python_value(value)


# --- names of fields ----------------------------------------------------------------------------

_OWN_FIELDS = frozenset({"id", "operation", "model", "width", "height", "extra_body"})
OPENAI_FIELDS = frozenset({"custom_id", "method", "url", "body"})


_USUAL_FIELDS = _OWN_FIELDS | OPENAI_FIELDS | {name for row in BUILT_IN for name in row.rules}


def known_fields() -> frozenset[str]:
    """Return the names of all fields, including those of registered models."""
    return _USUAL_FIELDS | {name for row in rows() for name in row.rules}


def field_of(name: str) -> str | None:
    """Return the field of a column or key: `prompt` for `Prompt`, `cfg_scale` for `CFG Scale`; `None` if none fits."""
    if name in _USUAL_FIELDS:
        return name
    known = known_fields()
    field = re.sub(r"[\s_-]+", "_", name.strip()).casefold()
    return field if field in known else None


def likely_field(name: str) -> str | None:
    """Return the field whose name is most similar to `name`, such as a typo of it; `None` if none is similar."""
    return next(iter(difflib.get_close_matches(name.casefold(), known_fields(), n=1, cutoff=0.8)), None)


# --- lines of OpenAI's batch format -------------------------------------------------------------

_PREFIXES = re.compile(r"(https?://[^/]+)?(/step_plan)?(/v1)?(?=/)")


def _from_openai(line: Mapping[str, object]) -> dict[str, object] | InvalidLine:
    """Return the fields of a line in OpenAI's batch format, which has `custom_id`, `method`, `url` and `body`."""
    content = cast("dict[str, Any]", line["body"])
    url, method = line.get("url", ENDPOINTS[OPERATIONS[_implied_operation(content)]].path), line.get("method", "POST")
    path = _PREFIXES.sub("", url, count=1) if isinstance(url, str) else ""
    parsed = from_call(HTTPRequest(str(method).upper(), path, json=content))
    if parsed is None:
        endpoints = ", ".join(f"POST /v1{endpoint.path}" for endpoint in ENDPOINTS.values())
        return InvalidLine((Problem("url", f"{method} {url}", endpoints),))
    operation, body = parsed
    fields = _without_missing(body)
    if fields.get("n") == 1:
        del fields["n"]  # some operations have no `n`, and a line is one image anyway
    others = {name: value for name, value in line.items() if name not in OPENAI_FIELDS}
    named = {} if "custom_id" not in line else {"id": line["custom_id"]}
    return {**fields, **named, **others, "operation": operation}


# --- from fields to a request -------------------------------------------------------------------


def _job(line: int, fields: dict[str, object], defaults: JobDefaults, digest: bytes | None, *, as_text: bool) -> Job:
    own_id, id_problems = _id_of(fields.pop("id", None), as_text=as_text)
    variation = (line - 1) % defaults.variations + 1
    if own_id is not None and variation > 1:
        own_id = f"{own_id}-v{variation}"
    problems = list(id_problems)
    operation = fields.pop("operation", None) or _implied_operation(fields)
    known = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if known is None:
        allowed = ", ".join(OPERATIONS)
        problems.append(Problem("operation", plain(operation), allowed, nearest=closest(operation, tuple(OPERATIONS))))
        return Job(line=line, id=own_id, described=describe_fields(fields), digest=digest, problems=tuple(problems))
    problems += combine_sides(fields)
    converted = _convert(fields, known, as_text=as_text)
    if variation > 1:
        converted = _with_variation_seed(converted, known, variation)
    request = REQUESTS[known](**_with_resolved_images(converted, defaults))
    reading = request.read(defaults.server)
    call, invalid = reading.prepare(encode=False)
    problems += invalid
    if defaults.variations > 1:
        problems += _check_shared_seed(reading)
    problems += (
        problem
        for problem in _not_for_batches(request, reading.purchase)
        if all(problem.field != p.field for p in problems)
    )
    return Job(
        line=line,
        id=own_id,
        request=None if problems else _without_loaded_image(request),
        fingerprint=None if problems else _fingerprint_of(request, reading, call),
        described=describe_request(reading),
        digest=digest,
        problems=tuple(problems),
    )


def _id_of(given: object, *, as_text: bool) -> tuple[str | None, tuple[Problem, ...]]:
    """Return the id as text, or its problem. A whole number may be written as 1.0, as in tables with missing values."""
    if given is None:
        return None, ()
    text: object = _INTEGER_AS_FLOAT.sub(r"\1", given) if as_text and isinstance(given, str) else given
    if isinstance(text, float) and text.is_integer():
        text = int(text)
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    allowed = f"1 to {LONGEST_ID} characters that can be printed, or a whole number"
    if isinstance(text, str) and 0 < len(text) <= LONGEST_ID and text.isprintable():
        return str.__str__(text), ()  # a plain str, not a user's subclass
    return None, (Problem("id", plain(given), allowed),)


_INTEGER_AS_FLOAT = re.compile(r"^([0-9]+)\.0$")


def _implied_operation(fields: Mapping[str, object]) -> str:
    """Return the operation of a line without one."""
    if "image" not in fields:
        return "text_to_image"
    return "image_to_image" if "source_weight" in fields else "edit"


def combine_sides(fields: dict[str, object]) -> Iterator[Problem]:
    """Replace the fields `width` and `height`, or a `size` that is a mapping of them, by a `Size`."""
    size = fields.get("size")
    if isinstance(size, Mapping):
        sides: dict[str, object] = dict(cast("Mapping[str, object]", size))
    else:
        sides = {name: fields.pop(name) for name in ("width", "height") if name in fields}
        if not sides:
            return
        if size is not None:
            yield Problem("size", plain(size), "size, or width and height", "both are given")
            return
    numbers = {name: _as_integer(side) for name, side in sides.items()}
    try:
        fields["size"] = Size(**cast("dict[str, int]", numbers))
    except (TypeError, ValueError):
        shown = ", ".join(f"{name}={plain(side)!r}" for name, side in sides.items())
        yield Problem("size", shown, "width and height in pixels, both")
        fields.pop("size", None)


_SIDE = Integer(minimum=1, maximum=65535)


def _as_integer(side: object) -> object:
    return _SIDE.to_wire(_SIDE.from_text(side) if isinstance(side, str) else side)


_USUAL_MODELS: Mapping[Operation, str] = MappingProxyType(
    {operation: kind.model_fields["model"].default for operation, kind in REQUESTS.items()}
)


def _convert(fields: dict[str, object], operation: Operation, *, as_text: bool) -> dict[str, object]:
    """Return the fields with integers such as 7.0 as int, and with numbers and booleans parsed if they are text."""
    row = row_of(fields.get("model", _USUAL_MODELS[operation]), operation)
    if row is None:
        return fields
    rules = row.rules
    return {
        name: value if type(value) is int else _value_for(rules.get(name), value, as_text=as_text)
        for name, value in fields.items()
    }


def _with_variation_seed(fields: Mapping[str, object], operation: Operation, variation: int) -> dict[str, object]:
    """Return the fields of a variation, from 2 on: its seed counts up, unless it is a 0 that means a random one.

    Without a seed, the server or the client draws one for each image.
    """
    seed = fields.get("seed")
    row = row_of(fields.get("model", _USUAL_MODELS[operation]), operation)
    rule = row.rules.get("seed") if row else None
    if type(seed) is not int or (seed == 0 and isinstance(rule, Integer) and rule.zero_is_random):
        return dict(fields)
    return {**fields, "seed": seed + variation - 1}


def _check_shared_seed(request: Parameters) -> Iterator[Problem]:
    """Reject a seed in `extra_body`: all variations would have it, and would be the same image."""
    name = request.row.wire_names.get("seed", "seed") if request.row else "seed"
    if isinstance(request.extra_body, Mapping) and name in request.extra_body:
        why = "with variations, the line's field `seed` counts up, and this one would not"
        yield Problem("extra_body", plain(request.extra_body), f"no {name}", why)


def _value_for(rule: Rule | None, value: object, *, as_text: bool) -> object:
    if rule is not None and as_text and isinstance(value, str):
        value = rule.from_text(value)
    return rule.to_wire(value) if isinstance(rule, Integer) else value


def _with_resolved_images(fields: Mapping[str, object], defaults: JobDefaults) -> dict[str, Any]:
    """Return the fields with the paths of images resolved against the folder of the inputs."""
    resolved: dict[str, Any] = dict(fields)
    if "image" in resolved:
        resolved["image"] = _image_of(resolved["image"], defaults)
    style = resolved.get("style_reference")
    if isinstance(style, Mapping) and "source_url" in style:
        parts = cast("Mapping[str, object]", style)
        resolved["style_reference"] = {**parts, "source_url": _image_of(parts["source_url"], defaults)}
    return resolved


def _image_of(image: object, defaults: JobDefaults) -> object:
    """Return an image with its path resolved against the inputs' folder. In Hugging Face datasets it is a mapping."""
    if isinstance(image, Mapping):
        parts = cast("Mapping[str, object]", image)
        if not set(parts) <= {"bytes", "path"}:
            return parts
        return _image_of(parts.get("path") if parts.get("bytes") is None else parts["bytes"], defaults)
    if defaults.folder is None or not isinstance(image, str) or not names_path(image):
        return image
    return str(defaults.folder / image)


def _fingerprint_of(request: ImageRequest, reading: Parameters, call: HTTPRequest | None) -> str:
    """Return the fingerprint of a request in StepFun's own form, which is `call` if the server takes that form."""
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


def _without_loaded_image(request: ImageRequest) -> ImageRequest:
    """Return the request without the images that it has read, so that waiting jobs do not keep them in memory."""
    image = vars(request).get("image")
    if image is None or not isinstance(image, str | os.PathLike):
        return request
    fields = {name: getattr(request, name) for name in request.model_fields_set}
    return type(request)(**fields)
