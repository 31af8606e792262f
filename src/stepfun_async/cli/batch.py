"""`batch`: many images from a file, with a journal; a later run continues where the last one ended."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, cast

import anyio
import typer
from anyio.abc import TaskStatus

from stepfun_async import (
    Batch,
    ConfigurationError,
    InvalidRequestError,
    Limits,
    Problem,
    StepFunError,
    batch_schema,
)
from stepfun_async._call.settings import resolve
from stepfun_async._core.errors import Billing
from stepfun_async._runtime.signals import signals_received
from stepfun_async.batch import BadLine, Checked, FailedLine, FailureReason, Progress, Records, Status, StorageError
from stepfun_async.batch.journal.database import JournalError
from stepfun_async.batch.journal.journal import INTERRUPTED
from stepfun_async.batch.records import MANIFEST, REPORT, SHARD_SIZE
from stepfun_async.batch.report.manifest import METADATA
from stepfun_async.batch.storage.filenames import DEFAULT_TEMPLATE

from . import exit_codes as exits
from .console import complain, counted, log_to_stderr, plain_money, say, say_json
from .errors import Interrupted, reworded
from .options import (
    NO_KEY,
    TIMEOUT,
    AllowHttp,
    AsJson,
    BaseUrl,
    Quiet,
    ServerOption,
    Timeout,
    Verbose,
    budget_of,
    complete_model,
    complete_tier,
    describe_model,
)
from .progress import line_of, money_of

_MOST_REASONS = 5
"""Reasons of failures that are shown."""

Inputs = Annotated[
    str,
    typer.Argument(
        metavar="INPUTS",
        help="A .jsonl, .json, .csv, .tsv or .parquet file, a .txt with a prompt a line, a folder of .txt, "
        "or - for stdin.",
    ),
]
Folder = Annotated[str, typer.Argument(metavar="OUT", help="The folder of the batch.")]
Out = Annotated[
    str, typer.Option("--out", "-o", metavar="FOLDER", help="The folder for images and journal, on a local disk.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        autocompletion=complete_model,
        help="Default model for lines that do not specify one.",
    ),
]
Defaults = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Default value of a field, such as steps=8. Can be repeated."),
]
Tier = Annotated[
    str | None,
    typer.Option(
        metavar="TIER",
        autocompletion=complete_tier,
        help="The limits of the account's tier, V0 to V4; in China V5 too.",
    ),
]
Concurrency = Annotated[
    int | None, typer.Option(metavar="NUMBER", help=f"Calls in flight at once: {Limits().max_concurrency}.")
]
Rpm = Annotated[int | None, typer.Option(metavar="NUMBER", help="Requests per minute; unlimited by default.")]
Variations = Annotated[
    int,
    typer.Option(
        metavar="NUMBER", help="Images of each line, whose seed counts up. Each is a line of its own from then on."
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="AMOUNT", help="The most that all runs together may spend, such as 5.00 or '30 CNY'; USD by default."
    ),
]


def run(
    inputs: Inputs,
    out: Out,
    model: ModelOption = None,
    defaults: Defaults = None,
    budget: BudgetOption = None,
    limit_tier: Tier = None,
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", metavar="NUMBER", help="Only so many lines, from the first one, for a first look."
        ),
    ] = None,
    variations: Variations = 1,
    max_failures: Annotated[int | None, typer.Option(metavar="NUMBER", help="Stop after so many failures.")] = None,
    hold_unknown: Annotated[
        bool, typer.Option("--hold-unknown", help="Do not resend what an earlier run may have paid for.")
    ] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Continue with other settings or lines than before.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="First check each image file against the journal.")] = False,
    pictures: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Store images here, not in --out: s3://BUCKET/PREFIX, gs://..., a folder."),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            metavar="TEMPLATE",
            help="readable for 0001-a-red-fox.png; or of {id}, {fingerprint}, {line:04}, {model}, {shard}, {slug}.",
        ),
    ] = DEFAULT_TEMPLATE,
    notes: Annotated[bool, typer.Option(help="Write a .json beside each image with what made it.")] = True,
    metadata: Annotated[
        bool, typer.Option("--embed-metadata", help="The same in the image file itself: PNG text, or EXIF.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
    server: ServerOption = None,
    allow_http: AllowHttp = False,
    as_json: AsJson = False,
) -> None:
    """Make an image for every line, or continue where the last run ended.

    Ctrl-C once: send nothing more, and wait for calls in flight. Twice: stop now. Nothing is lost either way.
    """
    describe_model(model, base_url, server)
    batch = Batch(
        inputs,
        out=out,
        pictures=pictures,
        model=model,
        defaults=_fields(defaults or []),
        limit=limit,
        variations=variations,
        name=name,
        notes=notes,
        metadata=metadata,
        max_failures=max_failures,
        hold_unknown=hold_unknown,
        accept_changes=accept_changes,
        verify=verify,
        base_url=base_url,
        server=server,
        allow_http=allow_http,
        limits=_limits(limit_tier, concurrency, rpm, base_url, server),
        budget=budget_of(budget),
        timeout=TIMEOUT if timeout is None else timeout,
    )
    if verbose:
        log_to_stderr()
    attempt = _Attempt(batch)
    anyio.run(partial(attempt.make, quiet=quiet))
    if isinstance(attempt.error, JournalError | ConfigurationError | StorageError | InvalidRequestError):
        raise _of_options(attempt.error)  # there may be no status to print
    status = batch.status()
    if as_json:
        say_json({"run": _plain(batch.progress), "status": _plain(status)})
    else:
        say(*_summary(batch.progress, status, out, pictures), indent="  ")
    if attempt.error is not None:
        raise attempt.error
    if attempt.pressed:
        raise _interrupted(batch.progress, status)
    raise typer.Exit(_code(status))


class _Attempt:
    """One run that Ctrl-C can stop.

    Attributes:
        pressed: how many times Ctrl-C was pressed.
        error: the error that ended the run; `None` if none did.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.pressed = 0
        self.error: StepFunError | None = None

    async def make(self, *, quiet: bool) -> None:
        """Run until the batch ends. Store its error instead of raising it, since a task group would wrap it."""
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                await group.start(self._listen, scope)
                await self._work(quiet=quiet)
            group.cancel_scope.cancel()

    async def _work(self, *, quiet: bool) -> None:
        try:
            await self._batch.run(progress=not quiet)
        except StepFunError as error:
            self.error = error

    async def _listen(self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        with signals_received(*_stop_signals()) as signals:
            task_status.started()
            async for number in signals:
                if number == _HANGUP and self.pressed:
                    continue  # it comes from the terminal, and from its shell again
                self.pressed += 1
                if self.pressed > 1:
                    scope.cancel()
                    return
                self._batch.stop()
                complain(_stopping(self._batch.progress.in_flight))


_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""The signal that the terminal is gone; Windows has none."""


def _stop_signals() -> Iterator[signal.Signals]:
    """The signals that stop a run: Ctrl-C, SIGTERM, and SIGHUP unless it is ignored, as under nohup."""
    yield from (signal.SIGINT, signal.SIGTERM)
    if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:
        yield _HANGUP


def _stopping(in_flight: int) -> str:
    waiting = f"{counted(in_flight, 'image')} {'is' if in_flight == 1 else 'are'}"
    return (
        f"stopping: no more lines are sent. {waiting} being made and may already be charged, so this waits for them. "
        "Ctrl-C again stops at once; what is in flight then may be bought again by the next run."
    )


def schema(model: ModelOption = None, defaults: Defaults = None, server: ServerOption = None) -> None:
    """Print the JSON Schema of a line, for editors and validators.

    With the same defaults as for a run, their fields need not be in the lines.
    """
    describe_model(model, None, server)
    named = {} if model is None else {"model": model}
    say_json(batch_schema({**named, **_fields(defaults or [])}, server=server))


def check(
    inputs: Inputs,
    model: ModelOption = None,
    defaults: Defaults = None,
    variations: Variations = 1,
    limit_tier: Tier = None,
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    base_url: BaseUrl = None,
    server: ServerOption = None,
    allow_http: AllowHttp = False,
    as_json: AsJson = False,
) -> None:
    """List every line that cannot be sent, and price the others. Nothing is sent, and no key is needed."""
    describe_model(model, base_url, server)
    batch = Batch(
        inputs,
        out="",
        model=model,
        defaults=_fields(defaults or []),
        variations=variations,
        base_url=base_url,
        server=server,
        allow_http=allow_http,
        limits=_limits(limit_tier, concurrency, rpm, base_url, server),
    )
    try:
        found = batch.check_sync()
    except InvalidRequestError as error:
        raise _of_options(error) from error
    if as_json:
        say_json({**_plain(found), "bad_lines": [_bad_line(line) for line in found.bad_lines]})
    else:
        say(*_findings(found))
    raise typer.Exit(exits.INVALID if found.bad else exits.DONE)


def status(
    out: Folder,
    failures: Annotated[bool, typer.Option("--failures", help="List every line without an image, and why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the status of a batch, also while it runs."""
    records = Records(out)
    found = records.status()
    if as_json:
        say_json(
            {**_plain(found), **({"all_failures": [_json(line) for line in _failed(records)]} if failures else {})}
        )
    elif failures:
        for line in _failed(records):
            say(f"{line.error}  {reworded(str(line))}", indent="  ")
    else:
        say(*_status_lines(found, out), indent="  ")


def _failed(records: Records) -> Iterator[FailedLine]:
    """The lines without an image, in the order of the inputs."""
    return (FailedLine.of(item) for item in records.items() if item.state in ("failed", "unknown"))


def retry(
    out: Folder,
    failed: Annotated[bool, typer.Option("--failed", help="Failed lines that were certainly not billed.")] = False,
    unknown: Annotated[bool, typer.Option("--unknown", help="Lines that may have been billed.")] = False,
    error: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="Only lines with this error, as shown by status. Can be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let the next run retry lines that failed.

    The default is --failed.
    """
    count = Records(out).retry(error or None, failed=failed or not unknown, unknown=unknown)
    if as_json:
        say_json({"lines": count})
    else:
        say(f"{count} lines will be retried: run the batch as before")


def pack(
    out: Folder,
    to: Annotated[str, typer.Option(metavar="FOLDER", help="The folder for the shards.")],
    shard_size: Annotated[
        int, typer.Option(metavar="BYTES", help="The size in images after which a shard is full.")
    ] = SHARD_SIZE,
    as_json: AsJson = False,
) -> None:
    """Copy the images into tar shards for WebDataset."""
    paths = [str(path) for path in Records(out).pack(to, shard_size=shard_size)]
    if as_json:
        say_json({"shards": paths})
    else:
        say(*(paths or ["no images, no shards"]))


def manifest(
    out: Folder,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help=f"The file, or s3://...; Parquet with .parquet; by default {MANIFEST} in OUT."
        ),
    ] = None,
    imagefolder: Annotated[
        bool,
        typer.Option(
            "--imagefolder",
            help=f'Write {METADATA} instead, beside the images, for load_dataset("imagefolder") of Hugging Face.',
        ),
    ] = False,
) -> None:
    """Write a line of JSON, or a row of Parquet, about each line of the inputs and its image."""
    say(Records(out).write_manifest(to, imagefolder=imagefolder))


def report(
    out: Folder,
    to: Annotated[
        str | None, typer.Option(metavar="FILE", help=f"The file to write; by default {REPORT} in OUT.")
    ] = None,
    thumbnails: Annotated[bool, typer.Option(help="Small copies of the first images, for a quick gallery.")] = True,
) -> None:
    """Write a page for a browser: sums, plots, failures, costs, and a gallery of all images."""
    say(str(Records(out).write_report(to, thumbnails=thumbnails)))


# --- options --------------------------------------------------------------------------------------


def _fields(texts: list[str]) -> dict[str, Any]:
    """Parse the fields of `--set`: values as JSON, anything else as text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise _bad("set", text, "FIELD=VALUE, such as steps=8")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _of_options(error: StepFunError) -> StepFunError:
    """Return an error about the defaults in terms of the options."""
    if not isinstance(error, InvalidRequestError):
        return error
    problems = (
        problem if problem.field == "model" else replace(problem, field="set", given=f"{problem.field}={problem.given}")
        for problem in error.problems
    )
    return InvalidRequestError.of("the defaults for all lines", tuple(problems))


def _limits(
    tier: str | None, concurrency: int | None, rpm: int | None, base_url: str | None, server: str | None
) -> Limits:
    """Return the tier's limits, with the numbers given instead of its own."""
    region = resolve(NO_KEY, base_url, allow_http=True, server=server).region or "international"
    base = Limits() if tier is None else Limits.tier(tier, region=region)
    return Limits(concurrency or base.max_concurrency, rpm or base.requests_per_minute)


def _bad(field: str, given: str, allowed: str) -> InvalidRequestError:
    return InvalidRequestError.of("the command line", (Problem(field, given, allowed),))


# --- output ---------------------------------------------------------------------------------------


def _summary(progress: Progress, status: Status, out: str, pictures: str | None) -> list[str]:
    lines = [f"this run: {line_of(progress)}", *_status_lines(status, out)]
    if progress.stopped is not None:
        lines.append(f"stopped: {reworded(progress.stopped.splitlines()[0])}; run it again to continue")
    if pictures is None:
        return [*lines, f"images and journal are in {out}"]
    return [*lines, f"images are in {pictures}, and the journal is in {out}"]


def _status_lines(status: Status, out: str) -> list[str]:
    counts = [f"{number:,} {state}" for state, number in status.counts.items() if number]
    whole = "an unknown number of lines" if status.lines is None else counted(status.lines, "line")
    lines = [f"{', '.join(counts) or 'nothing yet'}, of {whole}", *_reasons(status, out)]
    lines += [f"money: {', '.join(money)}" for money in [money_of(status.spent, status.held, status.unpriced)] if money]
    if status.maybe_twice:
        lines.append(f"in all runs, {counted(status.maybe_twice, 'image')} may have been bought twice")
    if status.removed:
        lines.append(f"no longer in the inputs: {counted(status.removed, 'line')}")
    if status.running:
        lines.append(f"run by {status.running}")
    return lines


def _reasons(status: Status, out: str) -> list[str]:
    """Return the failed lines by reason: their number, and the first one."""
    lines: list[str] = []
    for why in status.reasons[:_MOST_REASONS]:
        first = ", ".join(failed.place for failed in why.first)
        more = f" and {why.count - len(why.first):,} more" if why.count > len(why.first) else ""
        lines += [f"  {why.count:,} {why.error}: {reworded(why.reason)}", f"    {first}{more}"]
    if len(status.reasons) > _MOST_REASONS:
        lines.append(f"  and {len(status.reasons) - _MOST_REASONS} more reasons")
    if status.reasons:
        lines.append(f"each of them: stepfun-async batch status {shlex.quote(out)} --failures")
    return lines


def _findings(found: Checked) -> list[str]:
    lines = [reworded(text) for line in found.bad_lines for text in str(line).splitlines()]
    if found.bad > len(found.bad_lines):
        lines.append(f"... and {found.bad - len(found.bad_lines)} more")
    price = plain_money(found.price) or "nothing"
    unpriced = f", and {found.unpriced} of unknown price" if found.unpriced else ""
    time = "" if found.seconds is None else f"; at least {found.seconds:g} s by the limits"
    return [
        *lines,
        f"{found.lines} lines, {found.bad} bad; the good ones cost {price}{unpriced}{time}; nothing was sent",
    ]


def _bad_line(line: BadLine) -> dict[str, object]:
    return {"line": line.line, "problems": [str(problem) for problem in line.problems]}


def _interrupted(progress: Progress, status: Status) -> Interrupted:
    lost = status.failures.get(INTERRUPTED, 0)
    named = f"{lost} images were in flight and may have been billed; " if lost else ""
    billing: Billing = "unknown" if lost else "executed" if progress.done else "not_sent"
    made = progress.done + progress.failed + progress.unknown
    message = f"interrupted; {named}what was made is kept: run the same command again to make the rest"
    return Interrupted(message, billing=billing, attempts=made, maybe_billed=progress.done + progress.unknown)


def _code(status: Status) -> int:
    """Return the exit code of a finished batch: where nothing was made, that of its failures if they share one."""
    if not status.failures:
        return exits.DONE
    if status.counts["done"]:
        return exits.SOME_FAILED
    codes = {exits.code_of_class(name) for name in status.failures}
    code = codes.pop() if len(codes) == 1 else exits.OTHER
    return exits.OTHER if code == exits.INVALID and status.maybe_billed else code


def _plain(value: Progress | Status | Checked) -> dict[str, object]:
    """Return a value as JSON can encode it, sums of money as text."""
    return {field.name: _json(getattr(value, field.name)) for field in fields(value)}


def _json(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _json(part) for name, part in cast("Mapping[str, object]", value).items()}
    if isinstance(value, tuple):
        return [_json(part) for part in cast("tuple[object, ...]", value)]
    if isinstance(value, FailedLine | FailureReason):
        return {field.name: _json(getattr(value, field.name)) for field in fields(value)}
    return str(value) if isinstance(value, Decimal) else value
