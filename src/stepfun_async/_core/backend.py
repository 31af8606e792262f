"""Limits that several processes share, as `Limits(backend=...)` takes them."""

from typing import Protocol


class LimitsBackend(Protocol):
    """Where several processes keep one count. Its methods block: clients call them in worker threads."""

    def take(
        self,
        *,
        slot: str | None,
        place: str | None,
        max_concurrency: int,
        requests_per_minute: int | None,
        lease: float,
    ) -> float:
        """Take a slot, a place in the minute, or both together.

        Args:
            slot: the unique name under which to hold a slot; None for none.
            place: the unique name under which to hold a place in the minute; None for none.
            max_concurrency: how many slots there are.
            requests_per_minute: how many places there are in a minute; None for any number.
            lease: seconds after which a slot that nobody gave back is free again.

        Returns:
            0.0 when it is taken; otherwise the seconds after which asking again may help.

        Raises:
            LimitsUnavailableError: the backend cannot be asked.
        """
        ...

    def sent(self, place: str) -> None:
        """Say that the request of `place` leaves now, so that its minute begins now."""
        ...

    def give_back(self, *, slot: str | None, place: str | None) -> None:
        """Give back a slot, and a place whose request never left."""
        ...
