"""A bucket of an object store as the place of images, with the extra `cloud`: `s3://` and `gs://`, by obstore.

An object is written by one request, whole or not at all, on condition that it replaces no other.
Credentials, endpoint and region are what obstore finds in the environment.

Only the calls of obstore that block are used, in worker threads: those for asyncio end the interpreter
abnormally now and then, and do not support trio.
"""

from __future__ import annotations

import importlib
import os
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, TypeVar

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.headers import CONTENT_TYPES, EXTENSIONS

from .base import NOTE, NewFile, StorageError

T = TypeVar("T")

_URL = re.compile(r"(?P<scheme>s3|gs)://(?P<bucket>[a-z0-9][a-z0-9._-]+)(?:/(?P<prefix>[^?#]*))?")
_NOWHERE = frozenset({"", ".", ".."})
"""Parts of a prefix that some programs read as something else."""

_STORES = {"s3": "S3Store", "gs": "GCSStore"}

_CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        **{ending: CONTENT_TYPES[kind] for kind, ending in EXTENSIONS.items()},
        NOTE: "application/json",
        ".jsonl": "application/jsonl",
        ".parquet": "application/vnd.apache.parquet",
    }
)
"""By the ending of a name, so that a browser shows what is opened."""

_AT_ONCE = 16
"""Requests under way at once where many files are asked for."""

_CONFIG = {"timeout": "120s"}
"""For one image and all its way, with others beside it on a slow line. Everything else is left to the environment."""

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ENDPOINT = re.compile(r"https?://[^/\s]+(/\S*)?", re.IGNORECASE)
"""The endpoints that obstore accepts; any other fails only with the first request."""

_PATIENT = {"max_retries": 10, "retry_timeout": timedelta(seconds=90)}
"""The number and duration of retries when the network or the server fails."""

_HASTY = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
"""Likewise before a run, when the user waits for an error such as a wrong name."""

_NO_CREDENTIALS = (
    "there are no credentials, neither in the environment nor from this machine: "
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS"
)
_HINTS: tuple[tuple[str, str], ...] = (
    (r"/latest/(api/token|meta-data)|/computeMetadata/", _NO_CREDENTIALS),
    ("BadScheme", "its endpoint is plain http: set AWS_ALLOW_HTTP=true where you trust the network"),
    ("NoSuchBucket", "there is no such bucket"),
    ("InvalidAccessKeyId|SignatureDoesNotMatch|UnauthenticatedError", "the credentials are not accepted"),
    ("PermissionDeniedError.* HEAD ", "the credentials are wrong, or may not read and list what is in it"),
    (r"PermissionDeniedError.* performing (\w+) ", r"the credentials may not do that (\1)"),
    (r" performing \w+ (https?://[^/ ]+).*error sending request", r"\1 cannot be reached"),
    ("without LOCATION", "the bucket is in another region: set AWS_REGION"),
)
"""Messages that replace those of obstore which contain one of these texts."""


def is_url(where: str) -> bool:
    """Whether `where` is meant for a bucket, and not for a folder."""
    return "://" in where


def shown(url: str) -> str:
    """`url` for a message, without credentials in it."""
    return re.sub("//.*@", "//...@", url, flags=re.DOTALL)


def needed() -> None:
    """Make sure that buckets can be used.

    Raises:
        ConfigurationError: the extra is not installed.
    """
    if find_spec("obstore") is None:
        raise ConfigurationError('images in a bucket need obstore: pip install "stepfun-async[cloud]"')


