"""Fan-out with a journal: a file of prompts in, pictures and a record of each out, whatever happens on the way.

`Batch` runs one; it is a public name of the package too. `Records` reads what one has left in its folder.
`run_chunk` is what workers of a cluster run, for `Batch.run_chunks`.
"""

from __future__ import annotations

from .batch import Batch
from .inputs.sources import InputWarning
from .items import BadLine, Checked, Item, Progress, State, Status
from .journal.database import JournalError
from .records import Records
from .run.chunks import Chunk, ChunkError, Row, run_chunk
from .storage.store import StorageError

__all__ = [
    "BadLine",
    "Batch",
    "Checked",
    "Chunk",
    "ChunkError",
    "InputWarning",
    "Item",
    "JournalError",
    "Progress",
    "Records",
    "Row",
    "State",
    "Status",
    "StorageError",
    "run_chunk",
]
