"""The API key, and other secret text, hidden wherever variables are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar, cast

T = TypeVar("T")


class _SecretStr(str):
    """Text that is itself wherever it is used, but not where variables are shown, as tracebacks may do."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def as_secret(value: T) -> T:
    """`value`, as text that does not show itself where it is text."""
    return cast("T", _SecretStr(value)) if isinstance(value, str) else value


_SECRET = 8
"""Characters from which on a key is taken for a secret; stand-ins take keys such as `any`."""


_BASE64 = re.compile("[0-9A-Za-z+/]*")


class APIKey:
    """An API key that does not show itself."""

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
        """The value of the `Authorization` header, as text that does not show itself either."""
        return as_secret(f"Bearer {self._value}")

    def is_in(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the key may be in a response; a few characters are no secret, and stand anywhere."""
        core = self._core
        return core is not None and (core in body or self._core_text in "\n".join(headers.values()))

    def redact_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """`headers` with no key in a value."""
        return {name: self.redact(value) for name, value in headers.items()}

    def redact(self, text: str) -> str:
        """`text` without the key, should a server repeat it; a few characters are no secret, and stand anywhere."""
        return self.redact_body(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def redact_body(self, body: bytes, *, paid: bool = False) -> bytes:
        """`redact` for bytes.

        Args:
            body: where to hide it.
            paid: whether there may be an image in base64 in it, which stays as it came even where it happens to
                spell the key.
        """
        if self._core is None or self._core not in body:  # which is soon known, and images are long
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
