"""The events of a call: passed to `on_event` and logged.

They are emitted when a call starts, at the end of each of its attempts, and when it ends.
None of these values holds the key. The prompt and the image are only inside `request` and
`response`, which their `repr` leaves out.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from .errors import Billing

if TYPE_CHECKING:
    from collections.abc import Callable

    from .requests import ImageRequest
    from .results import ImagesResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """A call was accepted: it is valid, its price is reserved, and now it waits for its slot.

    Attributes:
        call: a number that all events of the call share; unique in this process.
        operation: `text_to_image`, `edit`, `image_to_image`, `download`, `models` or `account`.
        model: the model asked; `None` if there is none.
        server: the host called; `embedded` for the engine in this process.
        port: its port.
        request: the request value, prompt and images included; `None` if the call is not for an image.
        headers: empty; what `on_event` puts in is sent with each attempt to the API, such as a `traceparent`. The
            headers that the call itself was given prevail. A link gets none of them.
    """

    call: int
    operation: str
    model: str | None
    server: str
    port: int | None
    request: "ImageRequest | None" = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """One attempt of a call ended, successfully or not.

    Attributes:
        call: as in `CallStarted`.
        operation: as in `CallStarted`.
        model: as in `CallStarted`.
        attempt: which one, from 1.
        billing: what is known about money; `executed` for an image that arrived.
        elapsed: seconds that the attempt took.
        status: the HTTP status of an error response, 200 for a success; `None` if no response came.
        error: how it failed; `None` for a success.
        wait: seconds until the next attempt; `None` if there is none.
        trace_id: the server's `X-Trace-Id`, or what a gateway has in its place; None without one.
    """

    call: int
    operation: str
    model: str | None
    attempt: int
    billing: Billing
    elapsed: float
    status: int | None = None
    error: BaseException | None = None
    wait: float | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """A call ended: it succeeded, failed or was cancelled. Each `CallStarted` is followed by exactly one.

    Attributes:
        call: as in `CallStarted`.
        operation: as in `CallStarted`.
        model: as in `CallStarted`.
        attempts: how many were made; 0 when it never got its slot.
        billing: what is known about money after the last attempt.
        billed: images that arrived, and so were charged.
        maybe_billed: attempts that may have been charged, the successful one included.
        queued: seconds it waited for its slot.
        elapsed: seconds from `CallStarted` to here, the wait for the slot included.
        response: the response, images included; None without one.
        error: how it failed; `None` if it succeeded.
    """

    call: int
    operation: str
    model: str | None
    attempts: int
    billing: Billing
    billed: int
    maybe_billed: int
    queued: float
    elapsed: float
    response: "ImagesResponse | None" = field(default=None, repr=False)
    error: BaseException | None = None


Event: TypeAlias = CallStarted | AttemptEnded | CallEnded
OnEvent: TypeAlias = "Callable[[Event], object]"
"""A synchronous callback, called with each event in the task of the call.

An `Exception` that it raises is logged, and the call continues. Any other `BaseException`, such as
`KeyboardInterrupt`, ends the call and is raised to the caller: at `CallStarted` before anything is sent, later
instead of a further attempt. An image that has arrived is saved first, and its price counted; the `SaveError` in
`__cause__` has it.
"""
