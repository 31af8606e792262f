"""Requests and responses as they go over the wire.

`HTTPRequest` and `HTTPResponse` are the only interface between the core and what sends them: the client's transport
and the embedded engine use the same two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from .._runtime.files import FileChangedError, FileSource
from .capabilities import ENDPOINTS, WIRE_NAMES, Capability, Operation
from .cutting import ExtractedImage, Sink, reassemble
from .errors import InvalidRequestError
from .input_images import Content, ImageURL, InputImage, InvalidImage
from .json_text import json_writer
from .problems import Description, Problem
from .registry import row_of
from .rules import OMITTED, Rule, Violation
from .sizes import Size
from .text import reason

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Upload(Content):
    """A file of a multipart form; its content is in memory, or still on disk."""

    filename: str
    content_type: str
    content: bytes | FileSource = field(repr=False)


@dataclass(slots=True)
class HTTPRequest:
    """A request to send.

    Attributes:
        method: the HTTP method.
        path: below the base URL, beginning with a slash; or a whole link, which gets no key.
        json: the body as JSON; `None` for a form or no body.
        form: the text fields of a multipart form.
        files: its files, by field.
        headers: additional headers, by lower-case name.
        into: makes the sink for an image of the response, given its maximum bytes (0 if unknown).
            `None` keeps the response in memory. A transport may ignore it.
        content: `json`, encoded once for all attempts; `None` has the transport encode it.
    """

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    form: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    files: Mapping[str, Upload] = field(default_factory=lambda: _EMPTY)
    headers: Mapping[str, str] = field(default_factory=lambda: _EMPTY, repr=False)
    into: Callable[[int], Sink] | None = field(default=None, repr=False)
    content: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(slots=True)
class HTTPResponse:
    """A response received.

    Attributes:
        status: the HTTP status.
        headers: header names are in lower case.
        body: the body; where images were cut out of it, with a mark in place of each.
        images: those images, in their order.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    images: tuple[ExtractedImage, ...] = field(default=(), repr=False)

    def whole(self) -> HTTPResponse:
        """Return the response as it came, images included. Blocks if they are in a file."""
        if not self.images:
            return self
        return HTTPResponse(self.status, self.headers, reassemble(self.body, self.images))


class SendState:
    """Whether the request body has been sent, so that a cancelled attempt can be classified.

    Attributes:
        began: when the attempt began, by the clock of its event loop.
        loop: that loop; `None` if it is not known.
        clock: its clock; `None` if it is not known.
        sent: whether a byte of the body may have left this machine; `None` if unknown.
        sent_at: when the body was first sent; `None` if it was not, or if unknown.

    Args:
        began: likewise.
        loop: likewise.
        clock: likewise.
        sent_clock: returns the time for `sent_at`; `None` if that is not needed.
    """

    __slots__ = ("_sent_clock", "began", "clock", "loop", "sent", "sent_at")

    def __init__(
        self,
        began: float = 0.0,
        loop: object | None = None,
        clock: Callable[[], float] | None = None,
        sent_clock: Callable[[], float] | None = None,
    ) -> None:
        self.began = began
        self.loop = loop
        self.clock = clock
        self._sent_clock = sent_clock
        self.sent: bool | None = None
        self.sent_at: float | None = None

    def mark_sent(self) -> None:
        """Record that the body begins to be sent."""
        self.sent = True
        self.sent_at = self._sent_clock() if self._sent_clock else None


# --- requests out -------------------------------------------------------------------------------


def wire_name(operation: Operation, name: str) -> str:
    """Return StepFun's name of a parameter."""
    return WIRE_NAMES[operation].get(name, name)


def _own_name(names: Mapping[str, str], wire: str) -> str:
    """Return the SDK's name of a parameter of the wire."""
    return next((name for name, other in names.items() if other == wire), wire)


def to_request(
    model: object,
    operation: Operation,
    row: Capability | None,
    wire: dict[str, Any],
    extra_body: Mapping[str, Any] | None,
) -> HTTPRequest:
    """Return the request for an operation.

    Args:
        model: the model's name.
        operation: the operation.
        row: the row of the model table for both; `None` if there is none.
        wire: the parameters, by their names and with their values on the wire. It becomes part of the request.
        extra_body: further fields to send, unchecked.

    Raises:
        InvalidRequestError: an image cannot be read, or a value has no form on the wire.
    """
    body: dict[str, Any] = {"model": model, **wire}
    if extra_body is not None:
        with _named("extra_body"):
            body.update(json.loads(json.dumps(dict(extra_body))))  # as it is now, and of plain values
    if row is None:
        endpoint, names = ENDPOINTS[operation], WIRE_NAMES[operation]
    else:
        endpoint, names = row.endpoint, row.wire_names
        body = _with_tag(body, row) if row.tag else body
    if endpoint.body == "json":
        for name, value in body.items():
            if type(value) not in _PLAIN:
                body[name] = _json_of(_own_name(names, name), value)
        return HTTPRequest("POST", endpoint.path, body, _EMPTY, _EMPTY, _EMPTY)
    files = {name: _upload(value) for name, value in body.items() if type(value) is InputImage}
    form = {name: _form_text(_own_name(names, name), value) for name, value in body.items() if name not in files}
    return HTTPRequest("POST", endpoint.path, form=form, files=files)


