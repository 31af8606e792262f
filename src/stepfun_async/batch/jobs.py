"""From one line of the inputs to a request, or to everything that is wrong with it. No file but pictures is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from stepfun_async._core.capabilities import Operation
from stepfun_async._core.pictures import Picture, Unreadable, is_link
from stepfun_async._core.problems import Problem, plain
from stepfun_async._core.registry import row_of
from stepfun_async._core.requests import REQUESTS, ImageEdit, ImageRequest, ImageToImage, TextToImage
from stepfun_async._core.rules import closest
from stepfun_async._core.sizes import Size

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
"""What a line may call an operation."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What stands for a line that is no mapping at all.

    Attributes:
        problems: what is wrong with it.
    """

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a batch says for all of its lines.

    Attributes:
        defaults: the fields that hold where a line does not have its own.
        folder: what the paths of pictures are relative to; None for the working directory.
        as_text: whether numbers and truth values come as text, as in CSV.
    """

    defaults: Mapping[str, object]
    folder: Path | None = None
    as_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A line, read.

    Attributes:
        line: its number.
        id: the user's; None where it has none.
        request: what to send; None where the line is bad.
        fingerprint: the request's; None where the line is bad.
        told: the request for the journal, as `Item.request` has it.
        digest: what tells the line from others before it is read; None where nothing does.
        problems: what is wrong with it; empty where it can be sent.
    """

    line: int
    id: str | None = None
    request: ImageRequest | None = None
    fingerprint: str | None = None
    told: Mapping[str, object]
    digest: bytes | None = None
    problems: tuple[Problem, ...] = ()


def job_of(line: int, value: object, terms: Terms, digest: bytes | None = None) -> Job:
    """The job that a line asks for, with all of its problems.

    Args:
        line: the line's number.
        value: a mapping of fields, a request value, or `Broken`.
        terms: the batch's.
        digest: what tells the line from others.
    """
    if isinstance(value, Broken):
        return Job(line=line, told={}, digest=digest, problems=value.problems)
    given = _fields_of(value)
    if given is None:
        allowed = "a mapping of fields, or a TextToImage, ImageEdit or ImageToImage"
        problem = Problem("line", plain(value), allowed)
        return Job(line=line, told={}, digest=digest, problems=(problem,))
    return _job(line, {**terms.defaults, **given}, terms, digest)


def _fields_of(value: object) -> dict[str, object] | None:
    """The fields that a line gives; those that are None count as not given."""
    if isinstance(value, TextToImage | ImageEdit | ImageToImage):
        fields: dict[str, object] = {name: getattr(value, name) for name in value.model_fields_set}
        fields.setdefault("operation", value.operation)
    elif isinstance(value, Mapping):
        fields = {str(name): field for name, field in cast("Mapping[object, object]", value).items()}
    else:
        return None
    return {name: field for name, field in fields.items() if field is not None}


def _job(line: int, fields: dict[str, object], terms: Terms, digest: bytes | None) -> Job:
    own_id, unfit = _id_of(fields.pop("id", None))
    problems = list(unfit)
    operation = fields.pop("operation", None) or _implied(fields)
    known = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if known is None:
        allowed = ", ".join(OPERATIONS)
        problems.append(Problem("operation", plain(operation), allowed, nearest=closest(operation, tuple(OPERATIONS))))
        return Job(line=line, id=own_id, told=told_fields(fields), digest=digest, problems=tuple(problems))
    problems += _join_sides(fields)
    request = REQUESTS[known](**_placed(_typed(fields, known, terms), terms))
    problems += request.problems()
    problems += (problem for problem in _not_for_batches(request) if all(problem.field != p.field for p in problems))
    fingerprint = None if problems else request.fingerprint()
    told = {"operation": known, "model": plain(request.model), **told_fields({**request.given(), **_extra(request)})}
    return Job(
        line=line,
        id=own_id,
        request=None if problems else _afresh(request),
        fingerprint=fingerprint,
        told=told,
        digest=digest,
        problems=tuple(problems),
    )


def _id_of(given: object) -> tuple[str | None, tuple[Problem, ...]]:
    """The id as text, or what is wrong with it."""
    if given is None:
        return None, ()
    text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    allowed = f"1 to {LONGEST_ID} characters that can be printed, or a whole number"
    if isinstance(text, str) and 0 < len(text) <= LONGEST_ID and text.isprintable():
        return text, ()
    return None, (Problem("id", plain(given), allowed),)


def _implied(fields: Mapping[str, object]) -> str:
    """The operation of a line that names none."""
    if "image" not in fields:
        return "text_to_image"
    return "image_to_image" if "source_weight" in fields else "edit"


def _join_sides(fields: dict[str, object]) -> Iterator[Problem]:
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


def _whole(side: object) -> object:
    return int(side) if isinstance(side, str) and side.isascii() and side.isdigit() else side


def _typed(fields: Mapping[str, object], operation: Operation, terms: Terms) -> Mapping[str, object]:
    """The fields with numbers and truth values made of text, where that is how the inputs have them."""
    if not terms.as_text:
        return fields
    row = row_of(fields.get("model", REQUESTS[operation]().model), operation)
    if row is None:
        return fields
    rules = row.rules
    return {
        name: rules[name].from_text(value) if name in rules and isinstance(value, str) else value
        for name, value in fields.items()
    }


def _placed(fields: Mapping[str, object], terms: Terms) -> dict[str, Any]:
    """The fields with the paths of pictures made relative to the inputs' folder."""
    placed = dict(fields)
    if "image" in placed:
        placed["image"] = _path_of(placed["image"], terms)
    style = placed.get("style_reference")
    if isinstance(style, Mapping) and "source_url" in style:
        parts = cast("Mapping[str, object]", style)
        placed["style_reference"] = {**parts, "source_url": _path_of(parts["source_url"], terms)}
    return placed


