"""`Batch`: many images from a file or an iterable, with a journal, so that a run that was killed can be resumed."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import anyio

from stepfun_async._call.service import DEFAULT_LIMITS, DEFAULT_RETRY
from stepfun_async._call.settings import hidden_headers, hidden_url
from stepfun_async._core.errors import ConfigurationError, StepFunError
from stepfun_async._core.profiles import Server
from stepfun_async._core.retry import RetryPolicy
from stepfun_async._core.secrets import as_secret
from stepfun_async._limits.budget import Budget
from stepfun_async._limits.limits import Limits
from stepfun_async._runtime.event_loop import finished, finished_in_thread
from stepfun_async._runtime.status_line import write_below
from stepfun_async._runtime.tracebacks import without_frames

from .client_settings import ClientSettings
from .inputs.batch_inputs import BatchInputs
from .inputs.defaults import check_defaults, default_fields
from .inputs.descriptions import describe_fields
from .inputs.jobs import JobDefaults
from .inputs.sources import MOST_VARIATIONS, Source
from .items import Checked, Item, Progress, Status
from .journal.database import JournalError
from .journal.journal import Journal
from .journal.writer import Writer
from .records import Records
from .run.blocking import run_in_thread
from .run.earlier_spending import mark_settled
from .run.engine import AHEAD, Engine
from .run.input_check import InputCheck
from .run.job_runner import JobRunner
from .run.opening import open_journal
from .run.options import RunOptions
from .run.progress_display import interruption_message, show_progress
from .run.remote_engine import RemoteEngine, Submit
from .storage.bucket import is_url
from .storage.filenames import DEFAULT_TEMPLATE, check_template
from .storage.location import StorageLocation, check_image_location
from .storage.store import ImageStore

if TYPE_CHECKING:
    from stepfun_async._core.events import OnEvent
    from stepfun_async._core.requests import ImageRequest
    from stepfun_async._transport import AnyTransport

    LineValue: TypeAlias = str | Mapping[str, Any] | ImageRequest

    class Table(Protocol):
        """A table of pandas, polars or Arrow."""

        @property
        def columns(self) -> Any: ...

    Inputs: TypeAlias = str | os.PathLike[str] | Iterable[LineValue] | AsyncIterable[LineValue] | Table

EngineFactory: TypeAlias = Callable[[Source, JobDefaults, JobRunner, Writer, RunOptions, int], Engine]
"""Creates the engine of a run."""

_LINES_CHECKED_AT_ONCE = 256


class Batch:
    """Images for every line of a file or an iterable.

    A run records each step of each line in a journal in `out`. However a run ends, the next run with the same inputs
    and the same `out` continues: finished images are not bought again, and lines that were in flight are reported. See
    the page on batches in the documentation.

    Args:
        inputs: a file (`.jsonl`, `.json`, `.csv`, `.tsv`, `.txt` with a prompt per line, each compressed or not;
            `.parquet`), a folder of `.txt` files with one prompt each, `-` for stdin, a table of pandas, polars or
            Arrow, an iterable or an async iterable. A line is a prompt, a mapping of the fields of `TextToImage`,
            `ImageEdit` or `ImageToImage`, or one of these values. A mapping may also have an `id` and an `operation`; a
            line with an `image` is an edit, and with `source_weight` an image to image. Paths of images are relative
            to the file. None, NaN and `pandas.NA` count as absent.
        out: the folder for images and journal. It must be on a local disk.
        pictures: where the images are stored instead of `out`: a bucket, as `s3://bucket/prefix` or
            `gs://bucket/prefix` (needs the extra `cloud`; credentials come from the environment), or another
            folder, on any disk. A run first checks that it can be written to.
        model: the default model for lines that do not specify one.
        defaults: defaults of other fields.
        limit: read only this many lines, from the first one, such as 20 for a first look; `None` for all.
        variations: the number of images for each line, 1 to 256. Each variation is a line of its own in the journal,
            with the id `ID-v2` and so on if the line has an id, and lines are numbered as if each were that many times
            in the inputs. The `seed` of a line counts up; without one, the server draws another for each. A line that
            cannot be sent is reported once, under the number of its first variation.
        name: the template for the paths of images in `out`, without extension, with the fields `{id}`, `{fingerprint}`,
            `{line}` or `{line:04}`, `{model}`, `{slug}`, which is made from the prompt, and `{shard}`, two hex digits
            that spread files over folders. `"readable"` is `{line:04}-{slug}`, such as `0001-a-serene-alpine-lake`.
        notes: write a `.json` beside each image from which it can be reproduced.
        metadata: also embed the note in the image file, as text of a PNG or EXIF of a JPEG or WebP. This does not
            change the pixels.
        max_failures: stop a run after this many failures; `None` for no limit.
        hold_unknown: do not send lines again that an earlier run may have paid for.
        accept_changes: continue although settings, or lines for which images were bought, have changed.
        verify: before the run, compare every image with its digest, and read every line again.
        api_key: as for `AsyncClient`, like all that follow.
        base_url: the URL of the API.
        server: what kind of server is there, one of `servers()`.
        limits: how many calls are in flight at once, and sent per minute.
        budget: the most that all runs of this batch, and everything else that shares the object, may spend together.
        timeout: seconds for each line, from when its slot is granted.
        retry: when to retry.
        default_headers: headers sent with every call.
        transport: sends the requests.
        proxy: the address of a proxy.
        allow_http: allow sending the key to another machine over unencrypted HTTP.
        on_event: a callback that receives the events of each call. An `Exception` that it raises is logged; any other
            error, such as `KeyboardInterrupt` or `asyncio.CancelledError`, ends the run at once, like a cancellation,
            and is raised at its end.

    Attributes:
        records: the files of the batch in its folder.
        limits: as given.

    Raises:
        ConfigurationError: a setting is invalid; those of the client are checked when a run begins.
    """

    def __init__(
        self,
        inputs: Inputs,
        *,
        out: str | os.PathLike[str],
        pictures: str | os.PathLike[str] | None = None,
        model: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        limit: int | None = None,
        variations: int = 1,
        name: str = DEFAULT_TEMPLATE,
        notes: bool = True,
        metadata: bool = False,
        max_failures: int | None = None,
        hold_unknown: bool = False,
        accept_changes: bool = False,
        verify: bool = False,
        api_key: str | None = None,
        base_url: str | None = None,
        server: str | Server | None = None,
        limits: Limits = DEFAULT_LIMITS,
        budget: Budget | None = None,
        timeout: float = 120.0,
        retry: RetryPolicy = DEFAULT_RETRY,
        default_headers: Mapping[str, str] | None = None,
        transport: AnyTransport | None = None,
        proxy: str | None = None,
        allow_http: bool = False,
        on_event: OnEvent | None = None,
    ) -> None:
        # Hide them from programs that show the variables of a traceback's frames:
        api_key, base_url, proxy = as_secret(api_key), hidden_url(base_url), as_secret(proxy)
        default_headers = hidden_headers(default_headers)
        self._default_fields = default_fields(model, defaults)
        variations = _whole_number("variations", variations, MOST_VARIATIONS)
        limit = None if limit is None else _whole_number("limit", limit) * variations
        self._inputs = BatchInputs(inputs, variations, limit)
        self._name = check_template(name)
        self._pictures = check_image_location(pictures)
        self._notes = notes
        self._metadata = metadata
        self._options = RunOptions(
            hold_unknown=hold_unknown,
            accept_changes=accept_changes,
            verify=verify,
            max_failures=_max_failures(max_failures),
        )
        self._budget = budget
        self.limits = limits
        self._client = ClientSettings(
            api_key=api_key,
            base_url=base_url,
            server=server,
            limits=limits,
            budget=budget,
            timeout=timeout,
            retry=retry,
            default_headers=default_headers,
            transport=transport,
            proxy=proxy,
            allow_http=allow_http,
            on_event=on_event,
        )
        self._engine: Engine | None = None
        self._stopping = False
        self.records = Records(out)

    def __repr__(self) -> str:
        records = getattr(self, "records", None)  # not set yet if the traceback of an invalid setting is shown
        return f"<Batch out={str(records.folder)!r}>" if records else "<Batch>"

    # --- runs ---

    async def run(self, *, progress: bool = False) -> Progress:
        """Send every line that is not settled, and return when the last one has ended.

        A line that fails does not end the run. `stop`, `max_failures`, and errors that would affect every line do.

        Args:
            progress: show the progress, such as `24 of 200 (12 %) · 5 failed · 3.1/s · 0.07 USD · 48 s left`: on a
                terminal as a line on stderr that is updated in place, in a notebook as a bar in the cell, and elsewhere
                as a line every ten seconds.

        Returns:
            The counts and costs of this run; `stopped` says why it ended early, if it did.

        Raises:
            JournalError: the journal is in use, has a newer version, belongs to other inputs, or cannot be written.
            ConfigurationError: a setting is invalid.
            InvalidRequestError: `defaults` are valid for no line: a name is misspelled, or no model accepts a value.
            StorageError: images cannot be written, or the bucket can no longer be reached.
            StepFunError: the error that ended the run: a wrong key, no money left, a full disk. The lines in flight
                have ended and are in the journal, and the next run continues.
        """
        try:
            async with self._open_run(self._local_engine) as engine:
                async with self._show_progress(engine) if progress else nullcontext():
                    await engine.run()
                return engine.result()
        except StepFunError as error:
            raise without_frames(error) from error.__cause__

    def run_sync(self, *, progress: bool = False) -> Progress:
        """`run` for code without an event loop. It may be called while one runs, and blocks it.

        Ctrl-C cancels the lines in flight, records them, and raises `KeyboardInterrupt`.

        Args:
            progress: show the progress, as `run` does, and the state of the batch after Ctrl-C.
        """
        try:
            return run_in_thread(partial(self.run, progress=progress))
        except StepFunError as error:
            raise without_frames(error) from error.__cause__
        except KeyboardInterrupt:
            if progress:
                write_below(interruption_message(self.progress))
            raise

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[AsyncIterator[Item]]:
        """Run, and iterate over the lines as they end.

            async with batch.running() as items:
                async for item in items:
                    print(item.line, item.state, item.path)

        Lines that an earlier run settled are not included. A slow reader slows down the run; leaving the block stops
        it, as `stop` does.

        Raises:
            StepFunError: as `run`, at the end of the block.
        """
        send, receive = anyio.create_memory_object_stream[Item](1)
        error_of_block: Exception | None = None
        async with self._open_run(self._local_engine) as engine, send, receive:
            async with anyio.create_task_group() as group:
                group.start_soon(engine.run, send)
                try:
                    yield receive
                except Exception as error:  # noqa: BLE001 - a task group would wrap it
                    error_of_block = error
                engine.stop("its reader left")
                receive.close()
            if error_of_block is not None:
                raise error_of_block
            engine.result()

    async def run_chunks(
        self,
        submit: Submit,
        *,
        chunk: int = 50,
        chunks_at_once: int = 4,
        max_in_flight: int | None = None,
        lines_at_once: int | None = None,
    ) -> Progress:
        """Run as `run` does, with the requests sent by other processes: the workers of a cluster.

        Journal, budget and inputs stay in this process. Workers need the folder of the images under the same absolute
        path (for images in a bucket, the batch's own folder), and a key in their own environment.
        `stepfun_async.dask.run_on` does this with Dask; the page on clusters in the documentation describes it, and
        other engines.

        Args:
            submit: runs `run_chunk(chunk)` somewhere, and returns its result. The engine may run a chunk again when a
                worker dies.
            chunk: the maximum number of lines in a chunk, 1 to 256.
            chunks_at_once: the maximum number of chunks in flight.
            max_in_flight: the maximum number of lines in flight on all workers together; by default `max_concurrency`
                of the limits.
            lines_at_once: the maximum number of lines in flight in a chunk; by default as many as keep the total within
                `max_in_flight`. Pass it if something else limits the total, such as the `slots` of `run_chunk`.

        Returns:
            As `run`. `in_flight` counts all lines of the chunks in flight.

        Raises:
            ChunkError: the result of a chunk was lost. What is known of its lines is in the journal.
            ConfigurationError: a setting is invalid, or cannot be sent to other processes, such as a key; or a worker
                cannot work.
            StepFunError: as `run`.
        """
        max_in_flight = self.limits.max_concurrency if max_in_flight is None else max_in_flight
        chunks = min(_whole_number("chunks_at_once", chunks_at_once), _whole_number("max_in_flight", max_in_flight))
        lines = max_in_flight // chunks if lines_at_once is None else _whole_number("lines_at_once", lines_at_once)
        chunk_size = _whole_number("chunk", chunk, AHEAD)
        config = self._client.for_workers(
            self._location(), self._claims_folder(), max_in_flight=max_in_flight, lines_at_once=lines
        )
        create_engine = partial(
            RemoteEngine,
            submit=submit,
            chunk_size=chunk_size,
            chunks_at_once=chunks,
            config=config,
            budget=self._budget,
        )
        async with self._open_run(create_engine, sends=False) as engine:
            await engine.run()
            return engine.result()

    def run_chunks_sync(
        self,
        submit: Submit,
        *,
        chunk: int = 50,
        chunks_at_once: int = 4,
        max_in_flight: int | None = None,
        lines_at_once: int | None = None,
    ) -> Progress:
        """`run_chunks` for code without an event loop, as `run_sync` is for `run`.

        Ctrl-C sends nothing more, waits for the lines in flight, records them, and raises `KeyboardInterrupt`.
        """
        run = partial(
            self.run_chunks,
            submit,
            chunk=chunk,
            chunks_at_once=chunks_at_once,
            max_in_flight=max_in_flight,
            lines_at_once=lines_at_once,
        )
        return run_in_thread(run)

    def stop(self) -> None:
        """Stop the current run: nothing more is sent, and lines in flight finish. May be called from any thread."""
        self._stopping = True
        if self._engine is not None:
            self._engine.stop("stop() was called")

    @property
    def progress(self) -> Progress:
        """The progress of the current run, or else of the last one."""
        return Progress() if self._engine is None else self._engine.progress

    # --- queries ---

    async def check(self) -> Checked:
        """Read all lines, and report their problems, their total price, and the least time they take.

        Nothing is sent, and no key is needed.

        Raises:
            ConfigurationError: the inputs cannot be read, or only once.
            InvalidRequestError: `defaults` are valid for no line.
        """
        settings = self._client.resolved()
        check_defaults(self._default_fields, settings.server)
        async with self._inputs.open() as source:
            if source.is_one_shot:
                raise ConfigurationError(
                    "check would use these inputs up: they can be read once; give a list or a file"
                )
            with closing(InputCheck(self._job_defaults(source), settings, self._budget)) as findings:
                while lines := await source.take(_LINES_CHECKED_AT_ONCE):
                    await finished_in_thread(partial(findings.check, lines))
        return findings.checked(self.limits.requests_per_minute)

    def check_sync(self) -> Checked:
        """`check` for code without an event loop."""
        try:
            return run_in_thread(self.check)
        except StepFunError as error:
            raise without_frames(error) from error.__cause__

    def status(self) -> Status:
        """Return the status of the batch over all runs so far, as `Records.status`."""
        return self.records.status()

    def items(self) -> Iterable[Item]:
        """Return every line and its result, as `Records.items`."""
        return self.records.items()

    def retry(self, errors: Collection[str] | None = None, *, failed: bool = True, unknown: bool = False) -> int:
        """Let the next run retry failed lines, as `Records.retry`."""
        return self.records.retry(errors, failed=failed, unknown=unknown)

    # --- private ---

    def _show_progress(self, engine: Engine) -> AbstractAsyncContextManager[None]:
        inputs = self._inputs
        return show_progress(lambda: engine.progress, inputs.inputs, inputs.variations, inputs.limit)

    @asynccontextmanager
    async def _open_run(self, create_engine: EngineFactory, *, sends: bool = True) -> AsyncGenerator[Engine]:
        """Open everything that a run needs, and yield its engine.

        Args:
            create_engine: creates the engine.
            sends: whether this process sends requests.
        """
        self._engine, self._stopping = None, False
        check_defaults(self._default_fields, self._client.resolved().server)
        async with self._inputs.open() as source:
            caller = self._client.open(sends=sends)
            store = self._location().store()
            try:
                journal, adopted = await finished_in_thread(partial(self._open_journal, store, caller.config.base_url))
                with Writer(journal, self.records.folder) as writer:
                    runner = JobRunner(caller, store, self._name, self._client.retry)
                    defaults = self._job_defaults(source)
                    self._engine = create_engine(source, defaults, runner, writer, self._options, adopted)
                    if self._stopping:
                        self.stop()
                    try:
                        yield self._engine
                    finally:
                        settled = partial(mark_settled, budget=self._budget, folder=self.records.folder)
                        with suppress(JournalError):
                            await finished(partial(writer.do, settled))
            finally:
                await finished(caller.aclose)

    def _local_engine(
        self,
        source: Source,
        defaults: JobDefaults,
        runner: JobRunner,
        writer: Writer,
        options: RunOptions,
        adopted: int,
    ) -> Engine:
        workers = self.limits.max_concurrency
        return Engine(source, defaults, runner, writer, workers, options, adopted, self._budget)

    def _open_journal(self, store: ImageStore, base_url: str) -> tuple[Journal, int]:
        """Return the journal with all earlier jobs settled, and the number of images that were adopted."""
        settings: dict[str, object] = {
            "server": base_url,
            "name": self._name,
            "defaults": describe_fields(self._default_fields),
            "pictures": self._pictures,
            "variations": self._inputs.variations,
        }
        claims_folder = self._claims_folder()
        return open_journal(self.records.folder, settings, store, claims_folder, self._options, self._budget)

    def _job_defaults(self, source: Source) -> JobDefaults:
        server = self._client.resolved().server
        return JobDefaults(self._default_fields, source.folder, server=server, variations=self._inputs.variations)

    def _location(self) -> StorageLocation:
        """Return where and how the images are stored."""
        try:
            where = self._pictures or os.path.abspath(self.records.folder)
        except OSError as error:
            raise ConfigurationError(f"the working directory cannot be used: {error.strerror}") from error
        return StorageLocation(where, notes=self._notes, metadata=self._metadata)

    def _claims_folder(self) -> Path:
        """Return the folder that workers share: that of the images, or the batch's if they are in a bucket."""
        where = self._location().where
        return self.records.folder.absolute() if is_url(where) else Path(where)


def _max_failures(number: object) -> int | None:
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigurationError(f"max_failures is a whole number above 0, or None, not {number!r}")
    return number


def _whole_number(name: str, number: object, most: int | None = None) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= (most or number):
        allowed = "above 0" if most is None else f"from 1 to {most}"
        raise ConfigurationError(f"{name} is a whole number {allowed}, not {number!r}")
    return number
