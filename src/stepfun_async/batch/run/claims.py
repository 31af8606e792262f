"""Claims: the right to send a line, in the shared folder, so that only one of several processes sends it.

A line that is handed to another process has a file below `sending`. A worker renames the file before it sends the
line, and the run renames it to take the line back; in the file system only one of them succeeds. So the name shows
of every line whether it may have been sent, even if the worker died, and a chunk that is run twice, or by a worker
that was given up, sends nothing twice.

    17-3f9c2a11           not sent
    17-3f9c2a11.taken     about to be sent, or sent
    17-3f9c2a11.over      taken back; it can no longer be sent

The files stay until the results of their lines are in the journal. `run` holds the name of the run, by which a
worker checks that its folder is the one of the batch.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from stepfun_async._runtime.files import write_bytes

from ..storage.folder import refuse_links
from ..storage.group_write import sync_folder

_FOLDER = "sending"
_RUN = "run"
_TAKEN = ".taken"
_OVER = ".over"


class Claims:
    """The tickets of a batch.

    Args:
        folder: the batch's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER

    # --- of a run ---

    def begin(self, run: str) -> None:
        """Have the folder say which run goes on.

        Raises:
            OSError: it cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        refuse_links(self._folder)
        write_bytes(self._folder / _RUN, run.encode("ascii"), overwrite=True)

    def end(self) -> None:
        """The run is over. Tickets that are left say on what became of their lines."""
        (self._folder / _RUN).unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()

    def run(self) -> str | None:
        """The run that goes on; `None` if there is none."""
        try:
            return (self._folder / _RUN).read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    def try_out(self) -> None:
        """Write something, and take it away.

        Raises:
            OSError: that cannot be done here.
        """
        trial = self._folder / f"trial-{secrets.token_hex(8)}"
        trial.touch(exist_ok=False)
        trial.unlink()

    def withdraw_all(self) -> set[int]:
        """End the runs before this one: nothing of theirs is sent any more.

        Returns:
            The numbers of lines that were handed out, and provably never sent.
        """
        tickets = [name.removesuffix(_TAKEN).removesuffix(_OVER) for name in self._names()]
        fates = [(int(ticket.partition("-")[0]), self.withdraw(ticket)) for ticket in tickets]
        sent = {number for number, unsent in fates if not unsent}
        return {number for number, _ in fates} - sent

    def clear(self) -> None:
        """Take all of them away. Call this once the results of their lines are in the journal."""
        for name in self._names():
            (self._folder / name).unlink(missing_ok=True)
        self.end()

    # --- of lines ---

    def issue(self, numbers: Iterable[int]) -> list[str]:
        """A ticket for each line, by its number in the journal; durable when this returns.

        Raises:
            OSError: they cannot be written.
        """
        token = secrets.token_hex(4)
        tickets = [f"{number}-{token}" for number in numbers]
        for ticket in tickets:
            (self._folder / ticket).touch(exist_ok=False)
        sync_folder(self._folder)
        return tickets

    def take(self, ticket: str) -> bool:
        """Whether the line may be sent, by the caller alone; that it was taken is durable then.

        Raises:
            OSError: the folder cannot be written.
        """
        if not self._moved(ticket, _TAKEN):
            return False
        sync_folder(self._folder)
        return True

    def withdraw(self, ticket: str) -> bool:
        """Whether a line was never sent; it cannot be any more."""
        return self._moved(ticket, _OVER) or (self._folder / (ticket + _OVER)).exists()

    def discard(self, tickets: Iterable[str]) -> None:
        """Take tickets away. Call this once the results of their lines are in the journal."""
        for ticket in tickets:
            for ending in ("", _TAKEN, _OVER):
                (self._folder / (ticket + ending)).unlink(missing_ok=True)

    def _moved(self, ticket: str, ending: str) -> bool:
        try:
            (self._folder / ticket).rename(self._folder / (ticket + ending))
        except FileNotFoundError:
            return False
        return True

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return [name for name in names if name[:1].isdigit()]
