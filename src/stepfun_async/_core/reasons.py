"""Reasons: the explanation in a response, be it StepFun's JSON, other JSON, text or a gateway's HTML page."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .text import escaped

SHOWN = 500
"""The maximum characters kept of a reason."""

_READ = 4 * SHOWN
"""The maximum bytes of a body read as text."""

_LONGEST = 1024 * 1024
"""The maximum bytes of a body whose JSON is searched for a reason."""

_NAME = 60
"""The maximum characters kept of a server's name."""

TRACE_HEADERS = (
    "x-trace-id",
    "llm_provider-x-trace-id",
    "x-request-id",
    "request-id",
    "x-litellm-call-id",
    "x-amzn-requestid",
    "cf-ray",
)
"""The headers that identify a response, StepFun's own first. LiteLLM renames it to the second (1.106.12)."""

RESENDERS: Mapping[str, str] = {"x-litellm-": "LiteLLM"}
"""Gateways that resend requests by themselves, by the prefix of the headers that show them.

LiteLLM: up to 9 times (1.106.12). It adds `x-litellm-call-id` to every response.
"""

RESENDER_WORDS: Mapping[str, str] = {"litellm.": "LiteLLM"}
"""The same by the text of their errors, for when something in between removes their headers."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason in the body of a response.

    Attributes:
        text: in words; `None` if there is none.
        type: StepFun's error type; `None` if there is none.
        content: the decoded body: a mapping for JSON, otherwise the text's beginning.
        by_api: whether it has the form in which the API reports errors.
        by_page: whether it is an HTML page.
    """

    text: str | None
    type: str | None
    content: Mapping[str, Any] | str
    by_api: bool = False
    by_page: bool = False


def read_reason(body: bytes) -> Reason:
    """Return the reason in `body`."""
    text = body[:_READ].decode("utf-8", "replace")[:SHOWN].strip()
    try:
        content: object = json.loads(body) if len(body) <= _LONGEST else None
    except (ValueError, RecursionError):
        return _of_page(body, text) if text.startswith("<") else Reason(text or None, None, text)
    if not isinstance(content, dict):
        return Reason(text, None, text)
    mapping = cast("dict[str, Any]", content)
    error = mapping.get("error")
    words = cast("dict[str, object]", error).get("message") if isinstance(error, dict) else None
    said = reason_in(mapping) or (text if mapping else None)
    by_api = isinstance(words, str) and bool(words.strip())  # empty words prove nothing
    kind = encodable(cast("dict[str, object]", error).get("type")) if isinstance(error, dict) else None
    return Reason(said and said[:SHOWN], kind or encodable(mapping.get("type")), mapping, by_api=by_api)


_IN_WORDS = (
    *("error", "message", "msg", "title", "detail", "error_msg", "error_message", "errormessage"),
    *("error_description", "errors", "reason", "status_msg", "faultstring", "text"),
)
"""The names of the field with the reason, at the top or in `error`."""

_AROUND = ("data", "base_resp", "output", "result", "response", "fault")
"""The objects that may contain it, besides `error`."""


_LEVELS = 10
"""The maximum depth of objects and lists to search for a reason, well within the stack."""


def reason_in(content: Mapping[str, Any], levels: int = _LEVELS) -> str | None:
    """Return the reason in a JSON object, at most `SHOWN` characters; `None` if it has none.

    It takes `{"error": {"message"}}` (StepFun, OpenAI, LiteLLM, vLLM), `{"error": "text"}`,
    `{"message"}` or `{"msg"}` with or without `code`, FastAPI's `{"detail"}`, which is a text or a list of
    `{"loc", "msg"}`, and the `{"title", "detail"}` of RFC 9457. Names may have capitals.
    """
    named = _small(content)
    error = named.get("error")
    if isinstance(error, dict):
        return _words(cast("dict[str, Any]", error), levels)
    said = (_words(named.get(key), levels) for key in _IN_WORDS)
    words = ": ".join(dict.fromkeys(word for word in said if word))
    return f"{words[:SHOWN]}{_code(named.get('code'))}" if words else None


