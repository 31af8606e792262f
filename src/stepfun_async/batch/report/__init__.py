"""The report of a batch: one HTML file with totals, plots, failures, costs and a gallery of the images.

`writing` writes the file. `page` and `plots` build it from `markup`, `records` and `formatting`, `stats` adds up the
rows, `links` locates the images, `thumbnails` makes small copies of them, `item_rows` turns items into the rows of
`values`, and `manifest` writes the manifest. The file opens from disk and needs no network; prompts, ids and error
messages are shown as text only. May import `journal`, `items`, `inputs` and `storage`.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from stepfun_async.batch.report import ReportRow, ReportSummary, write_report
    >>> rows = [ReportRow(id="1", state="failed", prompt="a lake", error="RateLimitError", started=0.0, seconds=0.5)]
    >>> with TemporaryDirectory() as folder:
    ...     path = write_report(Path(folder, "report.html"), rows, ReportSummary(title="lakes", made=60.0))
    ...     "RateLimitError" in path.read_text(encoding="utf-8")
    True
"""

from .values import STATES, ReportRow, ReportSummary, State
from .writing import write_report

__all__ = ["STATES", "ReportRow", "ReportSummary", "State", "write_report"]
