"""Tables as inputs: the rows of pandas, polars and Arrow in memory, and of Parquet files."""

from __future__ import annotations

import importlib
import math
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from stepfun_async._core.errors import ConfigurationError

from .lines import InputLine, line_of


@dataclass(frozen=True, slots=True)
class _TableRows:
    """The rows of a table in memory, as mappings; each iteration begins at the first row."""

    read: Callable[[], Iterator[Mapping[str, object]]]

    def __iter__(self) -> Iterator[Mapping[str, object]]:
        return self.read()


def rows_of_table(inputs: Any) -> _TableRows | None:
    """Return the rows of a table of pandas, polars or Arrow; `None` for anything else."""
    if isinstance(inputs, type) or not hasattr(inputs, "columns"):
        return None
    if hasattr(inputs, "iter_rows"):  # polars
        return _TableRows(partial(inputs.iter_rows, named=True))
    if hasattr(inputs, "itertuples"):  # pandas
        names = tuple(inputs.columns)
        refuse_repeated("the table", names)
        return _TableRows(
            lambda: (dict(zip(names, row, strict=True)) for row in inputs.itertuples(index=False, name=None))
        )
    if hasattr(inputs, "to_pylist"):  # pyarrow
        refuse_repeated("the table", tuple(inputs.column_names))
        batches = inputs.to_batches if hasattr(inputs, "to_batches") else lambda: [inputs]
        return _TableRows(lambda: (row for batch in batches() for row in _rows_of_batch(batch)))
    return None


def refuse_repeated(what: str, names: Iterable[object]) -> None:
    repeated = [str(name) for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise ConfigurationError(f"{what} has a column {', '.join(map(repr, repeated))} twice: name each column once")


def parquet_rows(path: Path, stack: ExitStack) -> Iterator[InputLine]:
    if find_spec("pyarrow") is None:
        raise ConfigurationError('Parquet needs pyarrow: pip install "stepfun-async[parquet]"')
    parquet: Any = importlib.import_module("pyarrow.parquet")
    errors: Any = importlib.import_module("pyarrow").ArrowException
    try:
        file = stack.enter_context(parquet.ParquetFile(path))
        refuse_repeated(f"the Parquet file {str(path)!r}", file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            for row in _rows_of_batch(batch):
                number += 1
                yield line_of(number, row)
    except errors as error:
        raise ConfigurationError(f"the inputs {str(path)!r} are no Parquet file that can be read: {error}") from error


def _rows_of_batch(batch: Any) -> Iterator[dict[str, object]]:
    """Yield the rows of a record batch of Arrow. Text that is not UTF-8 gets lone surrogates, detected later."""
    columns = {name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _values(column: Any) -> list[object]:
    """Return the values of a column; floats of 16 or 32 bits as the shortest decimal that is equal to them."""
    layout = _LAYOUTS.get(str(column.type))
    try:
        values: list[object] = column.to_pylist()
    except UnicodeDecodeError:
        values = [_text_of(value) for value in column.cast("large_binary", safe=False).to_pylist()]
    return values if layout is None else [_shortest(value, layout) for value in values]


_LAYOUTS: Mapping[str, tuple[str, int]] = MappingProxyType({"halffloat": ("e", 5), "float": ("f", 9)})
"""For each short float type, its `struct` format, and the number of digits that distinguish all of its values."""


def _shortest(value: Any, layout: tuple[str, int]) -> float | None:
    """Return the number with the fewest digits that is stored as `value`, such as 1.1 for 1.100000023841858."""
    if value is None or not math.isfinite(value):
        return cast("float | None", value)
    form, most = layout
    packed = struct.pack(form, value)
    texts = (float(f"{value:.{digits}g}") for digits in range(1, most + 1))
    return next(number for number in texts if _is_packed_as(number, form, packed))


def _is_packed_as(number: float, form: str, packed: bytes) -> bool:
    try:
        return struct.pack(form, number) == packed
    except OverflowError:  # the largest values may be rounded beyond the range
        return False


def _text_of(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")


_ROWS_AT_ONCE = 256
