"""Requests and answers as they go over the wire.

`Call` and `Reply` are the only words between the core and whatever carries them: the client's
transport and the embedded engine speak the same two.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import urljoin

from .capabilities import ENDPOINTS, Operation, row_of
from .errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    Billing,
    ContentRejectedError,
    InsufficientBalanceError,
    InternalServerError,
    InvalidRequestError,
    MalformedResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from .pictures import Link, Picture, Unreadable, read_header
from .problems import Problem, plain
from .results import FILTERED, Account, Image, ImagesResponse, Model
from .rules import Ignored, Rule
from .sizes import Size

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a multipart form."""

    filename: str
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way out.

    Attributes:
        method: the HTTP method.
        path: below the base URL, beginning with a slash; or a whole link, which gets no key.
        json: the body as JSON; None for a form or no body.
        form: the text fields of a multipart form.
        files: its files, by field.
        headers: what is sent besides, by lower-case name.
    """

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    form: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    files: Mapping[str, Upload] = field(default_factory=lambda: _EMPTY)
    headers: Mapping[str, str] = field(default_factory=lambda: _EMPTY, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on its way in; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Progress:
    """How far one attempt got, noted by whoever carries it, so that a cancelled one can be judged.

    Attributes:
        sent: whether a byte of the body may have left this machine; None where nobody watched.
    """

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent: bool | None = None


# --- requests out -------------------------------------------------------------------------------

_WIRE_NAMES: Mapping[tuple[Operation, str], str] = {("image_to_image", "image"): "source_url"}
"""Where the wire's name of a parameter is another one than the SDK's."""


def wire_name(operation: Operation, name: str) -> str:
    """What the wire calls a parameter."""
    return _WIRE_NAMES.get((operation, name), name)


def to_call(
    model: object, operation: Operation, values: Mapping[str, object], extra_body: Mapping[str, Any] | None
) -> Call:
    """The call that says a request; pictures in `values` are what `pictures.look` made of them.

    Raises:
        InvalidRequestError: a picture cannot be read, or a value has no wire form at all.
    """
    row = row_of(model, operation)
    endpoint = ENDPOINTS[operation]
    said: dict[str, Any] = {"model": model}
    for name, value in values.items():
        rule = row.rules.get(name) if row else None
        if not isinstance(rule, Ignored):
            said[wire_name(operation, name)] = _say(name, rule, value)
    said.update(extra_body or {})
    if endpoint.body == "json":
        return Call("POST", endpoint.path, json={name: _json_value(value) for name, value in said.items()})
    files = {name: _upload(value) for name, value in said.items() if isinstance(value, Picture)}
    form = {name: _form_text(value) for name, value in said.items() if name not in files}
    return Call("POST", endpoint.path, form=form, files=files)


def encode_json(value: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON body.

    Raises:
        InvalidRequestError: JSON cannot say a value of it (NaN, half a surrogate pair, an object).
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        problem = Problem("body", plain(dict(value)), "JSON values", str(error))
        raise InvalidRequestError.of("the request", (problem,)) from error


def fingerprint_of(call: Call) -> str:
    """SHA-256 over what a call asks for, pictures by their bytes, as 64 hex digits."""
    files = {name: hashlib.sha256(upload.data).hexdigest() for name, upload in call.files.items()}
    asked = {"path": call.path, "body": call.json or dict(call.form), "files": files}
    text = json.dumps(asked, sort_keys=True, default=repr, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _say(name: str, rule: Rule | None, value: object) -> object:
    _refuse_unreadable(name, value)
    if rule is not None and rule.judge(value) is None:
        return rule.to_wire(value)
    return value.to_wire("width x height") if isinstance(value, Size) else value


def _refuse_unreadable(name: str, value: object) -> None:
    if isinstance(value, Unreadable):
        raise InvalidRequestError.of("the request", (Problem(name, None, "a picture", value.why),))
    if isinstance(value, Mapping):
        for part, item in cast("Mapping[object, object]", value).items():
            _refuse_unreadable(f"{name}.{part}", item)


def _json_value(value: object) -> object:
    if isinstance(value, Picture):
        return value.to_data_uri()
    if isinstance(value, Link):
        return value.url
    if isinstance(value, Mapping):
        return {key: _json_value(item) for key, item in cast("Mapping[str, object]", value).items()}
    return value


def _upload(picture: Picture) -> Upload:
    return Upload(f"image.{picture.format}", picture.content_type, picture.data)


def _form_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list):
        return json.dumps(value)
    return str(_json_value(value))


# --- requests in --------------------------------------------------------------------------------


def from_call(call: Call) -> tuple[Operation, dict[str, object]] | None:
    """The operation and the parameters, `model` among them, that a call asks for; None for another path.

    The counterpart of `to_call`, for whoever answers calls.
    """
    for operation, endpoint in ENDPOINTS.items():
        if (call.method, call.path) == ("POST", endpoint.path):
            return operation, _parameters(operation, call)
    return None


def _parameters(operation: Operation, call: Call) -> dict[str, object]:
    names = {wire: name for (where, name), wire in _WIRE_NAMES.items() if where == operation}
    if call.json is not None:
        return {names.get(name, name): value for name, value in call.json.items()}
    row = row_of(call.form.get("model"), operation)
    rules = row.rules if row else _EMPTY
    values = {name: rules[name].from_text(text) if name in rules else text for name, text in call.form.items()}
    return {**values, **{name: upload.data for name, upload in call.files.items()}}


# --- answers ------------------------------------------------------------------------------------

TRACE_HEADER = "x-trace-id"


def parse_images(
    reply: Reply, *, model: str, base_url: str, now: float, link_lifetime: timedelta | None
) -> ImagesResponse:
    """The pictures of an answer, decoded.

    Args:
        reply: the answer.
        model: the model asked.
        base_url: what relative links are relative to.
        now: the time of the answer, seconds since 1970.
        link_lifetime: how long the server's links work; None where it is not known.

    Raises:
        APIStatusError: the status is an error.
        MalformedResponseError: it is a success without a picture that can be read.
    """
    content = _content(reply, now)
    items = content.get("data")
    if not isinstance(items, list) or not items:
        raise _malformed("the answer has no picture in it", reply)
    created = _int(content.get("created"))
    expires = None if link_lifetime is None else _expiry(created, now, link_lifetime)
    read = [_image(item, reply, base_url, expires) for item in cast("list[object]", items)]
    return ImagesResponse(tuple(read), created, _str(content.get("id")), reply.headers.get(TRACE_HEADER), model)


def parse_models(reply: Reply, *, now: float) -> tuple[Model, ...]:
    """The models a server lists."""
    items = _content(reply, now).get("data")
    if not isinstance(items, list):
        raise _malformed("the answer has no list of models", reply)
    return tuple(_model(item, reply) for item in cast("list[object]", items))


def parse_model(reply: Reply, *, now: float) -> Model:
    """One model."""
    return _model(_content(reply, now), reply)


def parse_account(reply: Reply, *, now: float) -> Account:
    """The account behind the key."""
    content = _content(reply, now)
    balance = _float(content.get("balance"))
    if balance is None:
        raise _malformed("the answer has no balance", reply)
    cash, voucher = (_float(content.get(f"total_{kind}_balance")) or 0.0 for kind in ("cash", "voucher"))
    return Account(_str(content.get("type")), balance, cash, voucher)


def parse_download(reply: Reply, *, now: float) -> bytes:
    """The bytes behind a link, known to be a picture."""
    raise_for_status(reply, now)
    if read_header(reply.body) is None:
        raise _malformed("the link leads to something that is no picture", reply)
    return reply.body


def picture_facts(data: bytes) -> dict[str, Any]:
    """`Image`'s fields that are read from the bytes."""
    header = read_header(data)
    if header is None:
        return {"data": data}
    return {"data": data, "format": header.format, "width": header.width, "height": header.height}


