"""The manifest in Parquet: typed, whole, and written as its rows come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stepfun_async import Budget, ConfigurationError
from stepfun_async._core.money import Money
from stepfun_async.batch import Item, Records
from stepfun_async.batch.report import manifest

from ...support.object_store import ObjectStore
from ..shop import Shop, prompts
from ..storage.test_bucket import ABOVE, URL

pytestmark = pytest.mark.anyio

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "out")


def rows_of(path: str | Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def write_parquet(items: Iterable[Item], path: Path) -> None:
    with path.open("wb") as file:
        manifest.write_parquet(items, file)


def item(line: int, **more: Any) -> Item:
    request = {"operation": "text_to_image", "model": "m", "prompt": f"lake {line}"}
    return Item(**{"id": f"i{line}", "line": line, "state": "done", "request": request, **more})


async def test_every_line_is_a_row_with_what_the_journal_has(shop: Shop) -> None:
    shop.fail("451")
    lines = [{"prompt": "雪中的红狐", "seed": 2**31 - 1}, *prompts(3), {"promt": "a"}]
    await shop.batch(lines, budget=Budget("1")).run()
    items = list(Records(shop.out).items())
    rows = rows_of(Records(shop.out).write_manifest(shop.out / "manifest.PARQUET"))
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
    plain = ("id", "state", "path", "sha256", "bytes", "width", "seed", "error", "attempts", "billed", "elapsed")
    for row, known in zip(rows, items, strict=True):
        assert {name: row[name] for name in plain} == {name: getattr(known, name) for name in plain}
        assert json.loads(row["request"]) == known.request
    assert (rows[0]["prompt"], rows[0]["model"]) == ("雪中的红狐", "step-image-edit-2")
    assert (rows[0]["price"], rows[0]["currency"]) == (Decimal("0.003"), "USD")
    assert rows[4]["price"] is None
    assert abs(rows[0]["started"] - datetime.fromtimestamp(items[0].started or 0, UTC)) <= timedelta(microseconds=1)
    assert [path.name for path in shop.out.glob(".*")] == []


def test_the_columns_have_types_that_others_understand(tmp_path: Path) -> None:
    write_parquet([], tmp_path / "a.parquet")
    types = {field.name: str(field.type) for field in parquet.read_schema(tmp_path / "a.parquet")}
    assert types["price"] == "decimal128(38, 18)"
    assert types["started"] == types["ended"] == "timestamp[us, tz=UTC]"
    assert (types["seed"], types["width"], types["elapsed"]) == ("int64", "int32", "double")
    missing = set(Item.__dataclass_fields__) - set(types)
    assert missing == set()


def test_rows_are_written_in_groups_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_ROWS_IN_GROUP", 4)
    path, sizes = tmp_path / "a.parquet", list[int]()

    def items() -> Iterator[Item]:
        for line in range(1, 11):
            sizes.append(path.stat().st_size)
            yield item(line, request={"prompt": os.urandom(50_000).hex()})  # more than any buffer has

    write_parquet(items(), path)
    file = parquet.ParquetFile(path)
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [4, 4, 2]
    assert sizes[0] < sizes[4] < sizes[8]  # the first groups were on the disk before the last rows were asked for
    assert [row["id"] for row in rows_of(path)] == [f"i{line}" for line in range(1, 11)]


@pytest.mark.parametrize(
    ("amount", "written"),
    [("0.003", "0.003"), ("12345678901234567890", "12345678901234567890"), ("1E-20", "0"), ("1E+3", "1000")],
)
def test_sums_of_money_are_exact(tmp_path: Path, amount: str, written: str) -> None:
    write_parquet([item(1, price=Money(Decimal(amount), "USD"))], tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet")[0]["price"] == Decimal(written)


def test_half_of_a_character_is_written_in_words(tmp_path: Path) -> None:
    write_parquet([item(1, request={"prompt": "a\ud800"})], tmp_path / "a.parquet")
    row = rows_of(tmp_path / "a.parquet")[0]
    assert row["prompt"] == "a\\ud800"


async def test_it_goes_to_a_bucket_too(shop: Shop, bucket: ObjectStore, tmp_path: Path) -> None:
    await shop.batch(prompts(3), pictures=URL).run()
    Records(shop.out).write_manifest(f"{URL}/manifest.parquet")
    (tmp_path / "a.parquet").write_bytes(bucket.get(f"{ABOVE}manifest.parquet"))
    assert len(rows_of(tmp_path / "a.parquet")) == 3


async def test_the_extra_is_asked_for_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.batch(prompts(1)).run()
    monkeypatch.setattr(manifest, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "stepfun-async\[parquet\]"'):
        Records(shop.out).write_manifest(shop.out / "manifest.parquet")
    assert list(shop.out.glob("*manifest*")) == []


async def test_a_pipe_is_not_replaced(shop: Shop) -> None:
    await shop.batch(prompts(1)).run()
    os.mkfifo(pipe := shop.out / "pipe")
    for write in (Records(shop.out).write_manifest, Records(shop.out).write_report):
        with pytest.raises(ConfigurationError, match="cannot be written: it is no regular file"):
            write(pipe)
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["all.csv", "all.XLSX", "all.jsonl.gz"])
async def test_a_name_of_another_format_is_refused(shop: Shop, name: str) -> None:
    await shop.batch(prompts(1)).run()
    with pytest.raises(ConfigurationError, match=r"JSON Lines \(\.jsonl\) or Parquet \(\.parquet\), not"):
        Records(shop.out).write_manifest(shop.out / name)
    assert list(shop.out.glob("*all*")) == []


@pytest.mark.parametrize("name", ["all.jsonl", "all.ndjson", "all.json", "all"])
async def test_lines_of_json_have_one_of_these_names(shop: Shop, name: str) -> None:
    await shop.batch(prompts(2)).run()
    lines = Path(Records(shop.out).write_manifest(shop.out / name)).read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == [1, 2]


async def test_one_that_cannot_be_written_is_told_and_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    await shop.batch(prompts(1)).run()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Records(shop.out).write_manifest(tmp_path / "missing" / "manifest.parquet")


# --- lines of JSON ------------------------------------------------------------------------------


def lines_of(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a manifest, which have to be JSON in the strict sense."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found = [json.loads(line, parse_constant=refuse) for line in Path(path).read_text().splitlines()]
    assert json.dumps(found, ensure_ascii=False).encode()  # without half of a surrogate pair, escaped or not
    return found


def types_of(value: object) -> object:
    if isinstance(value, dict):
        return {name: types_of(part) for name, part in value.items()}
    return type(value)


ODD: list[dict[str, Any]] = [
    {"prompt": "a", "size": {"width": 1024, "height": 1024}},
    {"prompt": "a", "size": "1:1", "seed": float("nan")},
    {"prompt": "a", "size": "1:1", "seed": float("inf")},
    {"prompt": "half \ud800", "size": ["1:1"]},
    {"prompt": {"0": "a"}},
    {"prompt": "a", "size": "a\ud800"},
    {"\ud800": 1},
    {"id": "雪\u2028", "prompt": "雪中的红狐", "cfg_scale": Decimal("2.5")},
]


async def test_every_line_of_json_has_every_column_with_a_value_of_its_type(shop: Shop) -> None:
    shop.fail("451")
    await shop.batch([*prompts(3), *ODD]).run()
    lines = lines_of(Records(shop.out).write_manifest())
    assert len(lines) == 11
    assert {line["state"] for line in lines} == {"done", "failed"}
    assert all(types_of(line) == types_of(lines[0]) for line in lines)
    assert not any(value is None for line in lines for value in line.values())
    failed = next(line for line in lines if line["state"] == "failed")
    assert (failed["path"], failed["width"], failed["seed"]) == ("", 0, -1)
    assert failed["spent"] == {"USD": "0"}
    done = next(line for line in lines if line["state"] == "done")
    assert (done["error"], done["spent"]) == ("", {"USD": "0.003"})
    assert json.loads(done["request"])["prompt"] == done["prompt"]
    assert lines[-1]["prompt"] == "雪中的红狐"


async def test_the_request_in_parquet_is_strict_json(shop: Shop) -> None:
    await shop.batch(ODD).run()
    for row in rows_of(Records(shop.out).write_manifest(shop.out / "manifest.parquet")):
        assert "NaN" not in row["request"]
        assert json.dumps(json.loads(row["request"]), ensure_ascii=False).encode()


# --- for load_dataset("imagefolder") ------------------------------------------------------------


async def test_metadata_names_each_image_with_its_prompt(shop: Shop) -> None:
    shop.fail("451")
    await shop.batch([{"id": "fox", "prompt": "雪中的红狐"}, *prompts(3)]).run()
    done = [item for item in Records(shop.out).items() if item.state == "done"]
    target = Records(shop.out).write_manifest(imagefolder=True)
    assert target == str(shop.out.absolute() / "metadata.jsonl")
    lines = lines_of(target)
    assert [line["file_name"] for line in lines] == [item.path for item in done]
    assert [line["text"] for line in lines] == [item.request["prompt"] for item in done]
    assert all((shop.out / line["file_name"]).is_file() for line in lines)


async def test_metadata_above_the_images_names_their_folders(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.batch(prompts(2), pictures=tmp_path / "set" / "train").run()
    monkeypatch.chdir(tmp_path / "set")
    Records(shop.out).write_manifest("metadata.jsonl")
    lines = lines_of("metadata.jsonl")
    assert len(lines) == 2
    assert all(line["file_name"].startswith("train/") and Path(line["file_name"]).is_file() for line in lines)
    assert Records(shop.out).write_manifest(imagefolder=True) == str(tmp_path / "set" / "train" / "metadata.jsonl")


async def test_metadata_elsewhere_is_refused_since_it_would_name_nothing(shop: Shop, tmp_path: Path) -> None:
    await shop.batch(prompts(1)).run()
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ConfigurationError, match=r"finds only those below .* write .*out/metadata\.jsonl"):
        Records(shop.out).write_manifest(tmp_path / "elsewhere" / "metadata.jsonl")
    with pytest.raises(ConfigurationError, match=r"reads a file of the name metadata\.jsonl only"):
        Records(shop.out).write_manifest(shop.out / "captions.jsonl", imagefolder=True)


async def test_metadata_goes_into_the_bucket_of_the_images(shop: Shop, bucket: ObjectStore, tmp_path: Path) -> None:
    await shop.batch(prompts(2), pictures=URL).run()
    target = Records(shop.out).write_manifest(imagefolder=True)
    assert target == f"{URL}/metadata.jsonl"
    (tmp_path / "metadata.jsonl").write_bytes(bucket.get(f"{ABOVE}metadata.jsonl"))
    assert sorted(line["file_name"] for line in lines_of(tmp_path / "metadata.jsonl")) == sorted(
        str(item.path) for item in Records(shop.out).items()
    )
    with pytest.raises(ConfigurationError, match="finds only those below"):
        Records(shop.out).write_manifest(tmp_path / "metadata.jsonl")
