"""The results of `batch`, as text and as JSON, and its exit codes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import cast

from stepfun_async._core.errors import Billing
from stepfun_async.batch import BadLine, Checked, FailedLine, FailureReason, Progress, Status
from stepfun_async.batch.journal.journal import INTERRUPTED

from .. import exit_codes as exits
from ..console import counted, format_money
from ..errors import Interrupted, rephrased

_MOST_REASONS = 5
"""The number of reasons of failures that are shown."""


def summary_text(progress: Progress, status: Status, out: str, pictures: str | None) -> list[str]:
    lines = [f"this run: {_progress_text(progress)}", *status_text(status, out)]
    if progress.stopped is not None:
        lines.append(f"stopped: {rephrased(progress.stopped.splitlines()[0])}; run it again to continue")
    if pictures is None:
        return [*lines, f"images and journal are in {out}"]
    return [*lines, f"images are in {pictures}, and the journal is in {out}"]


def status_text(status: Status, out: str) -> list[str]:
    counts = [f"{number:,} {state}" for state, number in status.counts.items() if number]
    total = "an unknown number of lines" if status.lines is None else counted(status.lines, "line")
    lines = [f"{', '.join(counts) or 'nothing yet'}, of {total}", *_reasons_text(status, out)]
    lines += [
        f"money: {', '.join(money)}" for money in [_money_text(status.spent, status.held, status.unpriced)] if money
    ]
    if status.maybe_twice:
        lines.append(f"in all runs, {counted(status.maybe_twice, 'image')} may have been bought twice")
    if status.removed:
        lines.append(f"no longer in the inputs: {counted(status.removed, 'line')}")
    if status.running:
        lines.append(f"run by {status.running}")
    return lines


def _reasons_text(status: Status, out: str) -> list[str]:
    """Return the reasons of failures, each with its number of lines and the first ones."""
    lines: list[str] = []
    for reason in status.reasons[:_MOST_REASONS]:
        first = ", ".join(failed.place for failed in reason.first)
        more = f" and {reason.count - len(reason.first):,} more" if reason.count > len(reason.first) else ""
        lines += [f"  {reason.count:,} {reason.error}: {rephrased(reason.reason)}", f"    {first}{more}"]
    if len(status.reasons) > _MOST_REASONS:
        lines.append(f"  and {len(status.reasons) - _MOST_REASONS} more reasons")
    if status.reasons:
        lines.append(f"each of them: stepfun-async batch status {shlex.quote(out)} --failures")
    return lines


def findings_text(found: Checked) -> list[str]:
    lines = [rephrased(text) for line in found.bad_lines for text in str(line).splitlines()]
    if found.bad > len(found.bad_lines):
        lines.append(f"... and {found.bad - len(found.bad_lines)} more")
    price = format_money(found.price) or "nothing"
    unpriced = f", and {found.unpriced} of unknown price" if found.unpriced else ""
    time = "" if found.seconds is None else f"; at least {found.seconds:g} s by the limits"
    return [
        *lines,
        f"{found.lines} lines, {found.bad} bad; the good ones cost {price}{unpriced}{time}; nothing was sent",
    ]


def bad_line_json(line: BadLine) -> dict[str, object]:
    return {"line": line.line, "problems": [str(problem) for problem in line.problems]}


def interruption(progress: Progress, status: Status) -> Interrupted:
    in_flight = status.failures.get(INTERRUPTED, 0)
    named = f"{in_flight} images were in flight and may have been billed; " if in_flight else ""
    billing: Billing = "unknown" if in_flight else "executed" if progress.done else "not_sent"
    made = progress.done + progress.failed + progress.unknown
    message = f"interrupted; {named}what was made is kept: run the same command again to make the rest"
    return Interrupted(message, billing=billing, attempts=made, maybe_billed=progress.done + progress.unknown)


def exit_code(status: Status) -> int:
    """Return the exit code of a finished batch: without images, that of the failures if they all have the same."""
    if not status.failures:
        return exits.DONE
    if status.counts["done"]:
        return exits.SOME_FAILED
    codes = {exits.code_of_class(name) for name in status.failures}
    code = codes.pop() if len(codes) == 1 else exits.OTHER
    return exits.OTHER if code == exits.INVALID and status.maybe_billed else code


def fields_json(value: Progress | Status | Checked) -> dict[str, object]:
    """Return the fields of a value as JSON values, with sums of money as text."""
    return {field.name: as_json_value(getattr(value, field.name)) for field in fields(value)}


def as_json_value(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: as_json_value(part) for name, part in cast("Mapping[str, object]", value).items()}
    if isinstance(value, tuple):
        return [as_json_value(part) for part in cast("tuple[object, ...]", value)]
    if isinstance(value, FailedLine | FailureReason):
        return {field.name: as_json_value(getattr(value, field.name)) for field in fields(value)}
    return str(value) if isinstance(value, Decimal) else value


def _progress_text(progress: Progress) -> str:
    """Format a run in one line."""
    counts = (
        ("done", progress.done),
        ("failed", progress.failed),
        ("unknown", progress.unknown),
        ("skipped", progress.skipped),
        ("in flight", progress.in_flight),
    )
    parts = [f"{number} {name}" for name, number in counts if number or name == "done"]
    return ", ".join([*parts, *_money_text(progress.spent, progress.held, progress.unpriced)])


def _money_text(spent: Mapping[str, Decimal], held: Mapping[str, Decimal], unpriced: int = 0) -> list[str]:
    """Format the money spent and held, if any, and the number of images with an unknown price."""
    sums = (("spent", format_money(spent)), ("possibly billed for nothing", format_money(held)))
    unknown = [f"the price of {counted(unpriced, 'image')} is not known"] if unpriced else []
    return [*(f"{amount} {name}" for name, amount in sums if amount), *unknown]
