"""The engine chosen for all embedded clients that have none of their own."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from stepfun_async._core.server import EMBEDDED

from .engine import Engine

_lock = threading.Lock()
_uses: tuple[tuple[object, Engine], ...] = ()
"""The engines that `use` blocks chose, the latest last, each with its own token."""


@contextmanager
def use(engine: Engine) -> Generator[Engine]:
    """Serve embedded clients with `engine` during the `with` block.

    It serves every client with `base_url="embedded"` and no transport of its own, in
    all threads of this process, whether the client was made before the block or inside. With
    nested blocks, the innermost applies. A `DiffusersEngine` likewise serves the clients with `base_url="diffusers"`.

    Args:
        engine: the engine to use.

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


def in_use(base_url: str = EMBEDDED) -> Engine | None:
    """Return the engine for `base_url` of the innermost `use` block; `None` outside of any."""
    return next((engine for _, engine in reversed(_uses) if engine.base_url == base_url), None)
