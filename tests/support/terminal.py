"""A stream that says that it is a terminal."""

from __future__ import annotations

import io


class Terminal(io.StringIO):
    """What a program writes on a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Say so."""
        return True

    @property
    def lines(self) -> list[str]:
        """The lines as they stand there in the end."""
        return [line.rpartition("\r")[2].rstrip() for line in self.getvalue().split("\n") if line]
