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
            place: the unique name under which to hold a place in the minute, which begins now; None for none.
            max_concurrency: how many slots there are.
            requests_per_minute: how many places there are in a minute; None for any number.
            lease: seconds after which a slot that nobody gave back is free again. No call lives longer than
                its deadline, so with a lease a bit longer than that nothing has to be renewed.

        Returns:
            0.0 when it is taken; otherwise the seconds after which asking again may help, above 0.

        Raises:
            LimitsUnavailableError: the backend cannot be asked. As far as is known nothing was taken; what
                was, after all, ends with its lease and its minute.
        """
        ...

    def sent(self, place: str) -> None:
        """Say that the request of `place` left just now: its minute begins anew.

        Args:
            place: the name given to `take`.

        Raises:
            LimitsUnavailableError: the backend cannot be asked.
        """
        ...

    def give_back(self, *, slot: str | None, place: str | None) -> None:
        """Give back a slot, and a place whose request never left.

        Args:
            slot: the name given to `take`; None for none.
            place: likewise.

        Raises:
            LimitsUnavailableError: the backend cannot be asked. A slot is free when its lease ends.
        """
        ...