def _content(reply: Reply, now: float) -> Mapping[str, Any]:
    raise_for_status(reply, now)
    try:
        content: object = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"the answer is not JSON ({error})", reply) from error
    if not isinstance(content, dict):
        raise _malformed("the answer is not a JSON object", reply)
    return cast("dict[str, Any]", content)


def _image(item: object, reply: Reply, base_url: str, expires: datetime | None) -> Image:
    if not isinstance(item, dict):
        raise _malformed("the answer has something that is no picture", reply)
    content = cast("dict[str, object]", item)
    facts: dict[str, Any] = {"seed": _int(content.get("seed")), "finish_reason": _str(content.get("finish_reason"))}
    if facts["finish_reason"] == FILTERED:
        return Image(**facts)
    text = content.get("b64_json") or content.get("image")
    if isinstance(text, str):
        data = _decode(text, reply)
        if not data:
            raise _malformed("the answer's picture is empty", reply)
        return Image(**facts, **picture_facts(data))
    url = content.get("url")
    if isinstance(url, str) and url:
        return Image(**facts, url=_absolute(url, base_url, reply), expires_at=expires)
    raise _malformed("the answer has neither a picture nor a link", reply)


def _absolute(url: str, base_url: str, reply: Reply) -> str:
    try:
        return urljoin(base_url.rstrip("/") + "/", url)
    except ValueError as error:
        raise _malformed(f"the answer's link is none ({error})", reply) from error


def _expiry(created: int | None, now: float, lifetime: timedelta) -> datetime:
    """When links stop working; counted from `now` where the server gave no time, or an impossible one."""
    try:
        return datetime.fromtimestamp(created or now, UTC) + lifetime
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(now, UTC) + lifetime


