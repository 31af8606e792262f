"""Fan-out with a journal: a file of prompts in, pictures and a record of each out, whatever happens on the way.

`Batch` runs one; it is a public name of the package too. `Records` reads what one has left in its folder.
"""

from __future__ import annotations

from .batch import Batch
from .database import JournalError
from .items import BadLine, Checked, Item, Progress, State, Status
from .records import Records
from .store import StorageError

__all__ = [
    "BadLine",
    "Batch",
    "Checked",
    "Item",
    "JournalError",
    "Progress",
    "Records",
    "State",
    "Status",
    "StorageError",
]
