"""Checks the inputs: which lines cannot be sent, and what the others cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from stepfun_async._call.caller import price_at
from stepfun_async._core.money import NOTHING, total
from stepfun_async._core.problems import Problem
from stepfun_async._core.server import Settings
from stepfun_async._limits.budget import Budget

from ..inputs.job_reader import is_reported_before, read_job
from ..inputs.jobs import JobDefaults
from ..inputs.lines import InputLine
from ..items import MOST_BAD_LINES, BadLine, Checked
from ..journal.database import IdIndex


class InputCheck:
    """The findings of a check so far.

    Args:
        defaults: the settings for all lines.
        config: the settings of the client.
        budget: the budget, for its prices; `None` if there is none.
    """

    def __init__(self, defaults: JobDefaults, config: Settings, budget: Budget | None) -> None:
        self._defaults = defaults
        self._config = config
        self._budget = budget
        self._ids = IdIndex()
        self._bad: list[BadLine] = []
        self._counts: Counter[str] = Counter()
        self._price: dict[str, Decimal] = {}

    def check(self, lines: Iterable[InputLine]) -> None:
        """Check lines, and read the images that they name."""
        for line in lines:
            self._check_one(line)

    def _check_one(self, line: InputLine) -> None:
        job = read_job(line, self._defaults)
        if is_reported_before(line, job, self._defaults):
            return
        problems = (*job.problems, *self._duplicate_id(job.id, line.number))
        self._counts["lines"] += 1
        if problems or job.request is None:
            self._counts["bad"] += 1
            if len(self._bad) < MOST_BAD_LINES:
                self._bad.append(BadLine(line=line.number, problems=problems))
            return
        price = price_at(self._config, self._budget, job.request)
        if price is None:
            self._counts["unpriced"] += 1
        else:
            self._price[price.currency] = total((self._price.get(price.currency, NOTHING), price.amount))

    def _duplicate_id(self, id: str | None, line: int) -> tuple[Problem, ...]:
        first = line if id is None else self._ids.first_line(id, line)
        if first == line:
            return ()
        return (Problem("id", id, "an id of its own for each line", f"line {first} has it already"),)

    def close(self) -> None:
        """Delete the temporary index of ids."""
        self._ids.close()

    def checked(self, requests_per_minute: int | None) -> Checked:
        """Return the findings."""
        good = self._counts["lines"] - self._counts["bad"]
        minutes = None if requests_per_minute is None else max(0, good - 1) // requests_per_minute
        return Checked(
            lines=self._counts["lines"],
            bad=self._counts["bad"],
            bad_lines=tuple(self._bad),
            price=self._price,
            unpriced=self._counts["unpriced"],
            seconds=None if minutes is None else 60.0 * minutes,
        )
