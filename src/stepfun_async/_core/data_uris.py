"""Base64 and data URIs as servers and users write them."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote, unquote_to_bytes

from pybase64 import b64decode

_IN_BASE64 = re.compile(r"; *base64 *$", re.IGNORECASE)
"""The end of the head of a data URI in base64, by the rule of browsers."""

_WHITESPACE = str.maketrans(dict.fromkeys(" \t\r\n\f\v"))
_STANDARD = str.maketrans("-_", "+/")


def is_data_uri(text: str) -> bool:
    """Whether `text` begins like a data URI, in either case, possibly after spaces."""
    return ":" in text[:64] and text[:64].lstrip()[:5].lower() == "data:"


def decode_text(text: str) -> bytes:
    """Return the bytes that `text`, base64 or a data URI, stands for.

    Base64 may be in the standard or the URL-safe alphabet, with too much padding, too little or none, and broken into
    lines. A data URI may say `DATA:` in capitals, and have its content in base64 or percent-encoded.

    Raises:
        ValueError: it is neither.
    """
    if ":" not in text[:64] or not is_data_uri(text):
        return decode_base64(text)
    head, comma, payload = text.partition(",")
    if not comma:
        raise ValueError("the data URI is not of the form data:image/...;base64,...")
    if not _IN_BASE64.search(head):
        return unquote_to_bytes(payload)
    return decode_base64(payload)


def decode_base64(text: str) -> bytes:
    """Return the bytes of base64 in any of its variants.

    Raises:
        ValueError: it is no base64.
    """
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    plain = unquote(text) if "%" in text else text
    plain = plain.translate(_WHITESPACE).translate(_STANDARD).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the base64 is broken: {error}") from error
