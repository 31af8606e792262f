"""The log of an engine's calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from stepfun_async._core.capabilities import Operation
from stepfun_async._core.input_images import InputImage, of_data_uri
from stepfun_async._core.registry import row_of
from stepfun_async._core.sizes import Size
from stepfun_async._core.wire import HTTPRequest, from_call

from .faults import Fault


@dataclass(frozen=True, slots=True)
class ImageCall:
    """One call for an image: the request and its result.

    Each attempt is a call, so a retried request is listed twice.

    Attributes:
        operation: `text_to_image`, `edit` or `image_to_image`.
        parameters: the parameters sent, by the SDK's names, in their wire form.
        fault: the fault of the scenario that applied; `None` if none did.
        status: the HTTP status of the response; `None` if none was sent, or not yet.
        paid: whether an image was made and charged, even if it never arrived.
    """

    operation: Operation
    parameters: Mapping[str, Any] = field(repr=False)
    fault: Fault | None = None
    status: int | None = None
    paid: bool = False

    @property
    def model(self) -> Any:
        """The model's name, as sent."""
        return self.parameters.get("model")

    @property
    def prompt(self) -> Any:
        """The prompt, as sent."""
        return self.parameters.get("prompt")

    @property
    def size(self) -> Size | None:
        """The requested size, with named sides; `None` if none was sent."""
        row, asked = row_of(self.model, self.operation), self.parameters.get("size")
        return row.size_rule.pick(asked) if row and row.size_rule and asked is not None else None

    @property
    def image(self) -> Any:
        """The bytes or the link of the image that was sent; `None` if none was."""
        sent = self.parameters.get("image")
        image = of_data_uri(sent) if isinstance(sent, str) else None
        return image.data if isinstance(image, InputImage) else sent


class Log:
    """The calls for images in the order of their arrival; safe to use from several threads.

    It keeps everything sent, including images, so use it for tests, not for servers that run for long.
    """

    def __init__(self) -> None:
        self._calls: list[ImageCall] = []
        self._lock = threading.Lock()

    @property
    def calls(self) -> tuple[ImageCall, ...]:
        """The calls so far."""
        with self._lock:
            return tuple(self._calls)

    def arrived(self, call: HTTPRequest, fault: Fault | None) -> Callable[..., None]:
        """Record a call for an image.

        Returns:
            A function that records its result: `status` and `paid`, as in `ImageCall`.
        """
        asked = from_call(call)
        if asked is None:
            raise ValueError(f"{call.method} {call.path} is not a call for an image")
        with self._lock:
            self._calls.append(ImageCall(*asked, fault=fault))
            return partial(self._change, len(self._calls) - 1)

    def _change(self, index: int, **facts: Any) -> None:
        with self._lock:
            self._calls[index] = replace(self._calls[index], **facts)
