"""The manifest: every line of a batch with the fields of `Item`, as JSON Lines or as Parquet, by its extension.

Both are written row by row, so a million rows need no more memory than ten thousand. Programs that read JSON Lines
infer the types of columns from the first lines (polars from 100, DuckDB from 20,480), and fail if a later line has
another type. So each line has every column, each with a value of its type and never null.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from decimal import Context, Decimal
from importlib.util import find_spec
from itertools import islice
from operator import attrgetter
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, BinaryIO

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.headers import EXTENSIONS

from ..inputs.descriptions import describe_fields, escaped
from ..items import Item

Write = Callable[[Iterable[Item], BinaryIO, Collection[str]], None]
"""Writes items to a file; the currencies are those of all payments."""

METADATA = "metadata.jsonl"
"""The name under which `load_dataset("imagefolder")` looks for the captions of images."""

_LINES = ("", ".jsonl", ".ndjson", ".json")
"""The extensions of JSON Lines."""


def writer_for(name: str) -> Write:
    """Return the writer for a manifest of this name, by its extension.

    Raises:
        ConfigurationError: a manifest is not written in that format, or its extra is not installed.
    """
    extension = PurePath(name).suffix.lower()
    if extension in _LINES:
        return write_lines
    if extension != ".parquet":
        raise ConfigurationError(
            f"{name!r} cannot be a manifest, which is JSON Lines (.jsonl) or Parquet (.parquet), not {extension}"
        )
    if find_spec("pyarrow") is None:
        raise ConfigurationError('Parquet needs pyarrow: pip install "stepfun-async[parquet]"')
    return write_parquet


# --- JSON Lines ---------------------------------------------------------------------------------


def write_lines(items: Iterable[Item], file: BinaryIO, currencies: Collection[str] = ()) -> None:
    """Write a line of JSON for each item.

    Raises:
        OSError: it cannot be written.
    """
    file.writelines(_line(line_of(item, currencies)) for item in items)


def write_captions(items: Iterable[Item], file: BinaryIO, prefix: str) -> None:
    """Write `metadata.jsonl` for `load_dataset("imagefolder")`: a line for each image, with its prompt as `text`.

    Args:
        items: the items of the batch; those without an image are left out.
        file: the file.
        prefix: the prefix of the path of each image, from the folder of `metadata.jsonl` to the batch's images.

    Raises:
        OSError: it cannot be written.
    """
    for item in items:
        if item.state == "done" and item.format in EXTENSIONS:
            line = line_of(item, ())
            facts = {name: line[name] for name in ("id", "operation", "model", "seed", "request")}
            file.write(_line({"file_name": f"{prefix}{line['path']}", "text": line["prompt"], **facts}))


def line_of(item: Item, currencies: Collection[str]) -> dict[str, object]:
    """Return an item as a line of JSON: every column, with a value of its type."""
    line: dict[str, object] = {name: _cell(item, name, kind) for name, kind in _COLUMNS.items() if name not in _SUMS}
    price = item.price
    line["price"] = {
        "amount": "" if price is None else str(price.amount),
        "currency": "" if price is None else price.currency,
    }
    for name in ("spent", "held"):
        sums: Mapping[str, Decimal] = getattr(item, name)
        line[name] = {
            currency: str(sums.get(currency, 0)) for currency in (*currencies, *(sums.keys() - {*currencies}))
        }
    return {name: line[name] for name in _COLUMNS if name in line}


def _cell(item: Item, name: str, kind: str) -> object:
    value = (_VALUES.get(name) or attrgetter(name))(item)
    if value is None:
        return _NO_SEED if name == "seed" else _NO_VALUE[kind]
    return _text(value) if kind == "text" else type(_NO_VALUE[kind])(value)


_NO_VALUE: Mapping[str, Any] = MappingProxyType({"text": "", "count": 0, "number": 0, "moment": 0.0, "seconds": 0.0})
"""The values written instead of null in JSON Lines."""

_NO_SEED = -1

_SUMS = frozenset({"price", "currency", "spent", "held"})
"""Columns that JSON Lines have in another form."""


def _as_json(value: object) -> str:
    """Encode `value` as strict JSON, without NaN and infinity, which `describe_fields` replaces in requests."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def row_of(item: Item) -> Mapping[str, object]:
    """Return an item as JSON values, for tar shards."""
    row = {field.name: getattr(item, field.name) for field in fields(item)}
    price = item.price
    row["price"] = None if price is None else {"amount": str(price.amount), "currency": price.currency}
    for name in ("spent", "held"):
        row[name] = {currency: str(amount) for currency, amount in getattr(item, name).items()}
    return row