class Bucket:
    """The objects below a prefix in a bucket.

    Args:
        url: `s3://bucket/prefix` or `gs://bucket/prefix`; the prefix may be absent.
        retries: how often a request is retried, as obstore takes it.

    Raises:
        ConfigurationError: it is no such URL.
    """

    threads = 16
    """Most of the time they wait for a response."""

    most_at_once = 1

    def __init__(self, url: str, *, retries: Mapping[str, Any] = _PATIENT) -> None:
        parts = _URL.fullmatch(url)
        prefix = "" if parts is None else (parts["prefix"] or "").removesuffix("/")
        if parts is None or (prefix and not _NOWHERE.isdisjoint(prefix.split("/"))):
            raise ConfigurationError(f"{shown(url)!r} is no bucket: write s3://bucket/prefix or gs://bucket/prefix")
        self._scheme, self._bucket, self._prefix = parts["scheme"], parts["bucket"], prefix
        self._retries = retries
        self.name = "/".join(part for part in (f"{self._scheme}://{self._bucket}", prefix) if part)

    def try_out(self) -> None:
        """Write an object, fail to write it again, and list it. Without the right to delete it, it stays.

        Raises:
            StorageError: one of these came out otherwise.
        """
        bucket = Bucket(self.name, retries=_HASTY)
        trial = f".trial-{secrets.token_hex(8)}"
        bucket.write(trial, b"a trial", overwrite=False)
        try:
            bucket.write(trial, b"another", overwrite=False)
        except FileExistsError:
            bucket.present([trial, f"{trial}-of-nothing"])
        else:
            why = "its server replaces objects although the request forbids it, so that images would be lost"
            raise StorageError(f"{self.name} cannot be used: {why}")
        finally:
            with suppress(OSError):
                bucket.delete(trial)

    def present(self, names: Iterable[str]) -> set[str]:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="stepfun-bucket") as pool:
            asked = [(name, pool.submit(self._is_there, name)) for name in names]
            return {name for name, there in asked if there.result()}

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Yield the contents of objects, read a few ahead."""
        ahead: deque[Future[bytes | None]] = deque()
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="stepfun-bucket") as pool:
            for name in names:
                ahead.append(pool.submit(self._read, name))
                if len(ahead) >= _AT_ONCE:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def write_all(self, files: Sequence[NewFile]) -> list[BaseException | None]:
        return [self._error_of(file) for file in files]

    def replace(self, name: str, data: bytes) -> None:
        self.write(name, data, overwrite=True)

    def sweep(self, stem: str) -> None:
        """Do nothing: no object is ever half-written."""

    def write(self, name: str, data: bytes, *, overwrite: bool) -> None:
        """Write an object.

        Raises:
            FileExistsError: there is something else under `name`, and `overwrite` is False.
            StorageError: it cannot be written.
        """
        try:
            self._put(name, data, mode="overwrite" if overwrite else "create")
        except FileExistsError:
            if self._read(name) != data:  # or it was this very request, retried when its response was lost
                raise

    def delete(self, name: str) -> None:
        """Take an object away."""
        self._do("delete", name)

    def upload(self, name: str, file: Path) -> None:
        """Write a file of any size, and replace what is there.

        Raises:
            StorageError: it cannot be written.
        """
        self._put(name, file, mode="overwrite", use_multipart=None)

    # --- inside ---

    def _error_of(self, file: NewFile) -> BaseException | None:
        """Write an image and its note; an object is durable once the server has answered."""
        try:
            if file.note is not None:
                self.write(file.note_name, file.note, overwrite=True)
            self.write(file.name, file.data, overwrite=False)
        except BaseException as error:  # noqa: BLE001 - it concerns this image alone
            return error
        return None

    @cached_property
    def _store(self) -> Any:
        needed()
        _check_endpoint()
        kind = getattr(importlib.import_module("obstore.store"), _STORES[self._scheme])
        prefix = self._prefix or None
        return self._translated(partial(kind, self._bucket, prefix=prefix, config=_CONFIG, retry_config=self._retries))

    def _is_there(self, name: str) -> bool:
        try:
            self._do("head", name)
        except FileNotFoundError:
            return False
        return True

    def _read(self, name: str) -> bytes | None:
        try:
            found = self._do("get", name)
        except FileNotFoundError:
            return None
        return self._translated(lambda: bytes(found.bytes()))

    def _put(self, name: str, data: bytes | Path, **how: Any) -> None:
        attributes = {"Content-Type": _CONTENT_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")}
        try:
            self._do("put", name, data, attributes=attributes, **{"use_multipart": False, **how})
        except FileNotFoundError as error:
            raise self._unusable("there is no such bucket") from error

    def _do(self, function: str, *arguments: Any, **keywords: Any) -> Any:
        """A request.

        Raises:
            FileNotFoundError: there is no such object, or no such bucket.
            FileExistsError: there is an object already.
            StorageError: anything else went wrong.
        """
        ask = getattr(importlib.import_module("obstore"), function)
        return self._translated(partial(ask, self._store, *arguments, **keywords))

    def _translated(self, ask: Callable[[], T]) -> T:
        """Return the result of `ask`, and raise obstore's errors as ours."""
        try:
            return ask()
        except FileNotFoundError:
            raise
        except BaseException as error:
            if type(error).__name__ == "AlreadyExistsError":
                raise FileExistsError(*error.args) from error
            if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
                raise
            raise self._unusable(_reason(error)) from error

    def _unusable(self, why: str) -> StorageError:
        return StorageError(f"{self.name} cannot be used: {why}")


_PANIC = "PanicException"
"""The name of obstore's internal error. It is not an `Exception`, so a paid image would be lost with it."""


def _check_endpoint() -> None:
    for name in _ENDPOINTS:
        endpoint = os.environ.get(name)
        if endpoint and not _ENDPOINT.fullmatch(endpoint):
            raise ConfigurationError(f"{name}={endpoint!r} is no endpoint: write https://host or https://host:port")


def _reason(error: BaseException) -> str:
    """Return the cause in words that help; obstore appends a page for its own developers."""
    text = f"{type(error).__name__}: {error}"
    for pattern, hint in _HINTS:
        if match := re.search(pattern, text):
            return match.expand(hint)
    own, _, _ = str(error).partition("\n\n")
    return " ".join(own.split())
