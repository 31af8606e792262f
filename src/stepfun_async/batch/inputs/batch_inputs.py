"""The inputs of a batch with their variations and limit, opened again for each pass."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, closing
from typing import Any

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._runtime.event_loop import deliver_cancellation, finished_in_thread

from .sources import FirstLines, Source, Variations, is_file, source_of


class BatchInputs:
    """The inputs of a batch.

    Args:
        inputs: a file, a table, an iterable or an async iterable, as for `source_of`.
        variations: the number of images for each line.
        limit: the number of lines to read, variations included; `None` for all.

    Attributes:
        inputs: as given.
        variations: as given.
        limit: as given.
    """

    def __init__(self, inputs: Any, variations: int, limit: int | None) -> None:
        self.inputs = inputs
        self.variations = variations
        self.limit = limit
        self._source: Source | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Source]:
        """Open the inputs at their beginning. A file is opened in a thread, since that may import its reader.

        Raises:
            ConfigurationError: they cannot be read, or were consumed by an earlier reading.
        """
        if self._source is not None and self._source.is_one_shot:
            raise ConfigurationError("these inputs were used up by an earlier run: make a new Batch")
        try:
            with ExitStack() as stack:

                def open_source() -> Source:
                    return stack.enter_context(closing(self._first_variations()))

                self._source = await finished_in_thread(open_source) if is_file(self.inputs) else open_source()
                yield self._source
        finally:
            await deliver_cancellation()  # the last steps of a run had to finish

    def _first_variations(self) -> Source:
        source = source_of(self.inputs)
        if self.variations > 1:
            source = Variations(source, self.variations)
        return source if self.limit is None else FirstLines(source, self.limit)
