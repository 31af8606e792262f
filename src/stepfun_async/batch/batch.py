"""`Batch`: many images from a file or an iterable, with a journal, so that a run that was killed goes on."""

from __future__ import annotations

import os
import secrets
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

import anyio

from stepfun_async._call.caller import Caller
from stepfun_async._call.service import DEFAULT_LIMITS, DEFAULT_RETRY, caller_for
from stepfun_async._call.settings import KEY_VARIABLES, hidden_headers, hidden_url, resolve
from stepfun_async._core.errors import ConfigurationError, StepFunError
from stepfun_async._core.profiles import Server
from stepfun_async._core.retry import RetryPolicy
from stepfun_async._core.secrets import as_secret
from stepfun_async._core.server import Settings
from stepfun_async._core.version import __version__
from stepfun_async._limits.budget import Budget
from stepfun_async._limits.limits import Limits
from stepfun_async._runtime.event_loop import cancel_if_due, finished, finished_in_thread
from stepfun_async._runtime.status_line import write_below
from stepfun_async._runtime.tracebacks import without_frames

from .inputs.defaults import check_defaults
from .inputs.descriptions import describe_fields
from .inputs.jobs import JobDefaults
from .inputs.sources import MOST_VARIATIONS, FirstLines, Source, Variations, is_file, source_of
from .items import Checked, Item, Progress, Status
from .journal.database import JournalError
from .journal.journal import Journal
from .journal.writer import Writer
from .records import Records
from .run.blocking import run_beside
from .run.chunks import Conditions
from .run.earlier_spending import note_known
from .run.engine import AHEAD, Engine, Ways
from .run.input_check import InputCheck
from .run.job_runner import JobRunner
from .run.opening import open_journal
from .run.remote_engine import RemoteEngine, Spread, Submit
from .run.watching import interrupted, watched
from .storage.bucket import is_url
from .storage.filenames import DEFAULT_TEMPLATE, check_template
from .storage.location import StorageLocation, check_pictures
from .storage.store import ImageStore

if TYPE_CHECKING:
    from stepfun_async._core.events import OnEvent
    from stepfun_async._core.requests import ImageRequest
    from stepfun_async._transport import AnyTransport

T = TypeVar("T")

if TYPE_CHECKING:
    LineValue: TypeAlias = str | Mapping[str, Any] | ImageRequest

    class Table(Protocol):
        """A table of pandas, polars or Arrow."""

        @property
        def columns(self) -> Any: ...

    Inputs: TypeAlias = str | os.PathLike[str] | Iterable[LineValue] | AsyncIterable[LineValue] | Table

Begin: TypeAlias = Callable[[Source, JobDefaults, JobRunner, Writer, Ways, int], Engine]
"""Makes the engine of a run."""

_CHECKED_AT_ONCE = 256

_NOTHING_SENT = "nothing-is-sent"
"""The key where nothing is sent from here: for a check, and for a run on other processes."""