def _small(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `content` with lower-case names, since .NET capitalises them; names that are lower-case already win."""
    return {**{name.lower(): value for name, value in content.items()}, **content}


def _words(value: object, levels: int = _LEVELS) -> str | None:
    """Return the reason in a value of at most `levels` levels."""
    if isinstance(value, str):
        return encodable(value) if value.strip() else None
    if levels and isinstance(value, dict):
        return reason_in(cast("dict[str, Any]", value), levels - 1)
    if levels and isinstance(value, list):
        items = cast("Sequence[object]", value)[:10]
        return "; ".join(filter(None, (_item(item, levels - 1) for item in items))) or None
    return None


def _item(value: object, levels: int) -> str | None:
    """One of FastAPI's: where it is, and what is wrong there."""
    words = _words(value, levels)
    where = cast("dict[str, object]", value).get("loc") if isinstance(value, dict) else None
    if words and isinstance(where, list):
        return f"{'.'.join(map(str, cast('list[object]', where)[:10]))}: {words}"
    return words


def _code(code: object) -> str:
    """A code that says more than the status does, in brackets."""
    text = code if isinstance(code, str) else str(code) if type(code) is int else ""
    says_more = text not in ("", "0") and not re.fullmatch("[1-5][0-9][0-9]", text)
    return f" (code {encodable(text[:_NAME])})" if says_more else ""


def encodable(value: object) -> str | None:
    """Return `value` so that UTF-8 can encode it: it may contain half a surrogate pair. `None` if it is not text."""
    if type(value) is not str:
        return None
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


# --- pages --------------------------------------------------------------------------------------

_TITLE = re.compile(r"<(title|h1)\b[^>]{0,200}>(.{1,500}?)</\1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]{0,200}>")


def _of_page(body: bytes, text: str) -> Reason:
    """Return the reason in an HTML page: its title, or else its first heading."""
    page = body[:_READ].decode("utf-8", "replace")
    found = {match[1].lower(): match[2] for match in reversed(list(_TITLE.finditer(page)))}
    title = " ".join(html.unescape(_TAG.sub(" ", found.get("title") or found.get("h1") or "")).split())
    return Reason(title[:SHOWN] or None, None, text, by_page=True)


def described(reason: Reason, headers: Mapping[str, str]) -> str:
    """Return the reason of an error response, and its sender if that is not the API itself.

    >>> described(read_reason(b"<title>503 Backend fetch failed</title>"), {"server": "Varnish"})
    'an HTML page from Varnish, "503 Backend fetch failed"'
    """
    name = answered_by(headers)
    origin = f" from {name}" if name else ""
    if reason.by_page:
        return f"an HTML page{origin}" + (f', "{reason.text}"' if reason.text else "")
    if reason.text is None:
        return f"an empty response{origin}" if name else "the server gave no reason"
    return f"{reason.text} ({origin.strip()})" if name and isinstance(reason.content, str) else reason.text


_TASKS = ("task_id", "taskId", "job_id", "request_id", "id")
"""The names of the field with an accepted task's id."""


def said_by_success(status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """Return the reason in a success without an image; `None` if there is none.

    >>> said_by_success(202, {}, b'{"task_id": "t-1"}')
    "202, accepted as the task 't-1', which this package does not wait for"
    """
    reason = read_reason(body)
    content = reason.content
    if isinstance(content, str):
        foreign = reason.by_page or (answered_by(headers) if reason.text is None else len(body) <= SHOWN)
        return described(reason, headers) if foreign else None
    task = next((content[name] for name in _TASKS if isinstance(content.get(name), str | int)), None)
    said = reason_in(content) or _reason_further_in(content)
    if status == 202 and task is not None:
        accepted = f"202, accepted as the task {str(task)[:_NAME]!r}, which this package does not wait for"
        return f"{accepted} ({said})" if said else accepted
    return said


def _reason_further_in(content: Mapping[str, Any]) -> str | None:
    """Return the reason in one of the parts of a success, such as in place of an image; `None` if there is none."""
    named = _small(content)
    parts: list[object] = [named.get(name) for name in _AROUND]
    said = (_words(part) for part in parts if not isinstance(part, str))
    return next((words[:SHOWN] for words in said if words), None)


def answered_by(headers: Mapping[str, str]) -> str | None:
    """Return the program that responded, by `Server` or else the last of `Via`; `None` without either."""
    server = headers.get("server", "").strip()
    if not server:
        last = headers.get("via", "").rpartition(",")[2].strip()
        comment = re.search(r"\(([^()]{1,60})\)", last)
        server = comment[1] if comment else last.partition(" ")[2]
    name = "".join(letter for letter in server[:_NAME] if letter.isprintable()).strip()
    return name or None


def resender_of(headers: Mapping[str, str], text: str = "") -> str | None:
    """Return the gateway that a response shows, if it is known to resend requests by itself; otherwise `None`.

    Args:
        headers: the response's, by lower-case name.
        text: what it says in words.
    """
    by_header = (name for start, name in RESENDERS.items() if any(header.startswith(start) for header in headers))
    by_words = (name for words, name in RESENDER_WORDS.items() if words in text)
    return next(by_header, None) or next(by_words, None)


def trace_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the id of a response for support requests, escaped; `None` if it has none."""
    for name in TRACE_HEADERS:
        if name in headers and (found := headers[name]):
            return escaped(found)
    return None


# --- how long to wait ---------------------------------------------------------------------------

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_UNITS: Mapping[str, float] = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}
"""Seconds in each unit of time that servers name."""

_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_PART = re.compile(rf"({_NUMBER}) ?({_UNIT})(?![a-z])", re.IGNORECASE)
_WISH = re.compile(
    rf"\b(?:try again|retry) (?:in|after) (?:((?:{_NUMBER} ?(?:{_UNIT})(?![a-z]) ?){{1,3}})"
    rf"|({_NUMBER})(?![0-9.]*[-:/\w]| ?[a-z]))",
    re.IGNORECASE,
)


def wish_in(text: str) -> float | None:
    """Return the seconds to wait that a text asks for; `None` if it does not.

    It reads `Try again in 5 seconds` (LiteLLM), `Please retry after 2 seconds` (Azure), and
    `Please try again in 6m0s` or `in 120ms` (OpenAI). Numbers without a unit are seconds.
    """
    match = _WISH.search(text)
    if match is None:
        return None
    if match[2]:
        return float(match[2])
    return sum(float(amount) * _UNITS[unit.lower()] for amount, unit in _PART.findall(match[1]))
