"""Responses: the images, models and accounts in a response, or the error that it means.

The table in `outcomes` says what an error costs; `reasons` reads the explanation in a body.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, cast
from urllib.parse import urljoin

from .cutting import Base64StreamDecoder, ExtractedImage, index_of
from .data_uris import decode_base64, decode_text, is_data_uri
from .errors import MalformedResponseError
from .headers import ImageHeader, read_header
from .input_images import as_link, is_bare_base64, names_link
from .outcomes import Event, billing_of, billing_of_status, status_outcome
from .problems import show
from .reasons import described, encodable, read_reason, resender_of, said_by_success, trace_id_of, wish_in
from .results import FILTERED, Account, Image, ImagesResponse, Model
from .wire import HTTPResponse

CODING_HEADER = "content-encoding"

CUTTING_PAYS = 16 * 1024
"""Bytes of a body from which its images are cut out; smaller bodies are parsed faster as they are."""


_WITHHELD = "the content filter withheld it, and a gateway dropped its finish_reason (LiteLLM does)"


HintOf: TypeAlias = Callable[[int], str | None]
"""Returns the remedy for an error status; `None` if the status speaks for itself."""


def parse_images(
    response: HTTPResponse,
    *,
    model: str,
    base_url: str,
    now: float,
    link_lifetime: timedelta | None,
    seed: int | None = None,
    hint_of: HintOf | None = None,
) -> ImagesResponse:
    """The images of a response, decoded.

    If images were cut out of the response, an error is final only if `response.whole()` raises it too: the error for
    the cut response has its body with the marks.

    Args:
        response: the response.
        model: the model asked.
        base_url: what relative links are relative to.
        now: the time of the response, seconds since 1970.
        link_lifetime: how long the server's links work; `None` if unknown.
        seed: the seed that was sent, for a response with one image that does not say its own.
        hint_of: what a user can do about an error status; `None` for what the status itself says.

    Raises:
        APIStatusError: the status is an error.
        MalformedResponseError: it is a success without an image that can be read.
    """
    if hint_of is not None and not 200 <= response.status < 300:
        raise_for_status(response, now, hint_of(response.status))
    if len(response.body) >= CUTTING_PAYS and not response.images:
        raise_for_status(response, now)
        with suppress(MalformedResponseError):
            if (cut := _cut(response)) is not None:
                return _images(cut, model, base_url, now, link_lifetime, seed)
    return _images(response, model, base_url, now, link_lifetime, seed)


_PIECE = 1024 * 1024
"""Bytes of a body that are processed at once."""


def _cut(response: HTTPResponse) -> HTTPResponse | None:
    """`response`, which came in one piece, with its images cut out; `None` if there are none, or odd ones."""
    if response.headers.get(CODING_HEADER):
        return None
    cutter = Base64StreamDecoder()
    for start in range(0, len(response.body), _PIECE):  # other tasks run between two pieces
        cutter.feed(response.body[start : start + _PIECE])
    found = cutter.finish()
    if found is None or not found[1]:
        return None
    body, images = found
    return replace(response, body=body, images=images)


def _images(
    response: HTTPResponse, model: str, base_url: str, now: float, link_lifetime: timedelta | None, seed: int | None
) -> ImagesResponse:
    content = _content(response, now)
    items: list[Any] = content["data"] if "data" in content else []
    kind = type(items)
    if kind is not list or not items:
        maybe = (
            f"; perhaps {_WITHHELD}, or a gateway did not ask the server at all"
            if "data" in content and items == []
            else ""
        )
        raise _malformed(f"the response has no image in it{maybe}", response, "empty")
    created = _int(content["created"]) if "created" in content else None
    expires = None if link_lifetime is None else _expiry(created, now, link_lifetime)
    read = [_image(items[0], response, base_url, expires)]
    if len(items) > 1:
        read += [_image(item, response, base_url, expires) for item in items[1:]]
    if seed is not None and len(read) == 1 and read[0].seed is None:
        read[0] = replace(read[0], seed=seed)
    name = encodable(content["id"]) if "id" in content else None
    return ImagesResponse(tuple(read), created, name, trace_id_of(response.headers), model)


def parse_models(response: HTTPResponse, *, now: float, hint_of: HintOf | None = None) -> tuple[Model, ...]:
    """The models a server lists."""
    items = _content(response, now, hint_of).get("data")
    if not isinstance(items, list):
        raise _malformed("the response has no list of models", response)
    return tuple(_model(item, response) for item in cast("list[object]", items))


def parse_model(response: HTTPResponse, *, now: float, hint_of: HintOf | None = None) -> Model:
    """One model."""
    return _model(_content(response, now, hint_of), response)


def parse_account(response: HTTPResponse, *, now: float, hint_of: HintOf | None = None) -> Account:
    """The account behind the key."""
    content = _content(response, now, hint_of)
    balance = _float(content.get("balance"))
    if balance is None:
        raise _malformed("the response has no balance", response)
    cash, voucher = (_float(content.get(f"total_{kind}_balance")) or 0.0 for kind in ("cash", "voucher"))
    return Account(encodable(content.get("type")), balance, cash, voucher)


_LINK_HINT = "the link may have expired: download images soon after the call"


def parse_download(response: HTTPResponse, *, now: float) -> dict[str, Any]:
    """`Image`'s fields that are read from the bytes behind a link, known to be an image."""
    raise_for_status(response, now, hint=_LINK_HINT if response.status in (401, 403, 404, 410) else "")
    _refuse_packed(response)
    facts = _cut_facts(response.images[0]) if response.images else image_facts(response.body)
    if "format" not in facts and _is_page(response.whole().body):
        raise _malformed("the link leads to something that is not an image", response)
    return facts


