"""Manifests as real programs read them, with their defaults: `make tables`."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stepfun_async._core.money import Money
from stepfun_async.batch import Item, Records
from stepfun_async.batch.report import manifest

from ..batch.shop import Shop

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
duckdb = pytest.importorskip("duckdb")
arrow_json = pytest.importorskip("pyarrow.json")
datasets = pytest.importorskip("datasets")

LINES = 25_000
"""More than DuckDB looks at before it decides on types; polars looks at 100."""


def item(line: int, *, done: bool, **more: Any) -> Item:
    request: dict[str, Any] = {"operation": "text_to_image", "model": "m", "prompt": f"lake {line}"}
    request["size"] = {"width": 1024, "height": 1024} if line % 2 else "1:1"
    facts: dict[str, Any] = {"state": "failed", "error": "ContentRejectedError", "message": "no\ud800"}
    if done:
        facts = {
            "state": "done",
            "path": f"a/{line}.png",
            "sha256": f"{line:064x}",
            "bytes": 7,
            "format": "png",
            "width": 1024,
            "height": 1024,
            "seed": line,
            "finish_reason": "success",
            "trace_id": "t",
            "price": Money(Decimal("0.003"), "USD"),
            "attempts": 1,
            "billed": 1,
            "maybe_billed": 1,
            "spent": {"USD": Decimal("0.003")},
            "started": 1.5,
            "ended": 2.5,
            "elapsed": 1.0,
            "fingerprint": "f",
        }
    return Item(**{"id": f"line-{line}", "line": line, "request": request, **facts, **more})


def rows_of(reader: str, path: Path, cache: Path) -> list[dict[str, Any]]:
    if reader == "pandas":
        table = pandas.read_json(path, lines=True)
        return list(table.to_dict("records"))
    if reader == "polars":
        return list(polars.read_ndjson(path).iter_rows(named=True))
    if reader == "polars lazily":
        return list(polars.scan_ndjson(path).collect().iter_rows(named=True))
    if reader == "duckdb":
        return list(duckdb.sql(f"SELECT * FROM '{path}'").to_arrow_table().to_pylist())
    if reader == "pyarrow":
        return list(arrow_json.read_json(path).to_pylist())
    found = datasets.load_dataset("json", data_files=str(path), cache_dir=str(cache), split="train")
    return list(found)


READERS = ["pandas", "polars", "polars lazily", "duckdb", "pyarrow", "datasets"]


@pytest.fixture(scope="module", params=[True, False], ids=["the last one fails", "the last one is done"])
def long(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    """A manifest whose last line is of another kind than all others, and whether those are done."""
    first: bool = request.param
    items = [item(line, done=first) for line in range(1, LINES)]
    items.append(item(LINES, done=not first, request={"prompt": math.nan, "seed": math.inf, "size": "\ud800"}))
    path = tmp_path_factory.mktemp("manifest") / "manifest.jsonl"
    with path.open("wb") as file:
        manifest.write_lines(items, file, ["USD"])
    return path, first


@pytest.mark.parametrize("reader", READERS)
def test_lines_that_differ_late_are_read_with_the_same_columns(
    tmp_path: Path, reader: str, long: tuple[Path, bool]
) -> None:
    path, first = long
    rows = rows_of(reader, path, tmp_path / "cache")
    assert len(rows) == LINES
    assert rows[0].keys() == rows[-1].keys()
    assert [row["state"] for row in (rows[0], rows[-1])] == (["done", "failed"] if first else ["failed", "done"])
    failed = rows[-1] if first else rows[0]
    assert (failed["error"], failed["path"], failed["seed"]) == ("ContentRejectedError", "", -1)
    assert json.loads(rows[0]["request"])["prompt"] == "lake 1"
    assert rows[LINES - 2]["line"] == LINES - 1


@pytest.mark.parametrize("reader", READERS)
def test_a_manifest_of_a_real_run_is_read(tmp_path: Path, reader: str) -> None:
    shop = Shop(tmp_path / "out")
    shop.fail("451")
    shop.batch(["A lake", "A fox", {"prompt": "A cat", "seed": 7, "size": {"width": 1360, "height": 768}}]).run_sync()
    path = Path(Records(shop.out).write_manifest())
    rows = rows_of(reader, path, tmp_path / "cache")
    assert sorted(row["prompt"] for row in rows) == ["A cat", "A fox", "A lake"]
    assert sorted(row["state"] for row in rows) == ["done", "done", "failed"]


def test_imagefolder_has_each_image_with_its_caption(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "out")
    shop.fail("451")
    shop.batch(["A lake", "A fox", "雪中的红狐", "A cat"]).run_sync()
    records = Records(shop.out)
    records.write_report()  # whose small copies are images in the same folder
    records.write_manifest()
    records.write_manifest(imagefolder=True)
    table = datasets.load_dataset(
        "imagefolder", data_dir=str(shop.out), cache_dir=str(tmp_path / "cache"), split="train"
    )
    done = {item.request["prompt"]: item for item in records.items() if item.state == "done"}
    assert sorted(table["text"]) == sorted(done)
    assert "label" not in table.column_names
    for row in table:
        assert row["image"].size == (done[row["text"]].width, done[row["text"]].height)
        assert (row["id"], row["seed"]) == (done[row["text"]].id, done[row["text"]].seed)
