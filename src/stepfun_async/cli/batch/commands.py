"""The commands of `batch`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated

import anyio
import typer

from stepfun_async import Batch, ConfigurationError, InvalidRequestError, batch_schema
from stepfun_async.batch import FailedLine, Records, StorageError
from stepfun_async.batch.journal.database import JournalError
from stepfun_async.batch.records import MANIFEST, REPORT, SHARD_SIZE
from stepfun_async.batch.report.manifest import METADATA
from stepfun_async.batch.storage.filenames import DEFAULT_TEMPLATE

from .. import exit_codes as exits
from ..console import echo, echo_json, log_to_stderr
from ..errors import rephrased
from ..options import (
    TIMEOUT,
    AllowHttp,
    AsJson,
    BaseUrl,
    Quiet,
    ServerOption,
    Timeout,
    Verbose,
    budget_of,
    register_unknown_model,
)
from .interruptible_run import InterruptibleRun
from .options import (
    BudgetOption,
    Concurrency,
    Defaults,
    Folder,
    Inputs,
    ModelOption,
    Out,
    Rpm,
    Tier,
    Variations,
    in_options,
    limits_of,
    parse_fields,
)
from .output import (
    as_json_value,
    bad_line_json,
    exit_code,
    fields_json,
    findings_text,
    interruption,
    status_text,
    summary_text,
)


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
        typer.Option("--limit", "-n", metavar="NUMBER", help="Only the first lines, this many, for a first look."),
    ] = None,
    variations: Variations = 1,
    max_failures: Annotated[int | None, typer.Option(metavar="NUMBER", help="Stop after this many failures.")] = None,
    hold_unknown: Annotated[
        bool, typer.Option("--hold-unknown", help="Do not resend lines that an earlier run may have paid for.")
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
            help="readable for 0001-a-red-fox.png, or a template of {id}, {fingerprint}, {line:04}, {model}, {shard} "
            "and {slug}.",
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

    Ctrl-C once: send nothing more, and wait for the calls in flight. Twice: stop at once. Nothing is lost either way.
    """
    register_unknown_model(model, base_url, server)
    batch = Batch(
        inputs,
        out=out,
        pictures=pictures,
        model=model,
        defaults=parse_fields(defaults or []),
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
        limits=limits_of(limit_tier, concurrency, rpm, base_url, server),
        budget=budget_of(budget),
        timeout=TIMEOUT if timeout is None else timeout,
    )
    if verbose:
        log_to_stderr()
    interruptible = InterruptibleRun(batch)
    anyio.run(partial(interruptible.run, quiet=quiet))
    if isinstance(interruptible.error, JournalError | ConfigurationError | StorageError | InvalidRequestError):
        raise in_options(interruptible.error)  # there may be no status to print
    status = batch.status()
    if as_json:
        echo_json({"run": fields_json(batch.progress), "status": fields_json(status)})
    else:
        echo(*summary_text(batch.progress, status, out, pictures), indent="  ")
    if interruptible.error is not None:
        raise interruptible.error
    if interruptible.interrupts:
        raise interruption(batch.progress, status)
    raise typer.Exit(exit_code(status))


def schema(model: ModelOption = None, defaults: Defaults = None, server: ServerOption = None) -> None:
    """Print the JSON Schema of a line, for editors and validators.

    With the same defaults as for a run, their fields need not be in the lines.
    """
    register_unknown_model(model, None, server)
    named = {} if model is None else {"model": model}
    echo_json(batch_schema({**named, **parse_fields(defaults or [])}, server=server))


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
    register_unknown_model(model, base_url, server)
    batch = Batch(
        inputs,
        out="",
        model=model,
        defaults=parse_fields(defaults or []),
        variations=variations,
        base_url=base_url,
        server=server,
        allow_http=allow_http,
        limits=limits_of(limit_tier, concurrency, rpm, base_url, server),
    )
    try:
        found = batch.check_sync()
    except InvalidRequestError as error:
        raise in_options(error) from error
    if as_json:
        echo_json({**fields_json(found), "bad_lines": [bad_line_json(line) for line in found.bad_lines]})
    else:
        echo(*findings_text(found))
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
        echo_json(
            {
                **fields_json(found),
                **({"all_failures": [as_json_value(line) for line in _failed(records)]} if failures else {}),
            }
        )
    elif failures:
        for line in _failed(records):
            echo(f"{line.error}  {rephrased(str(line))}", indent="  ")
    else:
        echo(*status_text(found, out), indent="  ")


def _failed(records: Records) -> Iterator[FailedLine]:
    """Return the lines without an image, in the order of the inputs."""
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
        echo_json({"lines": count})
    else:
        echo(f"{count} lines will be retried: run the batch as before")


def pack(
    out: Folder,
    to: Annotated[str, typer.Option(metavar="FOLDER", help="The folder for the shards.")],
    shard_size: Annotated[
        int, typer.Option(metavar="BYTES", help="The total size of images after which a shard is full.")
    ] = SHARD_SIZE,
    as_json: AsJson = False,
) -> None:
    """Copy the images into tar shards for WebDataset."""
    paths = [str(path) for path in Records(out).pack(to, shard_size=shard_size)]
    if as_json:
        echo_json({"shards": paths})
    else:
        echo(*(paths or ["no images, no shards"]))


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
            help=f'Write {METADATA} instead, beside the images, for Hugging Face\'s load_dataset("imagefolder").',
        ),
    ] = False,
) -> None:
    """Write a line of JSON, or a row of Parquet, about each line of the inputs and its image."""
    echo(Records(out).write_manifest(to, imagefolder=imagefolder))


def report(
    out: Folder,
    to: Annotated[
        str | None, typer.Option(metavar="FILE", help=f"The file to write; by default {REPORT} in OUT.")
    ] = None,
    thumbnails: Annotated[
        bool, typer.Option(help="Make small copies of the first images, for a quick gallery.")
    ] = True,
) -> None:
    """Write a page for a browser: totals, plots, failures, costs, and a gallery of all images."""
    echo(str(Records(out).write_report(to, thumbnails=thumbnails)))