def _is_page(body: bytes) -> bool:
    """Whether a body of no known format is what servers send instead of an image: a page, a text, a PDF, nothing."""
    head = body[:1024]
    if head.startswith(b"%PDF-") or head.lstrip()[:1] in (b"<", b"{", b"["):
        return True
    text = head.decode("utf-8", "ignore")  # ignores a character cut off at the end
    return len(text.encode()) > len(head) - 4 and all(letter.isprintable() or letter.isspace() for letter in text)


def image_facts(data: bytes) -> dict[str, Any]:
    """Return the fields of `Image` that are read from the bytes, however they arrived."""
    return {"data": data, **_header_facts(read_header(data))}


def _cut_facts(cut: ExtractedImage) -> dict[str, Any]:
    sink = cut.sink
    return {"data": sink.data, "path": sink.path, **_header_facts(sink.header)}


def _header_facts(header: ImageHeader | None) -> dict[str, Any]:
    return {} if header is None else {"format": header.format, "width": header.width, "height": header.height}


_CROWDED: Mapping[str, tuple[tuple[bytes, ...], int]] = {
    "values": ((b",", b":", b"[", b"{"), 500_000),
    "escapes": ((b"\\",), 5_000_000),
}
"""How many values of JSON, and escapes in its texts, a response may have, by what they are counted. An image is a few
values; one of 64 MiB in base64 has half as many escapes where each line ends with one and each slash is one. More of
them would stall the event loop while they are read, as Python runs nothing else meanwhile; one long text does not."""


_FEW = min(most for _, most in _CROWDED.values())
"""Bytes of a body up to which it needs no such check."""


def _refuse_crowded(response: HTTPResponse) -> None:
    """Raise for a body with too many values or escapes."""
    for what, (signs, most) in _CROWDED.items():
        if len(response.body) > most and sum(map(response.body.count, signs)) > most:
            raise _malformed(f"the response has over {most:,} {what}, which no response with images has", response)


