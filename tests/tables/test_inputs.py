"""Tables that real programs wrote are read, or said to be what they are: `make tables`."""

from __future__ import annotations

import io
import math
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image as pillow

from stepfun_async import Batch, ConfigurationError
from stepfun_async.batch import Checked, InputWarning

from ..batch.test_tables import jobs

np = pytest.importorskip("numpy")
pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
duckdb = pytest.importorskip("duckdb")
arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
datasets = pytest.importorskip("datasets")

PROMPTS = ["A lake", "A fox", "雪中的红狐"]


def check(inputs: object) -> Checked:
    return Batch(inputs, out="", base_url="embedded").check_sync()  # type: ignore[arg-type]  # tables of any program


def requests(inputs: object) -> list[dict[str, Any]]:
    """What would be sent for each line, all of which have to be good."""
    checked = check(inputs)
    assert checked.bad == 0, checked.bad_lines
    return [{"id": job.id, **job.described} for job in anyio.run(jobs, inputs)]


def frame() -> Any:
    """Whole numbers with gaps, as pandas has them after a join."""
    return pandas.DataFrame(
        {
            "id": [1.0, 2.0, 3.0],
            "prompt": PROMPTS,
            "seed": [1.0, np.nan, 3.0],
            "cfg_scale": [np.nan, 2.5, np.nan],
            "text_mode": pandas.array([True, None, False], dtype="boolean"),
            "steps": pandas.array([8, None, 9], dtype="Int64"),
        }
    )


def _written(method: str, name: str, **options: Any) -> Callable[[Any, Path], object]:
    def write(table: Any, folder: Path) -> object:
        getattr(table, method)(folder / name, **options)
        return folder / name

    return write


PANDAS: dict[str, Callable[[Any, Path], object]] = {
    "the frame": lambda table, folder: table,
    "records": lambda table, folder: table.to_dict("records"),
    "csv": _written("to_csv", "a.csv", index=False),
    "csv with NA": _written("to_csv", "a.csv", index=False, na_rep="NA"),
    "csv.gz": _written("to_csv", "a.csv.gz", index=False),
    "tsv": _written("to_csv", "a.tsv", index=False, sep="\t"),
    "german csv": _written("to_csv", "a.csv", index=False, sep=";"),
    "parquet": _written("to_parquet", "a.parquet"),
    "lines": _written("to_json", "a.jsonl", orient="records", lines=True),
    "array": _written("to_json", "a.json", orient="records"),
    "lines.gz": _written("to_json", "a.jsonl.gz", orient="records", lines=True),
    "polars": lambda table, folder: polars.from_pandas(table),
    "polars parquet": lambda table, folder: _written("write_parquet", "a.parquet")(polars.from_pandas(table), folder),
    "polars lines": lambda table, folder: _written("write_ndjson", "a.ndjson")(polars.from_pandas(table), folder),
    "polars array": lambda table, folder: _written("write_json", "a.json")(polars.from_pandas(table), folder),
    "polars csv": lambda table, folder: _written("write_csv", "a.csv")(polars.from_pandas(table), folder),
    "arrow": lambda table, folder: arrow.Table.from_pandas(table),
    "datasets": lambda table, folder: datasets.Dataset.from_pandas(table),
    "datasets parquet": lambda table, folder: _written("to_parquet", "a.parquet")(
        datasets.Dataset.from_pandas(table), folder
    ),
    "datasets json": lambda table, folder: _written("to_json", "a.json")(datasets.Dataset.from_pandas(table), folder),
    "datasets csv": lambda table, folder: _written("to_csv", "a.csv")(datasets.Dataset.from_pandas(table), folder),
}


@pytest.mark.parametrize("way", PANDAS)
def test_a_frame_with_gaps_is_the_same_by_every_way(tmp_path: Path, way: str) -> None:
    lake, fox, snow = requests(PANDAS[way](frame(), tmp_path))
    assert lake == {**lake, "id": "1", "prompt": "A lake", "seed": 1, "steps": 8, "text_mode": True}
    assert fox == {**fox, "id": "2", "prompt": "A fox", "cfg_scale": 2.5}
    assert snow == {**snow, "id": "3", "prompt": "雪中的红狐", "seed": 3, "steps": 9, "text_mode": False}
    assert not {"seed", "steps", "text_mode"} & fox.keys()
    assert "cfg_scale" not in lake
    assert type(lake["seed"]) is int


@pytest.mark.parametrize("way", ["parquet", "the frame", "arrow", "datasets", "datasets parquet", "datasets json"])
def test_an_index_that_pandas_writes_along_is_passed_over(tmp_path: Path, way: str) -> None:
    shuffled = frame().sample(frac=1, random_state=1)
    assert [row["id"] for row in requests(PANDAS[way](shuffled, tmp_path))] == [
        f"{number:.0f}" for number in shuffled["id"]
    ]


def test_the_index_in_csv_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "a.csv")
    with pytest.warns(InputWarning, match="index of pandas"):
        assert [row["prompt"] for row in requests(tmp_path / "a.csv")] == PROMPTS
    pandas.read_csv(tmp_path / "a.csv").to_parquet(tmp_path / "a.parquet")  # with a column "Unnamed: 0"
    assert [row["prompt"] for row in requests(tmp_path / "a.parquet")] == PROMPTS


