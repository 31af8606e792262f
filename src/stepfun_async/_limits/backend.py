"""The interface of a backend for limits that several processes share: `Limits(backend=...)`."""

from __future__ import annotations

from typing import Protocol


class LimitsBackend(Protocol):
    """Slots and rate entries that several processes share, on one machine or on many.

    The methods block. Clients call them in worker threads, several at once.
    """

    def acquire(
        self,
        *,
        slot: str | None,
        entry: str | None,
        max_concurrency: int,
        requests_per_minute: int | None,
        lease: float,
    ) -> float:
        """Acquire a slot, a rate entry, or both: all that is asked for, or nothing.

        Acquiring again under a name that is held has no effect.

        Args:
            slot: the unique name of the slot; `None` for no slot.
            entry: the unique name of the rate entry; `None` for no entry. It counts until its request is sent, which
                `mark_sent` records, and for a minute after that.
            max_concurrency: the number of slots.
            requests_per_minute: the number of rate entries; `None` for no limit.
            lease: seconds after which a slot that was not released is free again, and an entry that was neither
                marked nor released counts as sent. It is a little longer than the call's deadline, so it does not
                have to be renewed.

        Returns:
            0.0 if they are acquired; otherwise the seconds, above 0, after which another attempt may succeed.

        Raises:
            LimitsUnavailableError: the backend is unavailable. What it may have granted nevertheless ends with its
                lease and its minute.
        """
        ...

    def mark_sent(self, entry: str, *, ago: float) -> None:
        """Record when the request of `entry` was sent, and so when its minute ends.

        It may be called at any time later: until then the entry counts for longer than needed, not for less.

        Args:
            entry: the name passed to `acquire`.
            ago: seconds since the request was sent.

        Raises:
            LimitsUnavailableError: the backend is unavailable. The request counts as sent when the lease ends.
        """
        ...

    def release(self, *, slot: str | None, entry: str | None) -> None:
        """Release a slot, and an entry whose request was not sent.

        Args:
            slot: the name passed to `acquire`; `None` for no slot.
            entry: the name passed to `acquire`; `None` for no entry.

        Raises:
            LimitsUnavailableError: the backend is unavailable. What is held ends with its lease.
        """
        ...