def _content(response: HTTPResponse, now: float, hint_of: HintOf | None = None) -> Mapping[str, Any]:
    if response.status != 200:
        raise_for_status(response, now, hint_of and hint_of(response.status))
    if CODING_HEADER in response.headers:
        _refuse_packed(response)
    if len(response.body) > _FEW:
        _refuse_crowded(response)
    try:
        content: dict[str, Any] = _read_json(response.body)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"the response is not JSON ({error})", response) from error
    kind = type(content)
    if kind is not dict:
        raise _malformed("the response is not a JSON object", response)
    return content


_scan_json: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""Returns the value that begins at an index of a text, and where it ends."""


def _read_json(body: bytes) -> Any:
    """Parse `body`, as `json.loads` does: with pydantic's parser, which takes a fifth of the time, if that is loaded.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        if "pydantic_core" in sys.modules:  # importing it takes longer than it saves
            return sys.modules["pydantic_core"].from_json(body)
        text = body.decode()
        value, end = _scan_json(text, 0)
        if end == len(text):
            return value
    except (ValueError, StopIteration):
        pass
    return json.loads(body)


def _refuse_packed(response: HTTPResponse) -> None:
    """Raise for a body that could not be unpacked: a response names a coding only when it is still on."""
    coding = response.headers.get(CODING_HEADER)
    if coding:
        message = f"the response is packed as {show(coding)}, unasked, and cannot be unpacked"
        raise _malformed(message, response, "undecodable")


def _image(item: dict[str, Any], response: HTTPResponse, base_url: str, expires: datetime | None) -> Image:
    kind = type(item)
    if kind is not dict:
        raise _malformed("the response contains something that is not an image", response)
    seed = _int(item["seed"]) if "seed" in item else None
    reason = encodable(item["finish_reason"]) if "finish_reason" in item else None
    if reason == FILTERED:
        return Image(seed=seed, finish_reason=reason)
    text = (item["b64_json"] if "b64_json" in item else None) or item.get("image")
    url = item["url"] if "url" in item else None
    if type(text) is str and ":" in text[:6] and names_link(text):
        text, url = None, text
    elif not text and type(url) is str and (is_data_uri(url) or is_bare_base64(url)):
        text = url
    if type(text) is str:
        at = index_of(text) if response.images else None
        if at is not None:
            return Image(seed=seed, finish_reason=reason, **_cut_facts(response.images[at]))
        data = _decode(text, response)
        name, width, height = read_header(data) or _NO_HEADER
        return Image(data, None, None, None, name, width, height, seed, reason)
    if type(url) is str and url:
        return Image(seed=seed, finish_reason=reason, url=_absolute(url, base_url, response), expires_at=expires)
    maybe = f"its finish_reason is {show(reason)}" if reason else f"perhaps {_WITHHELD}"
    raise _malformed(f"the response has neither an image nor a link; {maybe}", response)


_NO_HEADER = (None, None, None)
"""Describe bytes that are not an image."""


def _absolute(url: str, base_url: str, response: HTTPResponse) -> str:
    try:
        return as_link(urljoin(base_url.rstrip("/") + "/", url))
    except ValueError as error:
        raise _malformed(f"the response's link is not valid ({error})", response) from error


def _expiry(created: int | None, now: float, lifetime: timedelta) -> datetime:
    """Return when links expire; counted from `now` if the server gave no time, or an impossible one."""
    try:
        return datetime.fromtimestamp(created or now, UTC) + lifetime
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(now, UTC) + lifetime


def _decode(text: str, response: HTTPResponse) -> bytes:
    """Return the bytes that base64 or a data URI stands for; at least one."""
    try:
        data = decode_base64(text) if ":" not in text[:64] else decode_text(text)
    except ValueError as error:
        raise _malformed(f"the image cannot be decoded: {error}", response) from error
    if not data:
        raise _malformed("the response's image is empty", response, "empty")
    return data


