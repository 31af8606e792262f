"""What a client asks where its limits are shared with other processes."""

from __future__ import annotations

from typing import Protocol


class LimitsBackend(Protocol):
    """Limits that several processes share, on one machine or many.

    The methods block, and any thread may call them, several at once: the client calls them in worker threads.
    """

    def take(
        self,
        *,
        slot: str | None,
        place: str | None,
        max_concurrency: int,
        requests_per_minute: int | None,
        lease: float,
    ) -> float:
        """Take a slot, a place in the minute, or both: all that is asked for or nothing.

        Taking again what is held, under the same id, holds it once.

        Args:
            slot: a unique id for the slot to hold; None to take none.
            place: a unique id for the place of one request in the minute; None to take none.
            max_concurrency: slots there are in all.
            requests_per_minute: places there are in any minute; None for no such limit.
            lease: seconds after which the call has ended for certain: its deadline and a bit. A slot that
                was not given back by then is free again, and a request of which nothing was heard counts
                as sent then. So nothing has to be renewed, and a killed process holds nothing for ever.

        Returns:
            0.0 when taken, otherwise the seconds after which asking again may help, above 0.

        Raises:
            LimitsUnavailableError: they cannot be asked. As far as is known nothing was taken; what was,
                after all, ends with its lease.
        """
        ...

    def sent(self, place: str) -> None:
        """Say that the request of `place` has left: its minute begins now.

        Call it after the request left, never before, or the minute ends too early. Until then the place
        is held, however long the request takes to leave. Raises nothing where the limits cannot be asked:
        the minute then begins when the lease ends.

        Args:
            place: the id given to `take`.
        """
        ...

    def give_back(self, *, slot: str | None, place: str | None) -> None:
        """Give back a slot whose call has ended, and a place whose request provably never left.

        Raises nothing where the limits cannot be asked: the lease ends what was taken.

        Args:
            slot: the id given to `take`; None to give none back.
            place: likewise.
        """
        ...
