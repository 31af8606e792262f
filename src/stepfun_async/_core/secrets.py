"""The API key, and other secret text, hidden wherever variables are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar, cast

T = TypeVar("T")


class _SecretStr(str):
    """Text that works like any other, but is hidden where variables are shown, as in tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def as_secret(value: T) -> T:
    """Return `value`, hidden if it is text."""
    return cast("T", _SecretStr(value)) if isinstance(value, str) else value


_SECRET = 8
"""The number of characters from which a key is a secret; stand-ins accept keys such as `any`."""


_BASE64 = re.compile("[0-9A-Za-z+/]*")


class APIKey:
    """An API key that is not shown."""

    __slots__ = ("_alone", "_anywhere", "_core", "_core_text", "_value")

    def __init__(self, value: str) -> None:
        spellings = _spellings(value).encode()
        self._value = as_secret(value)
        self._core = max(re.findall("[0-9A-Za-z]*", value), key=len).encode() if len(value) >= _SECRET else None
        self._core_text = (self._core or b"").decode()
        self._anywhere = re.compile(spellings)
        alone = b"(?<![0-9A-Za-z+/])%b(?![0-9A-Za-z+/=])" % spellings
        self._alone = re.compile(alone) if _BASE64.fullmatch(value) else self._anywhere

    def __repr__(self) -> str:
        return "Key('***')"

    def __reduce__(self) -> str:
        raise TypeError("an API key is not pickled")

    def authorization(self) -> str:
        """The value of the `Authorization` header, as text that is not shown either."""
        return as_secret(f"Bearer {self._value}")

    def is_in(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the key is in a response; a few characters are not a secret, and may occur anywhere."""
        core = self._core
        return core is not None and (core in body or self._core_text in "\n".join(headers.values()))

    def redact_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return `headers` without the key in any value."""
        return {name: self.redact(value) for name, value in headers.items()}

    def redact(self, text: str) -> str:
        """Return `text` without the key, in case a server repeats it; a few characters are not a secret."""
        return self.redact_body(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def redact_body(self, body: bytes, *, paid: bool = False) -> bytes:
        """`redact` for bytes.

        Args:
            body: where to hide it.
            paid: whether there may be an image in base64 in it, which stays as it came even where it happens to
                spell the key.
        """
        if self._core is None or self._core not in body:  # a quick check, since images are long
            return body
        return (self._alone if paid else self._anywhere).sub(b"***", body)


_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
"""The HTML entities of characters, as in `html.escape`, whose module is slow to import."""


def _spellings(key: str) -> str:
    """A pattern for the key as it is, and as JSON, URLs and HTML write what is no letter or digit."""
    return "".join(letter if letter.isalnum() else _spellings_of(letter) for letter in key)


def _spellings_of(letter: str) -> str:
    plain, code = re.escape(letter), ord(letter)
    named = re.escape(_ENTITIES.get(letter, letter))
    return rf"(?:\\?{plain}|(?i:\\u{code:04x}|%{code:02x}|&#{code};|&#x{code:x};)|{named})"
