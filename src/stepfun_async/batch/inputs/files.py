"""Files as inputs: opened by their ending, or by how stdin begins, and read in pieces in a thread."""

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
from .jobs import Broken
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


def _drop() -> None:
    """Drop lines that were read when the run had ended."""


class FileSource:
    def __init__(self, path: Path) -> None:
        self.once = str(path) == STDIN
        self._path = path
        reader = _reader_of(path)
        self.folder = None if self.once else path if path.is_dir() else path.parent
        self._open = ExitStack()
        self._lines = reader(path, self._open)
        self._first = self._begin()

    async def take(self, most: int) -> list[InputLine]:
        take = partial(self._take, most)
        if not self.once:
            return await finished_in_thread(take)
        job: Job[list[InputLine]] = Job(take, unwanted=_drop)  # who writes into a pipe may never write again
        return await job.result()

    def close(self) -> None:
        self._open.close()

    def _take(self, most: int) -> list[InputLine]:
        first, self._first = self._first, []
        return [*first, *self._read(most - len(first))]

    def _begin(self) -> list[InputLine]:
        """Open the file and read its first line, so that what is wrong with the file is known at once."""
        with ExitStack() as stack:
            stack.push(self._open)
            lines = self._read(1)
            stack.pop_all()
        if not lines:
            warnings.warn(f"the inputs {str(self._path)!r} have no lines: nothing is to be sent", InputWarning, 2)
        return lines

    def _read(self, most: int) -> list[InputLine]:
        try:
            return list(islice(self._lines, most))
        except READ_ERRORS as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"the inputs {str(self._path)!r} cannot be read: {why}") from error


def _reader_of(path: Path) -> Reader:
    """The reader of a file.

    Raises:
        ConfigurationError: its format is not known.
    """
    if str(path) == STDIN:
        return _stdin
    if path.is_dir():
        return _folder
    ending = PurePath(uncompressed(path.name)).suffix.lower()
    reader = _READERS.get(ending)
    if reader is None or (reader is parquet_rows and path.suffix.lower() != ending):
        raise ConfigurationError(f"the inputs {str(path)!r} {_unknown(path, ending)}")
    return reader


def _unknown(path: Path, ending: str) -> str:
    """Return why a file is not read, and what to do."""
    if ending in _ADVICE:
        return f"are in a format that is not read: {_ADVICE[ending]}"
    known = (
        f"are in no format that is known by its ending: {', '.join(_READERS)}, each also with .gz, .bz2, .xz or .zst"
    )
    if any(letter in path.name for letter in "*?["):
        return f"{known}; a pattern is not taken: join the files, or give them one after another"
    return known if path.exists() else f"{known}; a prompt itself goes into a list: [{str(path)!r}]"


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
    """The lines of stdin, whose format is known by how it begins."""
    if sys.stdin is None:
        raise ConfigurationError("the inputs are '-', and stdin is closed: give a file, or pipe one in")
    if sys.stdin.isatty():
        raise ConfigurationError("the inputs are '-', and nothing is piped into stdin: give a file, or pipe one in")
    text = open_text(path, stack)
    yield from _FORMATS[format_of(text)](text)


def _folder(path: Path, stack: ExitStack) -> Iterator[InputLine]:
    """A line for each `.txt` file, with its name as the id, as folders of captions have them."""
    for number, file in enumerate(prompt_files(path), 1):
        with ExitStack() as opened:
            written = [text for _, text in open_text(file, opened).lines()]
        written_as = digest(repr((file.stem, written)).encode("utf-8", "surrogatepass"))
        yield InputLine(number, partial(_whole_prompt, file, written), written_as)


def _whole_prompt(file: Path, written: list[bytes]) -> object:
    if len(written) != 1:
        why = f"{file.name} has {len(written)} lines of text; a file with a prompt a line is given by its own name"
        return Broken((Problem("prompt", None, "one line of text in each .txt of a folder", why),))
    prompt = prompt_of(written[0])
    return prompt if isinstance(prompt, Broken) else {"id": file.stem, "prompt": prompt}


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