def _path_of(image: object, terms: Terms) -> object:
    if terms.folder is None or not isinstance(image, str) or is_link(image) or image[:5].lower() == "data:":
        return image
    return str(terms.folder / image)


def _not_for_batches(request: ImageRequest) -> Iterator[Problem]:
    if request.response_format not in ("b64_json", None):
        allowed = "b64_json: a batch takes the pictures themselves, since links expire"
        yield Problem("response_format", plain(request.response_format), allowed, nearest="b64_json")
    purchase = request.read().purchase
    if purchase.pictures != 1:
        given = plain(request.n if purchase.pictures is None else purchase.pictures)
        yield Problem("n", given, "1, also in extra_body: a line is one picture; repeat the line for more", nearest=1)
    if purchase.model != request.model:
        yield Problem("extra_body", plain(request.extra_body), "no model: it is the line's field `model`")


def _afresh(request: ImageRequest) -> ImageRequest:
    """The same request without what it read from files, so that jobs that wait take no memory for pictures."""
    if not isinstance(getattr(request, "image", ""), str | os.PathLike):
        return request
    fields = {name: getattr(request, name) for name in request.model_fields_set}
    return type(request)(**fields)


# --- for the journal ----------------------------------------------------------------------------


def _extra(request: ImageRequest) -> dict[str, object]:
    return {} if request.extra_body is None else {"extra_body": request.extra_body}


def told_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Fields as JSON can say them, for the journal."""
    return {name: _told_value(value) for name, value in fields.items()}


def _told_value(value: object) -> object:
    """`value` as JSON can say it; the bytes of a picture by their SHA-256."""
    if isinstance(value, bytes | bytearray | memoryview | Picture):
        data = value.data if isinstance(value, Picture) else bytes(cast("bytes", value))
        return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if isinstance(value, str) and value[:5].lower() == "data:":
        return {"sha256": hashlib.sha256(value.encode()).hexdigest(), "data_uri": len(value)}
    if isinstance(value, Size):
        return {"width": value.width, "height": value.height}
    if isinstance(value, Mapping):
        return told_fields(cast("Mapping[str, object]", value))
    if isinstance(value, list | tuple):
        return [_told_value(part) for part in cast("list[object]", value)]
    if isinstance(value, os.PathLike):
        return str(os.fspath(cast("os.PathLike[str]", value)))
    return None if isinstance(value, Unreadable) else _plain(value)


def _plain(value: object) -> object:
    kept = plain(value)
    return kept if isinstance(kept, str | int | float | bool | None) else str(kept)
