"""Describes requests for the journal: as JSON values, with images by their path, link or SHA-256."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from typing import Any, cast

from stepfun_async._core.data_uris import is_data_uri
from stepfun_async._core.input_images import ImageURL, InputImage, InvalidImage, load_image
from stepfun_async._core.parameters import Parameters
from stepfun_async._core.problems import plain
from stepfun_async._core.scalars import python_value
from stepfun_async._core.sizes import Size
from stepfun_async._core.text import described


def escaped(text: str) -> str:
    """Return `text` with lone surrogates, which UTF-8 cannot encode, as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def describe_request(request: Parameters) -> dict[str, object]:
    """Return a request as in `Item.request`: an image by its path or link if it was given so, else by its SHA-256."""
    loaded = request.values
    fields = {
        name: _describe_value(given if loaded[name] is given else _describe_image(given, loaded[name]))
        for name, given in request.given.items()
    }
    if request.extra_body is not None:
        fields["extra_body"] = _describe_value(request.extra_body)
    return {"operation": request.operation, "model": _describe_value(request.model), **fields}


def _describe_image(given: object, loaded: object) -> object:
    """Return the path or link that was given, or else the image that was read from it."""
    if isinstance(loaded, Mapping) and isinstance(given, Mapping):
        parts = cast("Mapping[str, object]", given)
        return {name: _describe_image(parts[name], part) for name, part in cast("Mapping[str, object]", loaded).items()}
    if _is_name(given):
        return given
    if isinstance(loaded, InvalidImage) and not _is_content(given):
        return described(given)  # loading it again would encode an image of Pillow that is too large
    return loaded if isinstance(loaded, InputImage) else given


def _is_content(given: object) -> bool:
    """Whether an image was given by its bytes, in memory or in text."""
    return isinstance(given, str | bytes | bytearray | memoryview)


def _is_name(given: object) -> bool:
    """Whether an image was given by its path or link."""
    return hasattr(given, "__fspath__") or (isinstance(given, str) and not is_data_uri(given))


def describe_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Return fields as JSON values, for the journal."""
    return {str(name): _describe_value(value) for name, value in fields.items()}


def _describe_value(value: object) -> object:
    """Return `value` as a JSON value; the bytes of an image by their SHA-256."""
    if (describe_plain := _PLAIN.get(type(value))) is not None:
        return describe_plain(value)
    value = python_value(value)
    for types, describe in _DESCRIBERS:
        if isinstance(value, types):
            return describe(value)
    if isinstance(value, date | time | timedelta):
        return str(value)
    image = load_image(value)  # one of Pillow, perhaps
    return _describe_value(image) if isinstance(image, InputImage) else described(value)


def _describe_bytes(data: bytes | bytearray | memoryview) -> dict[str, object]:
    content = bytes(data)
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _describe_text(text: str) -> object:
    text = str.__str__(text)
    if is_data_uri(text):
        return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "data_uri": len(text)}
    return escaped(text)


def _describe_float(number: float) -> object:
    number = float.__float__(number)
    if math.isfinite(number):
        return number
    return None if math.isnan(number) else str(number)  # JSON has neither NaN nor infinity


_DESCRIBERS: tuple[tuple[Any, Callable[[Any], object]], ...] = (
    (str, _describe_text),
    (bool | int | None, plain),
    (float, _describe_float),
    (bytes | bytearray | memoryview, _describe_bytes),
    (InputImage, lambda image: _describe_bytes(image.data)),
    (InvalidImage, lambda _: None),
    (ImageURL, lambda link: link.url),
    (Size, lambda size: describe_fields({"width": size.width, "height": size.height})),
    (Mapping, describe_fields),
    ((list, tuple, set, frozenset), lambda parts: [_describe_value(part) for part in parts]),
    (os.PathLike, lambda path: escaped(os.fsdecode(path))),
)
"""The functions that describe values, by type."""

_PLAIN: Mapping[type, Callable[[Any], object]] = {str: _describe_text, int: plain, float: _describe_float}
"""The functions that describe values of the most frequent types."""
