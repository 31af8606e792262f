"""Serialization by pydantic: the fields of a request as JSON values, whatever their types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from pydantic import SerializationInfo

from ..input_images import ImageURL, InputImage
from ..problems import plain
from ..rules import Boolean, Integer, Number
from ..sizes import Size
from .equality import plain_value

if TYPE_CHECKING:
    from ..requests import ImageRequest


def fields_of(request: ImageRequest, info: SerializationInfo) -> dict[str, object]:
    """Return the fields of a request as JSON values; images as data URIs, or as links where they are links."""
    fields = type(request).model_fields
    given = {name: value for name, value in vars(request).items() if name in fields} | dict(request.model_extra or {})
    kept = {name: value for name, value in given.items() if _is_kept(request, name, value, info)}
    return {name: _field_value(request, name, value) for name, value in kept.items()}


def _is_kept(request: ImageRequest, name: str, value: object, info: SerializationInfo) -> bool:
    field = type(request).model_fields.get(name)
    is_default = field is not None and value == field.default
    left_out = (
        (info.include is not None and name not in info.include),
        (info.exclude is not None and name in info.exclude),
        (info.exclude_none and value is None),
        (info.exclude_unset and name not in request.model_fields_set),
        (info.exclude_defaults and is_default),
    )
    return not any(left_out)


def _field_value(request: ImageRequest, name: str, value: object) -> object:
    if value is None:
        return None
    if name == "extra_body":
        with suppress(Exception):  # if it is not JSON, it is a problem of the request
            return json.loads(json.dumps(dict(cast("Any", value)), allow_nan=False))
    if name in ("image", "style_reference"):
        return _image_value(value, request.open_images({name: value})[name])
    rule = request.row.rules.get(name) if request.row else None
    if isinstance(rule, Boolean | Integer | Number):
        with suppress(Exception):  # a user's methods may raise anything
            value = rule.to_wire(value)
    return json_value(plain_value(value))


def _image_value(given: object, seen: object) -> object:
    """Return an image as text, or a style reference with its image so.

    Args:
        given: the value as given.
        seen: what `load_image` made of it.
    """
    if isinstance(seen, Mapping) and isinstance(given, Mapping):
        parts = cast("Mapping[str, object]", seen)
        return {str(name): _image_value(cast("Any", given)[name], part) for name, part in parts.items()}
    if isinstance(seen, InputImage):
        with suppress(OSError, ValueError):  # a file that is gone or has changed is described instead
            return seen.to_data_uri()
    return seen.url if isinstance(seen, ImageURL) else json_value(plain_value(given))


def json_value(value: object) -> object:
    """Return `value` as JSON; what JSON cannot represent, in invalid requests only, is described."""
    if isinstance(value, Size):
        return {"width": json_value(value.width), "height": json_value(value.height)}
    if isinstance(value, Mapping):
        return {str(name): json_value(part) for name, part in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [json_value(part) for part in cast("list[object]", value)]
    known = plain(value)
    return _escaped_halves(str.__str__(known)) if isinstance(known, str) else known


def _escaped_halves(text: str) -> str:
    """Return `text` with halves of surrogate pairs, which UTF-8 cannot carry, written out."""
    return text.encode("utf-8", "backslashreplace").decode()
