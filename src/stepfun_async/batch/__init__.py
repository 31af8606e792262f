"""A batch: a file of prompts in, images and a journal of every line out.

`Batch` runs one, `Records` reads the files in its folder, and `run_chunk` is what the workers of a cluster run.
`client_settings` makes its client, `inputs` reads lines, `journal` records the state of each, `storage` stores the
images, `run` sends the requests, `report` writes the report and the manifest, and `items` has the values that users
get. May import `_call` and everything below it; inside, rooms import downwards: `batch`, `client_settings` and
`records`, `run`, `report`, `journal`, `items`, then `inputs` and `storage`.
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
