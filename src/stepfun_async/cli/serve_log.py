"""The output of `serve`: a line for each request, and the steps of the image in progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display

from stepfun_async._core.text import escaped

from .console import spinner

if TYPE_CHECKING:
    from types import TracebackType

    from stepfun_async.diffusers import Progress

_LOG_SECONDS = 10.0
"""Seconds between two log lines about one image."""


class ServeLog(logging.Handler):
    """The log of `serve` on stderr; on a terminal, with a spinner and the steps below while an image is made."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._display: Display | None = None
        self._logged = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            clock = time.strftime("%H:%M:%S", time.localtime(record.created))
            lines = [escaped(line) for line in self.format(record).splitlines()]
            self._console.print("\n".join([f"{clock} {lines[0]}", *lines[1:]]), markup=False, soft_wrap=True)
        except Exception:  # noqa: BLE001 - a log must not end the server
            self.handleError(record)

    def __enter__(self) -> Self:
        log = logging.getLogger("stepfun_async")
        log.addHandler(self)
        log.setLevel(logging.INFO)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_display()
        logging.getLogger("stepfun_async").removeHandler(self)

    @contextmanager
    def loading(self, folder: Path) -> Generator[None]:
        """Show that a model is loaded during the `with` block."""
        with spinner(f"loading {folder}"):
            yield

    def on_progress(self, progress: Progress) -> None:
        """Show the steps of the image in work, or remove them once it is over."""
        if progress.over:
            self._end_display()
            self._logged = 0.0
        elif self._console.is_terminal:
            self._show(progress)
        else:
            self._log(progress)

    def _show(self, progress: Progress) -> None:
        if self._display is None:
            columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn())
            steps = (MofNCompleteColumn(), TextColumn("steps"), TimeElapsedColumn())
            self._display = Display(*columns, *steps, console=self._console, transient=True)
            self._display.add_task("", total=None)
            self._display.start()
        task = self._display.tasks[0].id
        self._display.update(task, description=_text(progress), completed=progress.step, total=progress.steps)

    def _end_display(self) -> None:
        display, self._display = self._display, None
        if display is not None:
            display.stop()

    def _log(self, progress: Progress) -> None:
        now = time.monotonic()
        self._logged = self._logged or now
        if now - self._logged >= _LOG_SECONDS:
            self._logged = now
            logging.getLogger("stepfun_async").info("%s: step %d of %d", _text(progress), progress.step, progress.steps)


def _text(progress: Progress) -> str:
    waiting = f", {progress.waiting} waiting" if progress.waiting else ""
    return escaped(f"{progress.model} {progress.operation}{waiting}")