class Batch:
    """Images for every line of a file, or of anything that can be iterated over.

    A run enters each step of each line in a journal in `out`. Whatever ends it, the next run with the
    same inputs and the same `out` goes on: what is done is not bought again, and what was in flight is
    named. See the page on batches in the documentation.

    Args:
        inputs: a file (`.jsonl`, `.json`, `.csv`, `.tsv`, `.txt` with a prompt a line, each compressed or not;
            `.parquet`), a folder of `.txt` files with a prompt each, `-` for stdin, a table of pandas, polars or
            Arrow, an iterable or an async iterable. A line is a prompt, a mapping of the fields of `TextToImage`,
            `ImageEdit` or `ImageToImage`, or one of these values. A mapping may have an `id`, and `operation`; a
            line with an `image` is an edit, and with `source_weight` an image to image. Paths of images are
            relative to the file. None, NaN and `pandas.NA` count as not given.
        out: the folder for images and journal. It has to be on a local disk.
        pictures: where the images go in place of `out`: a bucket, as `s3://bucket/prefix` or
            `gs://bucket/prefix` (needs the extra `cloud`; credentials come from the environment), or another
            folder, on whichever disk. Before anything is sent, it is tried out.
        model: the default model for lines that do not specify one.
        defaults: other fields, for lines that do not have their own.
        limit: read only so many lines, from the first one, such as 20 for a first look; `None` for all.
        variations: how many images to make of each line, 1 to 256. Each is a line of its own in the journal, with
            the id `ID-v2` and so on if the line has an id, and lines are numbered as if each stood in the inputs
            so often. A line's `seed` counts up; without one, the server draws another for each. A line that cannot be
            sent is reported once, under the number of its first variation.
        name: how images are named below `out`, without ending: of `{id}`, `{fingerprint}`, `{line}` or `{line:04}`,
            `{model}`, `{slug}`, which is made of the prompt, and `{shard}`, two hex digits that spread files over
            folders. `"readable"` is `{line:04}-{slug}`, such as `0001-a-serene-alpine-lake`.
        notes: whether each image gets a `.json` beside it that says how to make it again.
        metadata: whether each image gets that into its own file too, as text of a PNG or EXIF of a JPEG or WebP.
            Its pixels stay as they are, its bytes do not.
        max_failures: end the run with so many failures in it; `None` for any number.
        hold_unknown: leave lines that may have been billed by an earlier run, instead of sending them again.
        accept_changes: go on though settings, or lines that images were bought for, are others than before.
        verify: before the run, compare every image with what was written, and read every line anew.
        api_key: as for `AsyncClient`, and so is all that follows.
        base_url: where the API is.
        server: what stands there, one of `servers()`.
        limits: how much is in flight at once, and sent in a minute.
        budget: what all runs of this batch may spend together, and whatever else shares the object.
        timeout: seconds for each line, after its slot is granted.
        retry: when to retry.
        default_headers: headers sent with every call.
        transport: what sends the requests.
        proxy: the address of a proxy.
        allow_http: allow sending the key to another machine over unencrypted HTTP.
        on_event: a callback that receives the events of each call. An `Exception` it raises is logged; others, such as
            `KeyboardInterrupt` or `asyncio.CancelledError`, ends the run at once, as a cancellation does, and is
            raised at its end.

    Attributes:
        records: what it leaves in its folder.
        limits: as given.

    Raises:
        ConfigurationError: a setting cannot be right; the client's own are checked when a run begins.
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
        # From what shows the variables of a traceback's frames:
        api_key, base_url, proxy = as_secret(api_key), hidden_url(base_url), as_secret(proxy)
        default_headers = hidden_headers(default_headers)
        self._inputs: object = inputs
        self._source: Source | None = None
        self._defaults = _fields(model, defaults)
        self._variations = _whole("variations", variations, MOST_VARIATIONS)
        self._limit = None if limit is None else _whole("limit", limit) * self._variations
        self._name = check_template(name)
        self._pictures = check_pictures(pictures)
        self._notes = notes
        self._metadata = metadata
        self._ways = Ways(
            hold_unknown=hold_unknown,
            accept_changes=accept_changes,
            verify=verify,
            max_failures=_count(max_failures),
        )
        self._budget = budget
        self.limits = limits
        self._timeout = timeout
        self._retry = retry
        self._base_url = base_url
        self._server = server
        self._allow_http = allow_http
        self._engine: Engine | None = None
        self._stopping = False
        self.records = Records(out)
        self._key = api_key
        here_only: dict[str, object] = {
            "api_key": api_key,
            "default_headers": default_headers,
            "on_event": on_event,
            "proxy": proxy,
            "transport": transport,
        }
        self._here_only = [name for name, value in here_only.items() if value is not None]
        self._service: Callable[[str | None], Caller] = partial(
            caller_for,
            base_url=base_url,
            server=server,
            limits=limits,
            timeout=timeout,
            queue_timeout=None,
            retry=retry,
            budget=budget,
            validation="strict",
            default_headers=default_headers,
            transport=transport,
            proxy=proxy,
            allow_http=allow_http,
            on_event=on_event,
        )

    def __repr__(self) -> str:
        records = getattr(self, "records", None)  # not there yet where a refused setting's traceback is shown
        return f"<Batch out={str(records.folder)!r}>" if records else "<Batch>"

    # --- running ---

    async def run(self, *, progress: bool = False) -> Progress:
        """Send every line that is not settled, and return when the last one has ended.

        A line that fails does not end the run. `stop`, `max_failures`, and what would meet every line, do.

        Args:
            progress: show how it goes on, such as `24 of 200 (12 %) · 5 failed · 3.1/s · 0.07 USD · 48 s left`: in a
                line on stderr that is renewed in place on a terminal, with a bar in the cell of a notebook, and as a
                line every ten seconds elsewhere.

        Returns:
            What this run did; `stopped` says why it ended before the inputs did, where it did.

        Raises:
            JournalError: the journal is in use, of a newer version, of other inputs, or cannot be written.
            ConfigurationError: a setting cannot be right.
            InvalidRequestError: `defaults` are right for no line: a name is misspelled, or no model accepts a value.
            StorageError: no images can be written where they are to go, or it can no longer be asked.
            StepFunError: what ended the run: a wrong key, no money left, a full disk. All that was in
                flight by then has ended and is entered, and the next run goes on.
        """
        try:
            async with self._begun(partial(self._service, self._key), self._here) as engine:
                async with self._watched(engine) if progress else nullcontext():
                    await engine.work()
                return engine.end()
        except StepFunError as error:
            raise without_frames(error) from error.__cause__

    def run_sync(self, *, progress: bool = False) -> Progress:
        """`run` for code without an event loop; it may be called where one runs, which it blocks.

        Ctrl-C ends what is in flight, enters it, and raises `KeyboardInterrupt`.

        Args:
            progress: show how it goes on, as `run` does, and what became of the batch on Ctrl-C.
        """
        try:
            return run_beside(partial(self.run, progress=progress))
        except StepFunError as error:
            raise without_frames(error) from error.__cause__
        except KeyboardInterrupt:
            if progress:
                write_below(interrupted(self.progress))
            raise

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[AsyncIterator[Item]]:
        """Run, and read what comes of each line meanwhile.

            async with batch.running() as items:
                async for item in items:
                    print(item.line, item.state, item.path)

        Lines that an earlier run settled are not among them. A reader that is slow slows the run; one
        that leaves the block ends it as `stop` does.

        Raises:
            StepFunError: as `run`, at the end of the block.
        """
        send, receive = anyio.create_memory_object_stream[Item](1)
        left: Exception | None = None
        async with self._begun(partial(self._service, self._key), self._here) as engine, send, receive:
            async with anyio.create_task_group() as group:
                group.start_soon(engine.work, send)
                try:
                    yield receive
                except Exception as error:  # noqa: BLE001 - a task group would wrap it
                    left = error
                engine.stop("its reader left")
                receive.close()
            if left is not None:
                raise left
            engine.end()

    async def run_chunks(
        self,
        submit: Submit,
        *,
        chunk: int = 50,
        chunks_at_once: int = 4,
        max_in_flight: int | None = None,
        lines_at_once: int | None = None,
    ) -> Progress:
        """Run as `run` does, with the images made by other processes: workers of a cluster.

        Journal, budget and inputs stay here. Workers need the folder of the images under the same whole path
        (where they go to a bucket, the batch's own folder), and a key in their own environment.
        `stepfun_async.dask.run_on` does this with Dask; see the page on clusters in the documentation for it
        and for other engines.

        Args:
            submit: has `run_chunk(chunk)` run somewhere, and returns what it returned. The engine may run a
                chunk again when a worker dies.
            chunk: lines in a chunk at most, 1 to 256.
            chunks_at_once: chunks that are out at once, at most.
            max_in_flight: lines in flight at once, on all workers together; `max_concurrency` of the limits
                when absent.
            lines_at_once: lines in flight at once in a chunk; as many as keep to `max_in_flight` when
                absent. To be given where something else keeps to it, by `slots` of `run_chunk`.

        Returns:
            As `run`. `in_flight` counts all lines that are out.

        Raises:
            ChunkError: a chunk came back without a response. What is known of its lines is entered.
            ConfigurationError: a setting cannot be right, or cannot be carried to other processes, such as
                a key; or a worker cannot work.
            StepFunError: as `run`.
        """
        most = self.limits.max_concurrency if max_in_flight is None else max_in_flight
        at_once = min(_whole("chunks_at_once", chunks_at_once), _whole("max_in_flight", most))
        lines = most // at_once if lines_at_once is None else _whole("lines_at_once", lines_at_once)
        spread = Spread(chunk=_whole("chunk", chunk, AHEAD), chunks_at_once=at_once)
        conditions = self._conditions(most, lines)
        begin = partial(RemoteEngine, submit=submit, spread=spread, conditions=conditions, budget=self._budget)
        async with self._begun(partial(self._service, _NOTHING_SENT), begin) as engine:
            await engine.work()
            return engine.end()

    def run_chunks_sync(
        self,
        submit: Submit,
        *,
        chunk: int = 50,
        chunks_at_once: int = 4,
        max_in_flight: int | None = None,
        lines_at_once: int | None = None,
    ) -> Progress:
        """`run_chunks` for code without an event loop, as `run_sync` is to `run`.

        Ctrl-C sends nothing more, waits for what is in flight, enters it, and raises `KeyboardInterrupt`.
        """
        run = partial(
            self.run_chunks,
            submit,
            chunk=chunk,
            chunks_at_once=chunks_at_once,
            max_in_flight=max_in_flight,
            lines_at_once=lines_at_once,
        )
        return run_beside(run)

    def stop(self) -> None:
        """End the run that is going on: nothing more is sent, and what is in flight ends. Any thread may."""
        self._stopping = True
        if self._engine is not None:
            self._engine.stop("stop() was called")

    @property
    def progress(self) -> Progress:
        """The progress of the current run, or else of the last one."""
        return Progress() if self._engine is None else self._engine.progress

    # --- asking ---

    async def check(self) -> Checked:
        """Read all lines, and say what is wrong, what they cost, and how long they take at least.

        Nothing is sent, and no key is needed.

        Raises:
            ConfigurationError: the inputs cannot be read, or only once.
            InvalidRequestError: `defaults` are right for no line.
        """
        config = self._settings()
        check_defaults(self._defaults, config.server)
        async with self._fresh_source() as source:
            if source.once:
                raise ConfigurationError(
                    "check would use these inputs up: they can be read once; give a list or a file"
                )
            with closing(InputCheck(self._terms(source), config, self._budget)) as found:
                while lines := await source.take(_CHECKED_AT_ONCE):
                    await finished_in_thread(partial(found.look_at, lines))
        return found.checked(self.limits.requests_per_minute)

    def check_sync(self) -> Checked:
        """`check` for code without an event loop."""
        try:
            return run_beside(self.check)
        except StepFunError as error:
            raise without_frames(error) from error.__cause__

    def status(self) -> Status:
        """The state of the batch over all runs so far; `Records.status`."""
        return self.records.status()

    def items(self) -> Iterable[Item]:
        """Every line and its result; `Records.items`."""
        return self.records.items()

    def retry(self, errors: Collection[str] | None = None, *, failed: bool = True, unknown: bool = False) -> int:
        """Let the next run retry failed lines; `Records.retry`."""
        return self.records.retry(errors, failed=failed, unknown=unknown)

    # --- inside ---

    def _watched(self, engine: Engine) -> AbstractAsyncContextManager[None]:
        return watched(lambda: engine.progress, self._inputs, self._variations, self._limit)

    @asynccontextmanager
    async def _begun(self, connect: Callable[[], Caller], begin: Begin) -> AsyncGenerator[Engine]:
        """Everything that a run needs, opened and in order."""
        self._engine, self._stopping = None, False
        check_defaults(self._defaults, self._settings().server)
        async with self._fresh_source() as source:
            service = connect()
            store = self._keeping().store()
            try:
                opened = partial(self._opened, store, service)
                journal, adopted = await finished_in_thread(opened)
                with Writer(journal, self.records.folder) as writer:
                    maker = JobRunner(service, store, self._name, self._retry)
                    self._engine = begin(source, self._terms(source), maker, writer, self._ways, adopted)
                    if self._stopping:
                        self.stop()
                    try:
                        yield self._engine
                    finally:
                        note = partial(note_known, budget=self._budget, folder=self.records.folder)
                        with suppress(JournalError):
                            await finished(partial(writer.do, note))
            finally:
                await finished(service.aclose)

    def _here(
        self, source: Source, terms: JobDefaults, maker: JobRunner, writer: Writer, ways: Ways, adopted: int
    ) -> Engine:
        return Engine(source, terms, maker, writer, self.limits.max_concurrency, ways, adopted, self._budget)

    def _conditions(self, most: int, lines_at_once: int) -> Conditions:
        """Return the conditions of a run's chunks, with `most` lines in flight on all workers.

        Raises:
            ConfigurationError: something was given that cannot go to them.
        """
        if self._here_only:
            raise ConfigurationError(
                f"{', '.join(self._here_only)} would have to go to the workers of a cluster with every chunk, and "
                f"cannot: leave it out; workers take key ({' or '.join(KEY_VARIABLES)}) and proxy from their own "
                "environment; nothing was sent"
            )
        limits = self.limits
        if limits.backend is None:
            if limits.requests_per_minute is not None:
                raise ConfigurationError(
                    f"requests_per_minute={limits.requests_per_minute} would hold in each worker by itself: share it "
                    "with Limits(..., backend=RedisBackend(...)), or leave it out; nothing was sent"
                )
            limits = replace(limits, max_concurrency=most)
        settings = self._settings()
        return Conditions(
            run=secrets.token_hex(8),
            version=__version__,
            folder=self._shared(),
            keeping=self._keeping(),
            base_url=settings.base_url,
            server=settings.server,
            limits=limits,
            timeout=self._timeout,
            retry=self._retry,
            allow_http=self._allow_http,
            lines_at_once=lines_at_once,
        )

    def _keeping(self) -> StorageLocation:
        """Return where and how the images are stored."""
        try:
            where = self._pictures or os.path.abspath(self.records.folder)
        except OSError as error:
            raise ConfigurationError(f"the working directory cannot be used: {error.strerror}") from error
        return StorageLocation(where, notes=self._notes, metadata=self._metadata)

    def _shared(self) -> Path:
        """The folder that workers share: that of the images, or the batch's where they go to a bucket."""
        where = self._keeping().where
        return self.records.folder.absolute() if is_url(where) else Path(where)

    @asynccontextmanager
    async def _fresh_source(self) -> AsyncGenerator[Source]:
        """The inputs from their beginning; a file is opened in a thread, since that may load what reads it.

        Raises:
            ConfigurationError: they cannot be read, or were read before and can be read once only.
        """
        if self._source is not None and self._source.once:
            raise ConfigurationError("these inputs were used up by an earlier run: make a new Batch")
        try:
            with ExitStack() as stack:

                def opened() -> Source:
                    source: Source = stack.enter_context(closing(source_of(self._inputs)))
                    if self._variations > 1:
                        source = Variations(source, self._variations)
                    return source if self._limit is None else FirstLines(source, self._limit)

                self._source = await finished_in_thread(opened) if is_file(self._inputs) else opened()
                yield self._source
        finally:
            await cancel_if_due()  # the last steps of a run had to end

    def _terms(self, source: Source) -> JobDefaults:
        server = self._settings().server
        return JobDefaults(self._defaults, source.folder, server=server, variations=self._variations)

    def _settings(self) -> Settings:
        """Return the settings of the client, without a key."""
        return resolve(_NOTHING_SENT, self._base_url, allow_http=self._allow_http, server=self._server)

    def _opened(self, store: ImageStore, service: Caller) -> tuple[Journal, int]:
        """Return the journal, put in order, and how many images were found that it did not have."""
        settings: dict[str, object] = {
            "server": service.config.base_url,
            "name": self._name,
            "defaults": describe_fields(self._defaults),
            "pictures": self._pictures,
            "variations": self._variations,
        }
        return open_journal(self.records.folder, settings, store, self._shared(), self._ways, self._budget)


def _fields(model: object, defaults: object) -> dict[str, object]:
    """The fields that hold for all lines.

    Raises:
        ConfigurationError: they are no mapping, or a field of one line alone.
    """
    if defaults is not None and not isinstance(defaults, Mapping):
        raise ConfigurationError(f"defaults are a mapping of fields, not {defaults!r}")
    fields = {str(name): value for name, value in cast("Mapping[object, object]", defaults or {}).items()}
    if "id" in fields:
        raise ConfigurationError("defaults cannot have an id: each line has its own")
    return fields if model is None else {**fields, "model": model}


def _count(number: object) -> int | None:
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigurationError(f"max_failures is a whole number above 0, or None, not {number!r}")
    return number


def _whole(name: str, number: object, most: int | None = None) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= (most or number):
        allowed = "above 0" if most is None else f"from 1 to {most}"
        raise ConfigurationError(f"{name} is a whole number {allowed}, not {number!r}")
    return number
