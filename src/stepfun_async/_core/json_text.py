"""Writers of JSON that are made once: `json.dumps` makes one for each value, which takes longer than to write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

JSONWriter: TypeAlias = Callable[[object], str]
"""Returns the JSON of a value.

Raises:
    ValueError: it has a NaN that is not allowed.
    TypeError: it has an object that JSON cannot represent, or an invalid key.
    RecursionError: it is nested too deeply, or within itself.
"""


def json_writer(
    *,
    ensure_ascii: bool = False,
    compact: bool = False,
    sort_keys: bool = False,
    allow_nan: bool = True,
    default: Callable[[Any], object] | None = None,
) -> JSONWriter:
    """Return a writer of JSON; the arguments are those of `json.dumps`.

    Args:
        ensure_ascii: escape what is not ASCII.
        compact: leave out the spaces after commas and colons.
        sort_keys: write objects in the order of their keys.
        allow_nan: write NaN and infinity, as JavaScript does.
        default: returns what to write for an object that JSON cannot represent.
    """
    separators = (",", ":") if compact else (", ", ": ")
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, allow_nan=allow_nan, sort_keys=sort_keys, separators=separators, default=default
    )
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # not CPython
        return encoder.encode
    string: Any = json.encoder.encode_basestring_ascii if ensure_ascii else json.encoder.encode_basestring
    item_separator, key_separator = separators
    pieces: Callable[[object, int], tuple[str, ...]] = make(
        markers=None,
        default=encoder.default,
        encoder=string,
        indent=None,
        key_separator=key_separator,
        item_separator=item_separator,
        sort_keys=sort_keys,
        skipkeys=False,
        allow_nan=allow_nan,
    )
    return lambda value: "".join(pieces(value, 0))
