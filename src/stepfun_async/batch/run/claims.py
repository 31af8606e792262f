"""Claims: the right to send a line, as files in the shared folder, so that only one of several processes sends it.

Each line that other processes send has a file in `sending`. A worker renames the file before it sends the line, and the
run renames it to revoke the claim; the file system lets only one of them succeed. So the name shows whether a line may
have been sent, even if the worker has died. No line is sent twice if a chunk is run twice, or by a worker that was
given up.

    17-3f9c2a11           not sent
    17-3f9c2a11.acquired  about to be sent, or sent
    17-3f9c2a11.revoked   can no longer be sent

The files stay until the results of their lines are in the journal. The file `run` has the name of the run, by which a
worker checks that its folder is that of the batch.
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
_ACQUIRED = ".acquired"
_REVOKED = ".revoked"


class Claims:
    """The claims of a batch.

    Args:
        folder: the folder of the batch.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER

    # --- of a run ---

    def begin(self, run: str) -> None:
        """Write the name of the run to the folder.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        refuse_links(self._folder)
        write_bytes(self._folder / _RUN, run.encode("ascii"), overwrite=True)

    def end(self) -> None:
        """Remove the name of the run at its end. Claims that are left still show whether their lines were sent."""
        (self._folder / _RUN).unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()

    def run(self) -> str | None:
        """Return the name of the current run; `None` if there is none."""
        try:
            return (self._folder / _RUN).read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    def check_writable(self) -> None:
        """Check that files can be created in the folder.

        Raises:
            OSError: they cannot.
        """
        trial = self._folder / f"trial-{secrets.token_hex(8)}"
        trial.touch(exist_ok=False)
        trial.unlink()

    def revoke_all(self) -> set[int]:
        """Revoke all claims of earlier runs, so that none of their lines is sent any more.

        Returns:
            The numbers of the lines that had a claim and were never sent.
        """
        claims = [name.removesuffix(_ACQUIRED).removesuffix(_REVOKED) for name in self._names()]
        revoked = [(int(claim.partition("-")[0]), self.revoke(claim)) for claim in claims]
        sent = {number for number, unsent in revoked if not unsent}
        return {number for number, _ in revoked} - sent

    def clear(self) -> None:
        """Remove all claims. Call this once the results of their lines are in the journal."""
        for name in self._names():
            (self._folder / name).unlink(missing_ok=True)
        self.end()

    # --- of lines ---

    def create(self, numbers: Iterable[int]) -> list[str]:
        """Create a claim for each line, by its number in the journal. They are durable when this returns.

        Raises:
            OSError: they cannot be written.
        """
        token = secrets.token_hex(4)
        claims = [f"{number}-{token}" for number in numbers]
        for claim in claims:
            (self._folder / claim).touch(exist_ok=False)
        sync_folder(self._folder)
        return claims

    def acquire(self, claim: str) -> bool:
        """Acquire a claim, durably. Return whether the caller, and no other process, may send the line.

        Raises:
            OSError: the folder cannot be written.
        """
        if not self._rename(claim, _ACQUIRED):
            return False
        sync_folder(self._folder)
        return True

    def revoke(self, claim: str) -> bool:
        """Revoke a claim, so that its line is no longer sent. Return whether it was never sent."""
        return self._rename(claim, _REVOKED) or (self._folder / (claim + _REVOKED)).exists()

    def discard(self, claims: Iterable[str]) -> None:
        """Remove claims. Call this once the results of their lines are in the journal."""
        for claim in claims:
            for ending in ("", _ACQUIRED, _REVOKED):
                (self._folder / (claim + ending)).unlink(missing_ok=True)

    def _rename(self, claim: str, ending: str) -> bool:
        try:
            (self._folder / claim).rename(self._folder / (claim + ending))
        except FileNotFoundError:
            return False
        return True

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return [name for name in names if name[:1].isdigit()]
