"""Equality and hash of requests."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from ..input_images import ImageURL, InputImage
from ..scalars import python_value
from ..sizes import Size

if TYPE_CHECKING:
    from ..requests import ImageRequest

_IMAGES = ("image", "style_reference")


def are_equal(one: ImageRequest, other: ImageRequest) -> bool:
    """Return whether two requests of the same type ask for the same, in whatever form each parameter is given."""
    mine, theirs = _given(one), _given(other)
    if mine.keys() != theirs.keys():
        return False
    unlike = [name for name, value in mine.items() if not _same(value, theirs[name])]
    if not all(name in _IMAGES for name in unlike):
        return False
    return not unlike or _same_images(one.open_images(mine), other.open_images(theirs), unlike)


def hash_of(request: ImageRequest) -> int:
    """Return a hash that is the same for equal requests: that of the parameters which can be hashed."""
    given = ((name, plain_value(value)) for name, value in _given(request).items() if name not in _IMAGES)
    return hash(frozenset((name, value) for name, value in given if type(value) in _HASHED))


_HASHED = (str, int, float, bool, Size)


def plain_value(value: object) -> object:
    """Return a parameter in one form for all of its types: numbers as Python's own, sizes as `Size`."""
    with suppress(Exception):  # a user's methods may raise anything
        plain = python_value(value)
        if type(plain) in _HASHED:
            return plain
        return float(plain) if isinstance(plain, numbers.Real) else Size.from_mapping(plain) or plain
    return value


def _given(request: ImageRequest) -> dict[str, object]:
    fields = {name: value for name, value in vars(request).items() if name != "_memo"}
    return {name: value for name, value in {**fields, **(request.model_extra or {})}.items() if value is not None}


def _same(one: object, other: object) -> bool:
    if one is other:
        return True
    with suppress(Exception):
        return bool(plain_value(one) == plain_value(other)) or _same_json(one, other)
    return False


def _same_json(one: object, other: object) -> bool:
    """Whether two mappings are the same JSON, such as one with a tuple and one with a list."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    first, second = (
        json.dumps(dict(each), sort_keys=True) for each in cast("list[Mapping[str, object]]", [one, other])
    )
    return first == second


def _same_images(mine: Mapping[str, object], theirs: Mapping[str, object], names: list[str]) -> bool:
    return all(_same_image(mine[name], theirs[name]) for name in names)


def _same_image(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        first, second = (
            {name: part for name, part in style.items() if part is not None}
            for style in cast("list[Mapping[str, object]]", [one, other])
        )
        return first.keys() == second.keys() and all(_same_image(first[name], second[name]) for name in first)
    if isinstance(one, InputImage) and isinstance(other, InputImage):
        return one.data == other.data
    if isinstance(one, ImageURL) and isinstance(other, ImageURL):
        return one.url == other.url
    return _same(cast("object", one), cast("object", other))
