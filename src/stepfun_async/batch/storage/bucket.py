"""A bucket of an object store as the file store of images: `s3://` and `gs://`, by obstore, with the extra `cloud`.

An object is written by one conditional request: completely or not at all, and only if it does not exist.
Credentials, endpoint and region are what obstore finds in the environment.

Only obstore's blocking calls are used, in worker threads: its calls for asyncio occasionally crash the interpreter, and
do not support trio.
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
_UNSAFE_PARTS = frozenset({"", ".", ".."})
"""Parts of a prefix that some programs interpret."""

_STORES = {"s3": "S3Store", "gs": "GCSStore"}

_CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        **{ending: CONTENT_TYPES[kind] for kind, ending in EXTENSIONS.items()},
        NOTE: "application/json",
        ".jsonl": "application/jsonl",
        ".parquet": "application/vnd.apache.parquet",
    }
)
"""The content type by the extension of a name, so that browsers show the files."""

_CONCURRENCY = 16
"""The number of concurrent requests for many files."""

_CONFIG = {"timeout": "120s"}
"""The timeout of a request, with concurrent ones on a slow connection. The environment decides everything else."""

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ENDPOINT = re.compile(r"https?://[^/\s]+(/\S*)?", re.IGNORECASE)
"""The endpoints that obstore accepts; any other would fail only at the first request."""

_MANY_RETRIES = {"max_retries": 10, "retry_timeout": timedelta(seconds=90)}
"""The number and duration of retries when the network or the server fails."""

_FEW_RETRIES = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
"""Likewise before a run, while the user waits for an error such as a wrong name."""

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
"""Patterns of obstore's messages, and the messages that replace them."""


def is_url(where: str) -> bool:
    """Whether `where` is the URL of a bucket rather than a folder."""
    return "://" in where


def redacted(url: str) -> str:
    """Return `url` without credentials, for messages."""
    return re.sub("//.*@", "//...@", url, flags=re.DOTALL)


def check_installed() -> None:
    """Check that the extra for buckets is installed.

    Raises:
        ConfigurationError: it is not.
    """
    if find_spec("obstore") is None:
        raise ConfigurationError('images in a bucket need obstore: pip install "stepfun-async[cloud]"')