def _decode(text: str, reply: Reply) -> bytes:
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        pass
    try:  # some servers break the lines, as MIME does
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(f"the picture's base64 is broken ({error})", reply) from error


def _model(item: object, reply: Reply) -> Model:
    content = cast("dict[str, object]", item) if isinstance(item, dict) else {}
    name = content.get("id")
    if not isinstance(name, str):
        raise _malformed("the answer has a model without an id", reply)
    return Model(name, _int(content.get("created")), _str(content.get("owned_by")))


def _malformed(message: str, reply: Reply) -> MalformedResponseError:
    return MalformedResponseError(
        f"{message}; error.body has what came", body=reply.body, trace_id=reply.headers.get(TRACE_HEADER)
    )


def _int(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if abs(value) < 2**63 else None


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _str(value: object) -> str | None:
    return value if isinstance(value, str) else None


# --- error answers ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusMeaning:
    """What a status says: the error it becomes, what it cost, what a user can do, and whether to try again."""

    error: type[APIStatusError]
    billing: Billing = "rejected"
    hint: str = ""
    again: bool = False


STATUSES: Mapping[int, StatusMeaning] = MappingProxyType(
    {
        400: StatusMeaning(BadRequestError),
        401: StatusMeaning(AuthenticationError, hint="check STEP_API_KEY, and that it belongs to this host"),
        402: StatusMeaning(InsufficientBalanceError, hint="top the account up"),
        403: StatusMeaning(PermissionDeniedError, hint="this key may not do that"),
        404: StatusMeaning(NotFoundError, hint="check base_url, which usually ends in /v1"),
        429: StatusMeaning(RateLimitError, hint="lower Limits(max_concurrency=...)", again=True),
        451: StatusMeaning(ContentRejectedError, hint="change the prompt or the picture"),
        503: StatusMeaning(InternalServerError, hint="the server is overloaded", again=True),
    }
)
"""Statuses with a meaning of their own; `meaning_of` knows the others."""

_SERVER_TROUBLE = StatusMeaning(InternalServerError, "unknown", "it may have been billed; asking again may pay twice")
_REDIRECT = StatusMeaning(APIStatusError, hint="redirects are not followed: use the address it leads to as base_url")
_REFUSED = StatusMeaning(APIStatusError)


def meaning_of(status: int) -> StatusMeaning:
    """What a status says. Beside `STATUSES`, a 5xx is `unknown` and anything else `rejected`."""
    if status in STATUSES:
        return STATUSES[status]
    if status >= 500:
        return _SERVER_TROUBLE
    return _REDIRECT if status < 400 else _REFUSED


def raise_for_status(reply: Reply, now: float) -> None:
    """Raise the error that `reply`'s status means; nothing for 2xx.

    Args:
        reply: the answer.
        now: the time of the answer, seconds since 1970, for a `Retry-After` that is a date.
    """
    if 200 <= reply.status < 300:
        return
    meaning = meaning_of(reply.status)
    said, kind, body = _error_body(reply.body)
    hint = f" ({meaning.hint})" if meaning.hint else ""
    raise meaning.error(
        f"{reply.status}: {said or 'the server gave no reason'}{hint}",
        status=reply.status,
        billing=meaning.billing,
        type=kind,
        body=body,
        trace_id=reply.headers.get(TRACE_HEADER),
        retry_after=retry_after(reply.headers, now),
    )


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by the `Retry-After` header, given in seconds or as a date; None without one.

    A date is compared with the answer's own `Date` where it has one, so that a clock that is off
    does not matter.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        when = _epoch(text)
        if when is None:
            return None
        seconds = when - (_epoch(headers.get("date", "")) or now)
    return max(0.0, seconds) if seconds < float("inf") else None


def _epoch(text: str) -> float | None:
    try:
        when = email.utils.parsedate_to_datetime(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


_SHOWN_BODY = 500


def _error_body(body: bytes) -> tuple[str | None, str | None, Mapping[str, Any] | str]:
    """Message, type and content of an error body, be it StepFun's JSON, other JSON, HTML or nothing."""
    text = body[: _SHOWN_BODY * 4].decode("utf-8", "replace")[:_SHOWN_BODY].strip()
    try:
        content: object = json.loads(body)
    except (ValueError, RecursionError):
        return (None if text.startswith("<") else text or None), None, text
    if not isinstance(content, dict):
        return text, None, text
    mapping = cast("dict[str, Any]", content)
    error = mapping.get("error") or mapping
    if not isinstance(error, dict):
        return str(error)[:_SHOWN_BODY], None, mapping
    inner = cast("dict[str, object]", error)
    said = _str(inner.get("message")) or (text if mapping else "")
    return said[:_SHOWN_BODY], _str(inner.get("type")), mapping
