"""Files as inputs: opened by their extension, stdin by its beginning, and read in pieces in a thread."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TypeAlias

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.problems import Problem
from stepfun_async._runtime.event_loop import Job, finished_in_thread

from .csv_lines import csv_lines
from .jobs import InvalidLine
from .lines import InputLine, InputWarning, digest
from .tables import parquet_rows
from .text_lines import format_of, json_array, json_lines, prompt_of, prompts
from .texts import READ_ERRORS, STDIN, TextFile, open_text, prompt_files, uncompressed

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/+")


def path_of(inputs: str | os.PathLike[str]) -> Path:
    text = os.fsdecode(inputs)
    url = _URL.match(text)
    if not text:
        raise ConfigurationError("inputs are a file or an iterable of lines, not ''; nothing was sent")
    if url and url["scheme"].lower() == "file":
        path = f"/{text[url.end() :]}"
        raise ConfigurationError(f"the inputs {text!r} are a URL: give the path, {path!r}; nothing was sent")
    if url:
        address = f"{url['scheme']}://{text[url.end() :]}"
        raise ConfigurationError(
            f"the inputs {address!r} are not on this machine: download the file, and give its path; nothing was sent"
        )
    return Path(text)


Reader: TypeAlias = Callable[[Path, ExitStack], Iterator[InputLine]]


def _discard_lines() -> None:
    """Discard lines that were read after the run had ended."""


class FileSource:
    def __init__(self, path: Path) -> None:
        self.is_one_shot = str(path) == STDIN
        self._path = path
        reader = _reader_of(path)
        self.folder = None if self.is_one_shot else path if path.is_dir() else path.parent
        self._stack = ExitStack()
        self._lines = reader(path, self._stack)
        self._first = self._read_first()

    async def take(self, most: int) -> list[InputLine]:
        take = partial(self._take, most)
        if not self.is_one_shot:
            return await finished_in_thread(take)
        job: Job[list[InputLine]] = Job(take, on_abandoned=_discard_lines)  # the writer of a pipe may never write again
        return await job.result()

    def close(self) -> None:
        self._stack.close()

    def _take(self, most: int) -> list[InputLine]:
        first, self._first = self._first, []
        return [*first, *self._read(most - len(first))]

    def _read_first(self) -> list[InputLine]:
        """Open the file and read its first line, so that problems of the file are reported at once."""
        with ExitStack() as stack:
            stack.push(self._stack)
            lines = self._read(1)
            stack.pop_all()
        if not lines:
            warnings.warn(f"the inputs {str(self._path)!r} have no lines: there is nothing to send", InputWarning, 2)
        return lines

    def _read(self, most: int) -> list[InputLine]:
        try:
            return list(islice(self._lines, most))
        except READ_ERRORS as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"the inputs {str(self._path)!r} cannot be read: {why}") from error


def _reader_of(path: Path) -> Reader:
    """Return the reader of a file.

    Raises:
        ConfigurationError: its format is unknown.
    """
    if str(path) == STDIN:
        return _stdin
    if path.is_dir():
        return _folder
    ending = PurePath(uncompressed(path.name)).suffix.lower()
    reader = _READERS.get(ending)
    if reader is None or (reader is parquet_rows and path.suffix.lower() != ending):
        raise ConfigurationError(f"the inputs {str(path)!r} {_why_unknown(path, ending)}")
    return reader


def _why_unknown(path: Path, ending: str) -> str:
    """Return why a file cannot be read, and what to do."""
    if ending in _ADVICE:
        return f"are in a format that is not supported: {_ADVICE[ending]}"
    known = (
        f"have none of the extensions {', '.join(_READERS)}; all but .parquet may be followed by .gz, .bz2, .xz or .zst"
    )
    if any(letter in path.name for letter in "*?["):
        return f"{known}; patterns are not supported: join the files, or run them one by one"
    return known if path.exists() else f"{known}; to pass a prompt, put it into a list: [{str(path)!r}]"


_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        ".xlsx": "save the table as 'CSV UTF-8'",
        ".xls": "save the table as 'CSV UTF-8'",
        ".ods": "save the table as CSV, in UTF-8",
        ".feather": "give the table itself, pyarrow.feather.read_table(path), or write Parquet",
        ".arrow": "give the table itself, or write Parquet",
        ".yaml": "write a JSON object a line, as .jsonl",
        ".yml": "write a JSON object a line, as .jsonl",
        ".sqlite": "export the table as CSV",
        ".db": "export the table as CSV",
        ".zip": "unpack it",
        ".tar": "unpack it",
    }
)


def _text(path: Path, stack: ExitStack, *, read: Callable[[TextFile], Iterator[InputLine]]) -> Iterator[InputLine]:
    yield from read(open_text(path, stack))


def _stdin(path: Path, stack: ExitStack) -> Iterator[InputLine]:
    """Yield the lines of stdin, whose format is recognized by its beginning."""
    if sys.stdin is None:
        raise ConfigurationError("the inputs are '-', and stdin is closed: give a file, or pipe one in")
    if sys.stdin.isatty():
        raise ConfigurationError("the inputs are '-', and nothing is piped into stdin: give a file, or pipe one in")
    text = open_text(path, stack)
    yield from _FORMATS[format_of(text)](text)


def _folder(path: Path, stack: ExitStack) -> Iterator[InputLine]:
    """Yield a line for each `.txt` file, with its name as the id, as in folders of captions."""
    for number, file in enumerate(prompt_files(path), 1):
        with ExitStack() as opened:
            written = [text for _, text in open_text(file, opened).lines()]
        written_as = digest(repr((file.stem, written)).encode("utf-8", "surrogatepass"))
        yield InputLine(number, partial(_whole_prompt, file, written), written_as)


def _whole_prompt(file: Path, written: list[bytes]) -> object:
    if len(written) != 1:
        why = f"{file.name} has {len(written)} lines of text; to use a file with a prompt per line, pass its own path"
        return InvalidLine((Problem("prompt", None, "one line of text in each .txt of a folder", why),))
    prompt = prompt_of(written[0])
    return prompt if isinstance(prompt, InvalidLine) else {"id": file.stem, "prompt": prompt}


_FORMATS: Mapping[str, Callable[[TextFile], Iterator[InputLine]]] = MappingProxyType(
    {
        ".jsonl": json_lines,
        ".ndjson": json_lines,
        ".json": json_array,
        ".csv": partial(csv_lines, delimiter=","),
        ".tsv": partial(csv_lines, delimiter="\t"),
        ".txt": prompts,
    }
)
_READERS: Mapping[str, Reader] = MappingProxyType(
    {**{ending: partial(_text, read=read) for ending, read in _FORMATS.items()}, ".parquet": parquet_rows}
)
