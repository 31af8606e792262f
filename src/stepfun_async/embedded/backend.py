"""The part of an engine that makes images, and its error if it makes none.

The engine validates, charges and responds; a backend makes the bytes. `drawing` draws stand-ins, and
`stepfun_async.diffusers` runs models.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from stepfun_async._core.capabilities import Capability
from stepfun_async._core.registry import rows
from stepfun_async._core.validation import Values


class NotMadeError(Exception):
    """No image was made, and none is charged.

    Attributes:
        status: the HTTP status of the response.
        kind: the `type` of its error body.
        retry_after: seconds until a retry may succeed; `None` if unknown.
    """

    def __init__(self, message: str, *, status: int, kind: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after = retry_after


class Stop:
    """A signal to stop making an image whose caller has gone; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._is_set = False

    @property
    def is_set(self) -> bool:
        """Whether to stop."""
        return self._is_set

    def set(self) -> None:
        """Stop the work, and call all callbacks."""
        with self._lock:
            self._is_set = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def call(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the signal is set, at once if it is set already."""
        with self._lock:
            if not self._is_set:
                self._callbacks.append(callback)
                return
        callback()


@dataclass(slots=True)
class Work:
    """An image to make.

    Attributes:
        row: the model's row.
        values: the parameters, valid by `row`; images as `load_image` read them.
        seed: the seed.
        stop: set when the caller has gone.
        seconds: how long the backend worked on it, without waiting; the backend sets it.
    """

    row: Capability
    values: Values
    seed: int
    stop: Stop = field(default_factory=Stop)
    seconds: float = 0.0


class Backend(Protocol):
    """Makes the images of an engine; called from several threads.

    Attributes:
        purpose: what it is, in words.
        owner: who owns its models, as their list says; empty for StepFun.
        quick: whether an image takes less than a millisecond, so that it is made in the event loop.
        stops: whether it stops when `Work.stop` is set. Otherwise the image of a caller who has gone is made and
            charged, as StepFun does.
    """

    @property
    def purpose(self) -> str: ...

    @property
    def owner(self) -> str: ...

    @property
    def quick(self) -> bool: ...

    @property
    def stops(self) -> bool: ...

    def rows(self) -> Iterable[Capability]:
        """Return the rows of the models it serves."""
        ...

    def make(self, work: Work) -> bytes | None:
        """Make the image, as a PNG; `None` if a filter withholds it.

        Raises:
            NotMadeError: no image was made.
        """
        ...


class Drawing:
    """Draws stand-in images, for all models of the tables.

    Args:
        plain: draw two colours, without Pillow.
    """

    purpose = "a stand-in for StepFun's image service, for development"
    owner = ""
    stops = False

    def __init__(self, *, plain: bool) -> None:
        self.quick = plain

    def rows(self) -> Iterable[Capability]:
        return rows()

    def make(self, work: Work) -> bytes:
        from .drawing.frame import UndecodableError

        try:
            return self._draw(work)
        except UndecodableError as error:
            raise undecodable(error) from error

    def _draw(self, work: Work) -> bytes:
        if self.quick:
            from .drawing import plain

            return plain.draw(work.values, work.row, work.seed)
        from .drawing.landscape import draw

        return draw(work.values, work.row, work.seed)


def undecodable(error: Exception) -> NotMadeError:
    """Return the error for an image with a valid header and broken contents."""
    message = f"the image sent cannot be decoded: {error}"
    return NotMadeError(message, status=400, kind="request_params_invalid")