def _with_tag(said: Mapping[str, Any], row: Capability) -> dict[str, Any]:
    """`said` with the parameters whose wire names are in `row.renamed` as JSON in a tag at the prompt's end."""
    inside = set((row.renamed or {}).values())
    nested: dict[str, Any] = {}
    for name in inside & said.keys():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = said[name]
    rest = {name: value for name, value in said.items() if name not in inside}
    if nested and isinstance(rest.get("prompt"), str):
        tagged = json.dumps(nested, sort_keys=True, separators=(",", ":"))
        rest["prompt"] = f"{rest['prompt']} <{row.tag}>{tagged}</{row.tag}>"
    return rest


def unchecked(operation: Operation, row: Capability | None, values: Mapping[str, object]) -> dict[str, Any]:
    """The parameters by their names on the wire; those that the row does not allow as they are.

    Raises:
        InvalidRequestError: an image cannot be read.
    """
    rules = row.rules if row else _EMPTY
    names = row.wire_names if row else WIRE_NAMES[operation]
    wire = {names.get(name, name): _encode(name, rules.get(name), value) for name, value in values.items()}
    return {name: value for name, value in wire.items() if value is not OMITTED}


@contextmanager
def _named(name: str) -> Generator[None]:
    """Raise errors of users' values in the block as a problem of the parameter `name`."""
    try:
        yield
    except InvalidRequestError:
        raise
    except Exception as error:
        problem = Problem(name, None, "a value that can be sent", reason(error))
        raise InvalidRequestError.of("the request", (problem,)) from error


_write_json = json_writer(compact=True, allow_nan=False)


def encode_json(value: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON body.

    Raises:
        InvalidRequestError: JSON cannot represent a value in it (NaN, half a surrogate pair, an object).
    """
    try:
        return _write_json(value).encode()
    except Exception as error:  # a user's methods may raise anything
        problem = Problem("body", Description("a mapping"), "JSON values", reason(error))
        raise InvalidRequestError.of("the request", (problem,)) from error


def fingerprint_of(call: HTTPRequest) -> str:
    """Return the SHA-256 of what a call requests, images by their bytes, as 64 hex digits.

    Raises:
        InvalidRequestError: an image's file has just changed, or a value cannot be encoded.
    """
    files = {name: _hash_of(name, upload) for name, upload in call.files.items()}
    asked = {"path": call.path, "body": call.json or dict(call.form), "files": files}
    with _named("body"):
        text = _write_sorted(asked)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_write_sorted = json_writer(ensure_ascii=True, compact=True, sort_keys=True, default=repr)


def _hash_of(name: str, upload: Upload) -> str:
    pieces = (upload.content,) if isinstance(upload.content, bytes) else upload.content.pieces()
    running = hashlib.sha256()
    try:
        for piece in pieces:
            running.update(piece)
    except FileChangedError as error:
        raise _changed(name, error) from error
    return running.hexdigest()


def _encode(name: str, rule: Rule | None, value: object) -> object:
    with _named(name):
        _refuse_unreadable(name, value)
        converted = value if rule is None else rule.convert(value)
        if rule is not None and type(converted) is not Violation:
            return converted
        return value.to_wire("width x height") if isinstance(value, Size) else value


_PLAIN = (str, int, float, bool)
"""The types that JSON encodes as they are: most values have one, and it is fast to check."""


def _refuse_unreadable(name: str, value: object) -> None:
    if isinstance(value, InvalidImage):
        raise InvalidRequestError.of("the request", (Problem(name, None, "an image", value.why),))
    if isinstance(value, Mapping):
        for part, item in cast("Mapping[object, object]", value).items():
            _refuse_unreadable(f"{name}.{part}", item)


def _json_of(name: str, value: object) -> object:
    with _named(name):
        return _json_value(name, value)


def _json_value(name: str, value: object) -> object:
    if isinstance(value, InputImage):
        return _data_uri(name, value)
    if isinstance(value, ImageURL):
        return value.url
    if isinstance(value, Mapping):
        return {key: _json_value(f"{name}.{key}", item) for key, item in cast("Mapping[str, object]", value).items()}
    return value


def _data_uri(name: str, image: InputImage) -> str:
    try:
        return image.to_data_uri()
    except FileChangedError as error:
        raise _changed(name, error) from error


def _changed(name: str, error: FileChangedError) -> InvalidRequestError:
    problem = Problem(name, None, "an image", f"{error} since it was read: create a new request")
    return InvalidRequestError.of("the request", (problem,))


def _upload(image: InputImage) -> Upload:
    return Upload(f"image.{image.format}", image.content_type, image.content)


def _form_text(name: str, value: object) -> str:
    with _named(name):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, Mapping | list):
            return json.dumps(value)
        return str(_json_value(name, value))


# --- requests in --------------------------------------------------------------------------------


def from_call(call: HTTPRequest) -> tuple[Operation, dict[str, object]] | None:
    """The operation and the parameters, `model` among them, that a call asks for; `None` for another path.

    The counterpart of `to_call`, for servers.
    """
    for operation, endpoint in ENDPOINTS.items():
        if (call.method, call.path) == ("POST", endpoint.path):
            return operation, _parameters(operation, call)
    return None


def _parameters(operation: Operation, call: HTTPRequest) -> dict[str, object]:
    names = {wire: name for name, wire in WIRE_NAMES[operation].items()}
    if call.json is not None:
        return {names.get(name, name): value for name, value in call.json.items()}
    row = row_of(call.form.get("model"), operation)
    rules = row.rules if row else _EMPTY
    values = {name: rules[name].from_text(text) if name in rules else text for name, text in call.form.items()}
    return {**values, **{name: upload.data for name, upload in call.files.items()}}
