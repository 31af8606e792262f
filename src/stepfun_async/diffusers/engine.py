"""`DiffusersEngine`: a local model behind StepFun's protocol."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from stepfun_async._core.capabilities import CustomModel
from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.registry import add_rows, remove_rows
from stepfun_async._core.server import DIFFUSERS
from stepfun_async._core.text import shown
from stepfun_async.embedded import Engine, use

from .pipelines import Device, OnProgress, Pipelines

if TYPE_CHECKING:
    from types import TracebackType

_WAITING = 8
"""The default number of callers that may wait for the model."""


class DiffusersEngine(Engine):
    """A model of this machine behind StepFun's protocol, run by diffusers.

    It has the validation, statuses, links and faults of `Engine`, whose other arguments it takes too. It makes one
    image at a time, stops when the caller disconnects, and counts seconds of work in place of money. Equal parameters
    and seeds give equal bytes on the same machine. Loading blocks for seconds to minutes.

    Inside its `with` block it serves every client of the process with `base_url="diffusers"`, and at its end the
    memory is freed. Without a block, pass `transport=EmbeddedTransport(engine)`, or serve it with
    `stepfun_async.embedded.server.running`, and call `close()`.

    Args:
        folder: the folder of the model, in the format of diffusers, with `model_index.json`. Nothing is downloaded.
        device: `cpu`, `cuda`, or `auto` for `cuda` if there is a GPU.
        name: the model's name in the API; by default that of the folder.
        queue: how many callers may wait for the model; others get 429 with a `Retry-After`.
        on_progress: called with `Progress` after each step and at the end, in the thread that makes the image.
        settings: the other arguments of `Engine`.

    Raises:
        ConfigurationError: torch or diffusers is missing, or the folder has no model that makes images, is incomplete,
            or needs more memory than there is; the message says what to do. Most is found before anything is loaded.
    """

    base_url = DIFFUSERS

    def __init__(
        self,
        folder: str | os.PathLike[str],
        device: Device = "auto",
        *,
        name: str | None = None,
        queue: int = _WAITING,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> None:
        if type(queue) is not int or queue < 0:
            raise ConfigurationError(f"queue is the number of callers that may wait, 0 or more, not {shown(queue)}")
        super().__init__(**settings)  # refuses invalid settings before the model is loaded
        self.backend = self._pipelines = Pipelines(Path(folder).expanduser(), device, name, queue, on_progress)
        self._uses: list[ExitStack] = []
        self._rows = tuple(self._pipelines.rows())
        add_rows(self._rows)

    @property
    def model(self) -> CustomModel:
        """The model's name in the API, as a type that the methods' signatures accept."""
        return CustomModel(self._pipelines.name)

    @property
    def on_progress(self) -> OnProgress | None:
        """Called after each step and at the end, in the thread that makes the image; `None` for no callback."""
        return self._pipelines.on_progress

    @on_progress.setter
    def on_progress(self, callback: OnProgress | None) -> None:
        self._pipelines.on_progress = callback

    def close(self) -> None:
        """Stop the current image, and free the memory of the model. Closing again does nothing."""
        remove_rows(self._rows)
        self._pipelines.close()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(use(self))
            self._uses.append(stack.pop_all())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._uses.pop().close()
        self.close()

    def __repr__(self) -> str:
        return f"<DiffusersEngine {self._pipelines.purpose}>"
