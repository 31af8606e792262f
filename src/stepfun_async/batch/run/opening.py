"""Opening the journal of a run: the settings have to be those of earlier runs, and what these left is put in order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from stepfun_async._limits.budget import Budget

from ..journal.database import JournalError, translate_sqlite_errors
from ..journal.journal import SETTINGS, Journal
from ..storage.base import Place, StorageError
from ..storage.store import ImageStore
from .claims import Claims
from .earlier_spending import settle_earlier
from .engine import Ways
from .recovery import recover


def open_journal(
    folder: Path, settings: Mapping[str, object], store: ImageStore, shared: Path, ways: Ways, budget: Budget | None
) -> tuple[Journal, int]:
    """Return the journal, put in order, and how many images were found that it did not have.

    Args:
        folder: the batch's.
        settings: what has to be the same in all runs, by name.
        store: where the images are.
        shared: the folder that workers share.
        ways: how to deal with what is left of earlier runs.
        budget: what is to know what earlier runs have spent; `None` if there is none.

    Raises:
        JournalError: it is in use or cannot be written, or the settings are others than before.
        StorageError: no images can be written where they are to go.
    """
    journal = Journal.writing(folder)
    try:
        with translate_sqlite_errors(folder):
            _agree(journal, folder, settings, accept_changes=ways.accept_changes)
            _try_out(store.place)
            claims = Claims(shared)
            unsent = claims.revoke_all()
            adopted = recover(journal, store, verify=ways.verify, unsent=unsent)
            claims.clear()
            settle_earlier(journal, budget, folder)
    except BaseException:
        journal.close()
        raise
    return journal, adopted


def _agree(journal: Journal, folder: Path, now: Mapping[str, object], *, accept_changes: bool) -> None:
    """Make sure that the settings are those of the runs before.

    Raises:
        JournalError: they are not, and that is not accepted.
    """
    fact = journal.fact(SETTINGS)
    before: Mapping[str, object] = now if fact is None else json.loads(fact)
    changed = [f"{name} was {before.get(name)!r}, and is {now[name]!r}" for name in now if before[name] != now[name]]
    if changed and not accept_changes:
        raise JournalError(
            f"the batch in {str(folder)!r} was begun with other settings: {'; '.join(changed)}. "
            "Images of both would be mixed: choose another folder, or give accept_changes=True; nothing was sent"
        )
    journal.begin()
    if changed:
        journal.forget_digests()
    journal.put_fact(SETTINGS, json.dumps(dict(now), ensure_ascii=True))
    journal.commit()


def _try_out(place: Place) -> None:
    try:
        place.try_out()
    except StorageError as error:
        error.extend_message("nothing was sent")
        raise