class Bucket:
    """The objects below a prefix in a bucket.

    Args:
        url: `s3://bucket/prefix` or `gs://bucket/prefix`; the prefix may be absent.
        retries: obstore's retry configuration.

    Raises:
        ConfigurationError: the URL is invalid.
    """

    threads = 16
    """They mostly wait for responses."""

    max_group_size = 1

    def __init__(self, url: str, *, retries: Mapping[str, Any] = _MANY_RETRIES) -> None:
        parts = _URL.fullmatch(url)
        prefix = "" if parts is None else (parts["prefix"] or "").removesuffix("/")
        if parts is None or (prefix and not _UNSAFE_PARTS.isdisjoint(prefix.split("/"))):
            raise ConfigurationError(f"{redacted(url)!r} is no bucket: write s3://bucket/prefix or gs://bucket/prefix")
        self._scheme, self._bucket, self._prefix = parts["scheme"], parts["bucket"], prefix
        self._retries = retries
        self.name = "/".join(part for part in (f"{self._scheme}://{self._bucket}", prefix) if part)

    def check_writable(self) -> None:
        """Check that an object can be written, is not replaced, and can be listed. If it cannot be deleted, it stays.

        Raises:
            StorageError: one of these checks failed.
        """
        bucket = Bucket(self.name, retries=_FEW_RETRIES)
        trial = f".trial-{secrets.token_hex(8)}"
        bucket.write(trial, b"a trial", overwrite=False)
        try:
            bucket.write(trial, b"another", overwrite=False)
        except FileExistsError:
            bucket.existing([trial, f"{trial}-of-nothing"])
        else:
            why = "its server replaces existing objects although the request forbids it, so images would be lost"
            raise StorageError(f"{self.name} cannot be used: {why}")
        finally:
            with suppress(OSError):
                bucket.delete(trial)

    def existing(self, names: Iterable[str]) -> set[str]:
        with ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="stepfun-bucket") as pool:
            pending = [(name, pool.submit(self._is_there, name)) for name in names]
            return {name for name, there in pending if there.result()}

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Yield the contents of objects, read a few ahead."""
        ahead: deque[Future[bytes | None]] = deque()
        with ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="stepfun-bucket") as pool:
            for name in names:
                ahead.append(pool.submit(self._read, name))
                if len(ahead) >= _CONCURRENCY:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def write_all(self, files: Sequence[NewFile]) -> list[BaseException | None]:
        return [self._write_with_note(file) for file in files]

    def replace(self, name: str, data: bytes) -> None:
        self.write(name, data, overwrite=True)

    def remove_leftovers(self, stem: str) -> None:
        """Do nothing: no object is ever partial."""

    def write(self, name: str, data: bytes, *, overwrite: bool) -> None:
        """Write an object.

        Raises:
            FileExistsError: `name` exists with other content, and `overwrite` is False.
            StorageError: it cannot be written.
        """
        try:
            self._put(name, data, mode="overwrite" if overwrite else "create")
        except FileExistsError:
            if self._read(name) != data:  # otherwise it was this request, retried after its response was lost
                raise

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._request("delete", name)

    def upload(self, name: str, file: Path) -> None:
        """Write a file of any size, and replace an existing object.

        Raises:
            StorageError: it cannot be written.
        """
        self._put(name, file, mode="overwrite", use_multipart=None)

    # --- inside ---

    def _write_with_note(self, file: NewFile) -> BaseException | None:
        """Write an image and its note. Return the error. An object is durable once the server has responded."""
        try:
            if file.note is not None:
                self.write(file.note_name, file.note, overwrite=True)
            self.write(file.name, file.data, overwrite=False)
        except BaseException as error:  # noqa: BLE001 - it affects only this image
            return error
        return None

    @cached_property
    def _store(self) -> Any:
        check_installed()
        _check_endpoint()
        kind = getattr(importlib.import_module("obstore.store"), _STORES[self._scheme])
        prefix = self._prefix or None
        return self._translate_errors(
            partial(kind, self._bucket, prefix=prefix, config=_CONFIG, retry_config=self._retries)
        )

    def _is_there(self, name: str) -> bool:
        try:
            self._request("head", name)
        except FileNotFoundError:
            return False
        return True

    def _read(self, name: str) -> bytes | None:
        try:
            found = self._request("get", name)
        except FileNotFoundError:
            return None
        return self._translate_errors(lambda: bytes(found.bytes()))

    def _put(self, name: str, data: bytes | Path, **how: Any) -> None:
        attributes = {"Content-Type": _CONTENT_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")}
        try:
            self._request("put", name, data, attributes=attributes, **{"use_multipart": False, **how})
        except FileNotFoundError as error:
            raise self._storage_error("there is no such bucket") from error

    def _request(self, function: str, *arguments: Any, **keywords: Any) -> Any:
        """Make a request.

        Raises:
            FileNotFoundError: the object or the bucket does not exist.
            FileExistsError: the object exists.
            StorageError: any other failure.
        """
        call = getattr(importlib.import_module("obstore"), function)
        return self._translate_errors(partial(call, self._store, *arguments, **keywords))

    def _translate_errors(self, call: Callable[[], T]) -> T:
        """Return the result of `call`, and raise obstore's errors as ours."""
        try:
            return call()
        except FileNotFoundError:
            raise
        except BaseException as error:
            if type(error).__name__ == "AlreadyExistsError":
                raise FileExistsError(*error.args) from error
            if not isinstance(error, Exception) and type(error).__name__ != _PANIC_CLASS:
                raise
            raise self._storage_error(_reason(error)) from error

    def _storage_error(self, why: str) -> StorageError:
        return StorageError(f"{self.name} cannot be used: {why}")


_PANIC_CLASS = "PanicException"
"""The name of obstore's internal error. It is not an `Exception`, so a paid image would be lost with it."""


def _check_endpoint() -> None:
    for name in _ENDPOINTS:
        endpoint = os.environ.get(name)
        if endpoint and not _ENDPOINT.fullmatch(endpoint):
            raise ConfigurationError(f"{name}={endpoint!r} is no endpoint: write https://host or https://host:port")


def _reason(error: BaseException) -> str:
    """Return the cause in one line. obstore appends a page of details for its own developers."""
    text = f"{type(error).__name__}: {error}"
    for pattern, hint in _HINTS:
        if match := re.search(pattern, text):
            return match.expand(hint)
    own, _, _ = str(error).partition("\n\n")
    return " ".join(own.split())
