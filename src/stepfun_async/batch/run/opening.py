"""Opens the journal of a run: checks that the settings are those of earlier runs, and settles their jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from stepfun_async._limits.budget import Budget

from ..journal.database import JournalError, translate_sqlite_errors
from ..journal.journal import SETTINGS, Journal
from ..storage.base import FileStore, StorageError
from ..storage.store import ImageStore
from .claims import Claims
from .earlier_spending import settle_earlier
from .options import RunOptions
from .recovery import recover


def open_journal(
    folder: Path,
    settings: Mapping[str, object],
    store: ImageStore,
    claims_folder: Path,
    options: RunOptions,
    budget: Budget | None,
) -> tuple[Journal, int]:
    """Return the journal with all earlier jobs settled, and the number of images that were adopted.

    Args:
        folder: the folder of the batch.
        settings: the settings that must be the same in all runs, by name.
        store: the images.
        claims_folder: the folder of the claims.
        options: the options of the run.
        budget: the budget, which has to include the spending of earlier runs; `None` if there is none.

    Raises:
        JournalError: it is in use or cannot be written, or the settings have changed.
        StorageError: images cannot be written.
    """
    journal = Journal.writing(folder)
    try:
        with translate_sqlite_errors(folder):
            _check_settings(journal, folder, settings, accept_changes=options.accept_changes)
            _check_writable(store.files)
            claims = Claims(claims_folder)
            unsent = claims.revoke_all()
            adopted = recover(journal, store, verify=options.verify, unsent=unsent)
            claims.clear()
            settle_earlier(journal, budget, folder)
    except BaseException:
        journal.close()
        raise
    return journal, adopted


def _check_settings(journal: Journal, folder: Path, settings: Mapping[str, object], *, accept_changes: bool) -> None:
    """Check that the settings are those of the earlier runs, and store them.

    Raises:
        JournalError: they have changed, and changes are not accepted.
    """
    text = journal.fact(SETTINGS)
    before: Mapping[str, object] = settings if text is None else json.loads(text)
    changed = [
        f"{name} was {before.get(name)!r}, and is {value!r}"
        for name, value in settings.items()
        if before[name] != value
    ]
    if changed and not accept_changes:
        raise JournalError(
            f"the batch in {str(folder)!r} was begun with other settings: {'; '.join(changed)}. "
            "Images of both would be mixed: choose another folder, or give accept_changes=True; nothing was sent"
        )
    journal.begin()
    if changed:
        journal.clear_digests()
    journal.put_fact(SETTINGS, json.dumps(dict(settings), ensure_ascii=True))
    journal.commit()


def _check_writable(files: FileStore) -> None:
    try:
        files.check_writable()
    except StorageError as error:
        error.extend_message("nothing was sent")
        raise
