"""The engine that answers every embedded client which brings none of its own, where one was chosen."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from .engine import Engine

_lock = threading.Lock()
_uses: tuple[tuple[object, Engine], ...] = ()
"""What `use` blocks chose, the latest one last, each with a mark of its own."""


@contextmanager
def use(engine: Engine) -> Generator[Engine]:
    """Have `engine` answer, for the length of the `with` block.

    It answers the calls of every client with `base_url="embedded"` and no transport of its own, in
    all threads of this process, whether the client was made before the block or inside. Of blocks
    within one another the innermost holds.

    Args:
        engine: what answers.

    Yields:
        The engine.
    """
    global _uses
    mark = object()
    with _lock:
        _uses = (*_uses, (mark, engine))
    try:
        yield engine
    finally:
        with _lock:
            _uses = tuple(one for one in _uses if one[0] is not mark)


def in_use() -> Engine | None:
    """The engine that the innermost `use` block chose; None outside of any."""
    uses = _uses
    return uses[-1][1] if uses else None
