"""A batch: a file of prompts in, images and a journal of every line out.

`Batch` runs one, `Records` reads what it left in its folder, and `run_chunk` is what the workers of a cluster run.
`inputs` reads lines, `journal` records what happened to each, `storage` keeps the images, `run` sends the requests
and `report` writes the report and the manifest. May import `_call` and everything below it; inside, rooms import
downwards: `batch`, `records`, `run`, `report`, `journal`, `items`, then `inputs` and `storage`.
"""

from __future__ import annotations

from .batch import Batch
from .inputs.lines import InputWarning
from .items import BadLine, Checked, FailedLine, FailureReason, Item, Progress, State, Status
from .journal.database import JournalError
from .records import Records
from .run.chunks import Chunk, ChunkError, Row, run_chunk
from .storage.base import StorageError

__all__ = [
    "BadLine",
    "Batch",
    "Checked",
    "Chunk",
    "ChunkError",
    "FailedLine",
    "FailureReason",
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