def _model(item: object, response: HTTPResponse) -> Model:
    content = cast("dict[str, object]", item) if isinstance(item, dict) else {}
    name = content.get("id")
    if not isinstance(name, str):
        raise _malformed("the response has a model without an id", response)
    return Model(name, _int(content.get("created")), encodable(content.get("owned_by")))


def _malformed(message: str, response: HTTPResponse, event: Event = "malformed") -> MalformedResponseError:
    error = MalformedResponseError(
        f"{message}{_said(response)}; error.body has what came",
        body=response.body,
        billing=billing_of(event, sent=True),
        trace_id=trace_id_of(response.headers),
    )
    error.resent_by = resender_of(response.headers)
    return error


_LONGEST_REASON = 16 * 1024
"""Bytes of a body from which it is not searched for a reason: it is most of an image."""


def _said(response: HTTPResponse) -> str:
    """The reason that a success without an image gives, as the end of a sentence."""
    readable = not response.headers.get(CODING_HEADER) and len(response.body) < _LONGEST_REASON
    said = said_by_success(response.status, response.headers, response.body) if readable else None
    return f": {said}" if said else ""


def _int(value: object) -> int | None:
    if type(value) is int:
        return value if -(2**63) < value < 2**63 else None
    if type(value) is not float:  # `True` is no number here
        return None
    return int(value) if abs(value) < 2**63 else None


def _float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


# --- error responses ------------------------------------------------------------------------------


def raise_for_status(response: HTTPResponse, now: float, hint: str | None = None) -> None:
    """Raise the error that `response`'s status means; nothing for 2xx.

    Args:
        response: the response.
        now: the time of the response, seconds since 1970, for a `Retry-After` that is a date.
        hint: what the caller can do; `None` for what can be done where the API was asked.
    """
    if 200 <= response.status < 300:
        return
    outcome = status_outcome(response.status)
    reason = read_reason(b"" if response.headers.get(CODING_HEADER) else response.body)
    text = reason.content if isinstance(reason.content, str) else ""
    resender = resender_of(response.headers, reason.text or "")
    hint = outcome.hint if hint is None else hint
    error = outcome.error(
        f"{response.status}: {described(reason, response.headers)}{f' ({hint})' if hint else ''}",
        status=response.status,
        billing=billing_of_status(
            response.status, by_api=reason.by_api, headers=response.headers, text=text, resent=resender is not None
        ),
        type=reason.type,
        body=reason.content,
        trace_id=trace_id_of(response.headers),
        retry_after=retry_after(response.headers, now, reason.text or ""),
    )
    if outcome.billing == "unknown":
        error.resent_by = resender
    raise error


def retry_after(headers: Mapping[str, str], now: float, text: str = "") -> float | None:
    """Seconds that the server asked to wait; `None` if it did not.

    Args:
        headers: the response's. `Retry-After` is in seconds or a date, which is compared with the response's
            own `Date` where it has one, so that a clock that is off does not matter. `retry-after-ms`
            is OpenAI's and Azure's.
        now: the time of the response, seconds since 1970.
        text: what the response says in words, read where no header says how long.
    """
    exact = _seconds(headers.get("retry-after-ms", ""), 0.001)
    if exact is not None:
        return exact
    said = headers.get("retry-after", "").strip()
    seconds = _seconds(said)
    if seconds is not None:
        return seconds
    when = _epoch(said) if said else None
    return wish_in(text) if when is None else max(0.0, when - (_epoch(headers.get("date", "")) or now))


def _seconds(text: str, unit: float = 1.0) -> float | None:
    """Return `text`, a number of `unit` seconds, as seconds; `None` if it is not a finite number."""
    try:
        seconds = float(text) * unit
    except ValueError:
        return None
    return max(0.0, seconds) if seconds < float("inf") else None


def _epoch(text: str) -> float | None:
    import email.utils  # only for a server that sends a date, since the module is large

    try:
        when = email.utils.parsedate_to_datetime(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