def _line(value: object) -> bytes:
    return _as_json(value).encode() + b"\n"


# --- Parquet ------------------------------------------------------------------------------------

_ROWS_IN_GROUP = 10_000
"""The number of rows that are written together: some 10 MB."""

_DIGITS, _DECIMALS = 38, 18
"""The precision of sums of money: the maximum of Parquet's decimals, and more decimals than any price has."""

_TYPES: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "text": lambda arrow: arrow.string(),
        "count": lambda arrow: arrow.int32(),
        "number": lambda arrow: arrow.int64(),
        "money": lambda arrow: arrow.decimal128(_DIGITS, _DECIMALS),
        "sums": lambda arrow: arrow.map_(arrow.string(), arrow.decimal128(_DIGITS, _DECIMALS)),
        "moment": lambda arrow: arrow.timestamp("us", tz="UTC"),
        "seconds": lambda arrow: arrow.float64(),
    }
)

_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "id": "text",
        "line": "number",
        "state": "text",
        "operation": "text",
        "model": "text",
        "prompt": "text",
        "request": "text",
        "fingerprint": "text",
        "path": "text",
        "sha256": "text",
        "bytes": "number",
        "format": "text",
        "width": "count",
        "height": "count",
        "seed": "number",
        "finish_reason": "text",
        "price": "money",
        "currency": "text",
        "trace_id": "text",
        "attempts": "count",
        "billed": "count",
        "maybe_billed": "count",
        "spent": "sums",
        "held": "sums",
        "error": "text",
        "message": "text",
        "started": "moment",
        "ended": "moment",
        "elapsed": "seconds",
    }
)
"""The columns and their types. Requests differ in their fields, so `request` is JSON; common fields have columns."""

_VALUES: Mapping[str, Callable[[Item], object]] = MappingProxyType(
    {
        "operation": lambda item: item.request.get("operation"),
        "model": lambda item: item.request.get("model"),
        "prompt": lambda item: describe_fields(item.request).get("prompt"),
        "request": lambda item: _as_json(describe_fields(item.request)),
        "price": lambda item: None if item.price is None else item.price.amount,
        "currency": lambda item: None if item.price is None else item.price.currency,
    }
)
"""The columns that are not fields of an item."""


def _text(value: object) -> str:
    return escaped(value if isinstance(value, str) else _as_json(value))


def _sums(value: Any) -> list[tuple[str, Decimal]]:
    return [(currency, _money(amount)) for currency, amount in value.items()]


def _money(value: Any) -> Decimal:
    """Round an amount to the decimals of the column."""
    rounded: Decimal = value.quantize(Decimal(1).scaleb(-_DECIMALS), context=Context(prec=_DIGITS))
    return rounded


_AS: Mapping[str, Callable[[Any], object]] = MappingProxyType(
    {"text": _text, "money": _money, "sums": _sums, "moment": lambda seconds: round(seconds * 1e6)}
)
"""The functions that convert a value to the type of its column."""


def write_parquet(items: Iterable[Item], file: BinaryIO, currencies: Collection[str] = ()) -> None:
    """Write a row for each item, in groups of rows. The columns are the same whatever the currencies.

    Raises:
        OSError: it cannot be written.
    """
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    schema = arrow.schema([(name, _TYPES[kind](arrow)) for name, kind in _COLUMNS.items()])
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(items):
            columns = {name: _column(group, name, kind) for name, kind in _COLUMNS.items()}
            writer.write_table(arrow.table(columns, schema=schema))


def _groups(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while group := list(islice(rest, _ROWS_IN_GROUP)):
        yield group


def _column(group: Iterable[Item], name: str, kind: str) -> list[object]:
    value_of = _VALUES.get(name) or attrgetter(name)
    convert = _AS.get(kind, _as_it_is)
    values = (value_of(item) for item in group)
    return [None if value is None else convert(value) for value in values]


def _as_it_is(value: object) -> object:
    return value
