"""The options of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run treats the results of earlier runs, and failures.

    Attributes:
        hold_unknown: do not send lines again that may have been billed.
        accept_changes: continue although lines or settings have changed.
        verify: compare every image with its digest, and read every line again.
        max_failures: stop the run after this many failures; `None` for no limit.
    """

    hold_unknown: bool = False
    accept_changes: bool = False
    verify: bool = False
    max_failures: int | None = None
