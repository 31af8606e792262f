"""What an engine was asked for, call by call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from stepfun_async._core.capabilities import Operation
from stepfun_async._core.pictures import Picture, of_data_uri
from stepfun_async._core.registry import row_of
from stepfun_async._core.sizes import Size
from stepfun_async._core.wire import HTTPRequest, from_request

from .faults import Fault


@dataclass(frozen=True, slots=True)
class PictureCall:
    """One call for a picture: what was asked, and what came of it.

    Each attempt is a call, so one that was tried again is there twice.

    Attributes:
        operation: `text_to_image`, `edit` or `image_to_image`.
        parameters: what was sent, by the SDK's names, in the form it has on the wire.
        fault: the fault of the scenario that it met; None where it met none.
        status: the HTTP status of the answer; None where none came, or not yet.
        paid: whether a picture was made and charged, even if it never arrived.
    """

    operation: Operation
    parameters: Mapping[str, Any] = field(repr=False)
    fault: Fault | None = None
    status: int | None = None
    paid: bool = False

    @property
    def model(self) -> Any:
        """The model's name, as it was sent."""
        return self.parameters.get("model")

    @property
    def prompt(self) -> Any:
        """The prompt, as it was sent."""
        return self.parameters.get("prompt")

    @property
    def size(self) -> Size | None:
        """The size that was asked for, whichever way round the model's wire string has it; None where none was."""
        row, asked = row_of(self.model, self.operation), self.parameters.get("size")
        return row.sizes.pick(asked) if row and row.sizes and asked is not None else None

    @property
    def image(self) -> Any:
        """The bytes of the picture that was sent, or its link; None where there was none."""
        sent = self.parameters.get("image")
        picture = of_data_uri(sent) if isinstance(sent, str) else None
        return picture.data if isinstance(picture, Picture) else sent


class Log:
    """The calls for pictures in the order of their arrival; safe to use from several threads.

    It keeps what was sent, pictures included, so it is for tests rather than for servers that run on.
    """

    def __init__(self) -> None:
        self._calls: list[PictureCall] = []
        self._lock = threading.Lock()

    @property
    def calls(self) -> tuple[PictureCall, ...]:
        """What arrived so far."""
        with self._lock:
            return tuple(self._calls)

    def arrived(self, call: HTTPRequest, fault: Fault | None) -> Callable[..., None]:
        """Note a call for a picture.

        Returns:
            A function that takes what comes of it: `status` and `paid`, as `PictureCall` has them.
        """
        asked = from_request(call)
        if asked is None:
            raise ValueError(f"{call.method} {call.path} is no call for a picture")
        with self._lock:
            self._calls.append(PictureCall(*asked, fault=fault))
            return partial(self._change, len(self._calls) - 1)

    def _change(self, index: int, **facts: Any) -> None:
        with self._lock:
            self._calls[index] = replace(self._calls[index], **facts)
