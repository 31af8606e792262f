"""The options of one call, besides its parameters."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from .._core.problems import Problem, plain
from .._core.results import SaveTo, targets
from .._core.text import reason
from .._runtime.files import names_directory, why_directory, why_not_writable
from .settings import check_headers, check_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one call.

    Attributes:
        save_to: where to write the image; `None` keeps it in memory.
        overwrite: whether a file that is there may be replaced.
        timeout: seconds for everything after the slot is granted; None takes the client's.
        queue_timeout: seconds to wait for a slot; None takes the client's.
        headers: headers sent besides.
        fetch: fetch the image of a response that has only a link to it; `save_to` does so anyway.
    """

    save_to: SaveTo | None = None
    overwrite: bool = False
    timeout: float | None = None
    queue_timeout: float | None = None
    headers: Mapping[str, str] | None = None
    fetch: bool = False

    def problems(self) -> tuple[Problem, ...]:
        """Return the invalid options, as problems like those of a request."""
        if self.timeout is None and self.queue_timeout is None and self.headers is None and self.save_to is None:
            return ()
        return tuple(self._problems())

    def _problems(self) -> Iterator[Problem]:
        if self.timeout is not None and (why := check_seconds("timeout", self.timeout)):
            yield Problem("timeout", plain(self.timeout), "seconds, above 0", why)
        if self.queue_timeout is not None and (why := check_seconds("queue_timeout", self.queue_timeout, zero=True)):
            yield Problem("queue_timeout", plain(self.queue_timeout), "seconds, 0 or more", why)
        if self.headers is not None and (why := check_headers(self.headers)):
            yield Problem("extra_headers", plain(self.headers), "names and values", why)
        if self.save_to is not None and (why := _why_not_saved(self.save_to, overwrite=self.overwrite)):
            yield Problem("save_to", plain(self.save_to), "a new file in a folder that can be written to", why)


NO_OPTIONS = Options()
"""The options of a call without any."""


def _why_not_saved(save_to: object, *, overwrite: bool) -> str | None:
    """Return why an image cannot be saved there; the extension that it will get is not known yet."""
    try:
        path = os.fspath(cast("str", save_to))
        target = Path(path)
    except Exception as error:  # noqa: BLE001 - a user's path-like may raise anything
        return f"it is not a path: {reason(error)}"
    if type(save_to) is str and not save_to:
        return "it is not a path"
    if names_directory(path):
        return why_directory(path)
    return why_not_writable(*targets(target), overwrite=overwrite)