def test_scalars_of_numpy_are_values() -> None:
    row = {
        "id": np.int64(3),
        "prompt": np.str_("A lake"),
        "seed": np.uint8(5),
        "cfg_scale": np.float32(1.1),
        "text_mode": np.True_,
        "steps": pandas.NA,
        "size": {"width": np.int32(1360), "height": np.float64(768)},
    }
    (request,) = requests([row])
    assert request == {
        **request,
        "id": "3",
        "prompt": "A lake",
        "seed": 5,
        "cfg_scale": 1.1,
        "text_mode": True,
        "size": {"width": 1360, "height": 768},
    }
    assert "steps" not in request
    assert "np." not in repr(request)


@pytest.mark.parametrize("kind", ["halffloat", "float32", "float64"])
def test_floats_of_any_width_are_the_number_they_print_as(tmp_path: Path, kind: str) -> None:
    column = arrow.array(np.array([1.1, 2.5], dtype=kind.replace("halffloat", "float16")))
    parquet.write_table(arrow.table({"prompt": PROMPTS[:2], "cfg_scale": column}), tmp_path / "a.parquet")
    assert [row["cfg_scale"] for row in requests(tmp_path / "a.parquet")] == [1.1, 2.5]


@pytest.mark.parametrize("ending", ["parquet", "csv", "json", "tsv"])
def test_duckdb(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    options = {"tsv": "(DELIMITER '\t', HEADER)", "csv": "(HEADER)"}.get(ending, "")
    duckdb.sql(
        f"""COPY (SELECT uuid() AS id, 'A lake' AS prompt, 2.5 AS cfg_scale, sum(i) AS seed, true AS text_mode
        FROM range(4) r(i)) TO '{path}' {options}"""
    )
    (request,) = requests(path)
    assert str(uuid.UUID(request["id"])) == request["id"]
    assert (request["seed"], request["cfg_scale"], request["text_mode"]) == (6, 2.5, True)


def test_duckdb_in_memory() -> None:
    relation = duckdb.sql("SELECT 'A lake' AS prompt, 7::HUGEINT AS seed, {'width': 1360, 'height': 768} AS size")
    with pytest.raises(ConfigurationError, match=r"to_arrow_table\(\)"):
        check(relation)
    (request,) = requests(relation.to_arrow_table())
    assert (request["seed"], request["size"]) == (7, {"width": 1360, "height": 768})


def test_polars_of_other_types(tmp_path: Path) -> None:
    table = polars.DataFrame(
        {"prompt": PROMPTS, "seed": [1, None, 3], "cfg_scale": [math.nan, 2.5, None]},
        schema_overrides={"prompt": polars.Enum(PROMPTS), "cfg_scale": polars.Float32},
    ).with_columns(size=polars.struct(width=polars.lit(1360), height=polars.lit(768)))
    table.write_parquet(tmp_path / "a.parquet")
    assert requests(table) == requests(tmp_path / "a.parquet")
    with pytest.raises(ConfigurationError, match="collect"):
        check(table.lazy())
    assert [row["prompt"] for row in requests(table["prompt"])] == PROMPTS


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    pillow.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_images_of_hugging_face_are_read_by_every_way(tmp_path: Path) -> None:
    rows = {
        "prompt": PROMPTS[:2],
        "image": [{"bytes": png("red"), "path": "a.png"}, {"bytes": png("teal"), "path": None}],
    }
    features = datasets.Features({"prompt": datasets.Value("string"), "image": datasets.Image()})
    table = datasets.Dataset.from_dict(rows, features=features)
    table.to_parquet(tmp_path / "a.parquet")
    by_bytes = requests(tmp_path / "a.parquet")
    assert [row["operation"] for row in by_bytes] == ["edit", "edit"]
    assert by_bytes == requests(table.cast_column("image", datasets.Image(decode=False)))
    for way in (table, table.to_iterable_dataset()):
        assert all(set(row["image"]) == {"sha256", "bytes"} for row in requests(way))
        assert requests(way) == requests(way)
    with pytest.raises(ConfigurationError, match='splits\\["train"\\]'):
        check(datasets.DatasetDict(train=table))


def test_series_and_arrays_of_prompts() -> None:
    for texts in (pandas.Series(PROMPTS), np.array(PROMPTS), polars.Series(PROMPTS), frame()["prompt"]):
        assert [row["prompt"] for row in requests(texts)] == PROMPTS


def test_excel_and_windows(tmp_path: Path) -> None:
    table = frame().drop(columns=["text_mode"])
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        table.to_csv(tmp_path / "a.csv", index=False, encoding=encoding)
        with pytest.raises(ConfigurationError, match="UTF-8"):
            check(tmp_path / "a.csv")
    table.rename(columns={"seed": "größe"}).to_csv(tmp_path / "a.csv", index=False, encoding="gbk", errors="replace")
    table.rename(columns={"prompt": "Prompt", "cfg_scale": "CFG Scale"}).to_csv(
        tmp_path / "b.csv", index=False, sep=";", encoding="utf-8-sig"
    )
    assert [row["prompt"] for row in requests(tmp_path / "b.csv")] == PROMPTS


def test_decimals_dates_and_sizes_are_written_or_read() -> None:
    table = pandas.DataFrame(
        {"prompt": ["A lake"], "cfg_scale": [Decimal("2.50")], "width": [1360.0], "height": [768.0]}
    )
    (request,) = requests(table)
    assert (request["cfg_scale"], request["size"]) == (2.5, {"width": 1360, "height": 768})
    checked = check(table.assign(id=pandas.Timestamp("2026-01-01")))
    assert "id" in str(checked.bad_lines[0])
