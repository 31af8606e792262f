"""Limits that several processes share, as `Limits(backend=...)` takes them."""

from __future__ import annotations

from typing import Protocol


class LimitsBackend(Protocol):
    """Where several processes, on one machine or many, keep one count.

    The methods block, and any thread may call them, several at once: clients call them in worker threads.
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
        """Take a slot, a place in the minute, or both: all that is asked for, or nothing.

        Taking what is held already, under the same name, holds it once.

        Args:
            slot: the unique name under which to hold a slot; None for none.
            place: the unique name under which to hold a place in the minute; None for none. The minute begins
                when the request leaves, which `sent` says; until then the place is held.
            max_concurrency: how many slots there are.
            requests_per_minute: how many places there are in a minute; None for any number.
            lease: seconds after which a slot that nobody gave back is free again, and a request of which
                nobody said anything counts as sent. No call lives longer than its deadline, so with a lease
                a bit longer than that nothing has to be renewed.

        Returns:
            0.0 when it is taken; otherwise the seconds after which asking again may help, above 0.

        Raises:
            LimitsUnavailableError: the backend cannot be asked. As far as is known nothing was taken; what
                was, after all, ends with its lease and its minute.
        """
        ...

    def sent(self, place: str, *, ago: float) -> None:
        """Say when the request of `place` left, and with that when its minute ends.

        It may be said at any time after: said late, the place is held longer, never too short.

        Args:
            place: the name given to `take`.
            ago: seconds since it left.

        Raises:
            LimitsUnavailableError: the backend cannot be asked. The request then counts as sent when the
                lease ends.
        """
        ...

    def give_back(self, *, slot: str | None, place: str | None) -> None:
        """Give back a slot, and a place whose request never left.

        Args:
            slot: the name given to `take`; None for none.
            place: likewise.

        Raises:
            LimitsUnavailableError: the backend cannot be asked. What is held ends with its lease.
        """
        ...
