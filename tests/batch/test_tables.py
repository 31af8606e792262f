"""Tables as programs write them: each kind of value in every format, and files that are not what they seem."""

from __future__ import annotations

import base64
import bz2
import csv
import gzip
import io
import json
import lzma
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from PIL import Image as pillow

from stepfun_async import ConfigurationError, ImageEdit, Size, TextToImage
from stepfun_async.batch import Batch, InputWarning, Records
from stepfun_async.batch.inputs.jobs import Job, JobDefaults, parse_job
from stepfun_async.batch.inputs.sources import source_of

from ..core.test_scalars import NAType, Scalar
from .shop import Shop

pytestmark = pytest.mark.anyio

Rows = list[dict[str, Any]]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "out")


async def jobs(inputs: object) -> list[Job]:
    with closing(source_of(inputs)) as source:
        terms = JobDefaults({}, source.folder)
        found: list[Job] = []
        while lines := await source.take(7):
            found += [parse_job(line.number, line.read(), terms, line.digest) for line in lines]
        return found


def said(job: Job) -> str:
    return " ".join(map(str, job.problems))


# --- formats ------------------------------------------------------------------------------------


def _columns(rows: Rows) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def jsonl(folder: Path, rows: Rows) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def json_array(folder: Path, rows: Rows) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps(rows, indent=1))
    return path


def gzipped(folder: Path, rows: Rows) -> Path:
    path = folder / "a.jsonl.gz"
    path.write_bytes(gzip.compress(jsonl(folder, rows).read_bytes()))
    return path


def separated(folder: Path, rows: Rows, delimiter: str = ",", name: str = "a.csv") -> Path:
    path = folder / name
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, _columns(rows), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def tabs(folder: Path, rows: Rows) -> Path:
    return separated(folder, rows, "\t", "a.tsv")


def semicolons(folder: Path, rows: Rows) -> Path:
    return separated(folder, rows, ";")


def parquet(folder: Path, rows: Rows) -> Path:
    arrow = pytest.importorskip("pyarrow")
    path = folder / "a.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(rows), path)
    return path


def arrow(folder: Path, rows: Rows) -> object:
    table: object = pytest.importorskip("pyarrow").Table.from_pylist(rows)
    return table


def mappings(folder: Path, rows: Rows) -> Rows:
    return rows


class PandasLike:
    """A `DataFrame`, as far as it is used here."""

    def __init__(self, rows: Rows) -> None:
        self.columns = _columns(rows)
        self._rows = rows

    def itertuples(self, *, index: bool, name: None) -> Iterator[tuple[object, ...]]:
        return (tuple(row.get(column, math.nan) for column in self.columns) for row in self._rows)


class PolarsLike:
    """A `DataFrame` of polars, likewise."""

    def __init__(self, rows: Rows) -> None:
        self.columns = _columns(rows)
        self._rows = rows

    def iter_rows(self, *, named: bool) -> Iterator[dict[str, object]]:
        return (dict(row) for row in self._rows)


def pandas_like(folder: Path, rows: Rows) -> PandasLike:
    return PandasLike(rows)


def polars_like(folder: Path, rows: Rows) -> PolarsLike:
    return PolarsLike(rows)


TEXT = [separated, tabs, semicolons]
JSON = [jsonl, json_array, gzipped]
TYPED = [parquet, arrow, mappings, pandas_like, polars_like]
Write = Callable[[Path, Rows], object]


def everywhere(formats: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("write", formats, ids=lambda write: write.__name__)


# --- values, in every format --------------------------------------------------------------------


@everywhere([*TEXT, *JSON, *TYPED])
async def test_whole_floats_are_whole_numbers(tmp_path: Path, write: Write) -> None:
    row = {"id": 7.0, "prompt": "a lake", "seed": 1.0, "steps": 9.0, "width": 1360.0, "height": 768.0}
    (job,) = await jobs(write(tmp_path, [row]))
    assert job.problems == ()
    assert job.request == TextToImage(prompt="a lake", seed=1, steps=9, size=Size(width=1360, height=768))
    assert job.id == "7"
    assert [(job.described[name], type(job.described[name])) for name in ("seed", "steps")] == [(1, int), (9, int)]
    assert job.described["size"] == {"width": 1360, "height": 768}


@everywhere([*TEXT, *JSON, *TYPED])
async def test_a_fraction_is_no_whole_number(tmp_path: Path, write: Write) -> None:
    (job,) = await jobs(write(tmp_path, [{"prompt": "a lake", "seed": 1.5}]))
    assert [problem.field for problem in job.problems] == ["seed"]


@everywhere([*TEXT, *JSON, *TYPED])
async def test_nan_and_null_are_not_given(tmp_path: Path, write: Write) -> None:
    lines = await jobs(
        write(
            tmp_path, [{"id": 1.0, "prompt": "a", "seed": math.nan, "cfg_scale": math.nan}, {"id": None, "prompt": "b"}]
        )
    )
    assert [job.request for job in lines] == [TextToImage(prompt="a"), TextToImage(prompt="b")]
    assert lines[1].id is None
    assert not {"seed", "cfg_scale"} & lines[0].described.keys()


@pytest.mark.parametrize("missing", ["NaN", "nan", "NA", "<NA>", "NULL", "null", "None", "N/A", "#N/A", "", " "])
@everywhere(TEXT)
async def test_cells_that_mean_no_value_are_not_given(tmp_path: Path, write: Write, missing: str) -> None:
    row = {"id": missing, "prompt": "a", "negative_prompt": missing, "seed": missing, "text_mode": missing}
    first, second = await jobs(write(tmp_path, [row, {"prompt": missing, "seed": 1}]))
    assert (first.request, first.id) == (TextToImage(prompt="a"), None)
    assert [problem.field for problem in second.problems] == ["prompt"]


@everywhere([parquet, arrow, mappings, pandas_like, polars_like])
async def test_decimals_and_uuids_are_what_they_look_like(tmp_path: Path, write: Write) -> None:
    row = {"id": UUID(int=7), "prompt": "a", "cfg_scale": Decimal("2.50"), "seed": Decimal("3.00")}
    if write in (parquet, arrow):
        row["id"] = str(row["id"])
    (job,) = await jobs(write(tmp_path, [row]))
    assert job.request == TextToImage(prompt="a", cfg_scale=2.5, seed=3)
    assert job.id == str(UUID(int=7))
    assert json.loads(json.dumps(job.described))["cfg_scale"] == 2.5


@everywhere([mappings, pandas_like, polars_like])
async def test_scalars_of_numpy_are_what_they_look_like(tmp_path: Path, write: Write) -> None:
    row = {
        "id": Scalar(3),
        "prompt": Scalar("a"),
        "seed": Scalar(5),
        "text_mode": Scalar(value=True),
        "cfg_scale": Scalar(1.100000023841858),
        "steps": NAType(),
    }
    (job,) = await jobs(write(tmp_path, [row]))
    assert job.request == TextToImage(prompt="a", seed=5, text_mode=True, cfg_scale=1.1)
    assert job.described == {**job.described, "prompt": "a", "seed": 5, "text_mode": True, "cfg_scale": 1.1}
    assert job.id == "3"


@pytest.mark.parametrize("layout", ["float16", "float32"])
@everywhere([parquet, arrow])
async def test_a_short_float_is_the_number_it_prints_as(tmp_path: Path, write: Write, layout: str) -> None:
    pa = pytest.importorskip("pyarrow")
    largest = {"float16": 65504.0, "float32": 3.4028235e38}[layout]
    numbers = [1.1, 2.5, 7.0, None, largest]
    column = pa.array(numbers, pa.float64()).cast(getattr(pa, layout)(), safe=False)
    table = pa.table({"prompt": ["a"] * 5, "cfg_scale": column})
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "b.parquet")
    found = await jobs(tmp_path / "b.parquet" if write is parquet else table)
    assert [job.described.get("cfg_scale") for job in found] == [1.1, 2.5, 7.0, None, pytest.approx(largest, rel=1e-3)]


@pytest.mark.parametrize("name", ["__index_level_0__", "Unnamed: 0"])
@everywhere([*TEXT, *JSON, *TYPED])
@pytest.mark.filterwarnings("ignore::stepfun_async.batch.InputWarning")
async def test_an_index_of_pandas_is_passed_over(tmp_path: Path, write: Write, name: str) -> None:
    found = await jobs(write(tmp_path, [{name: 4, "prompt": "a"}, {name: 2, "prompt": "b"}]))
    assert [job.request for job in found] == [TextToImage(prompt="a"), TextToImage(prompt="b")]


@pytest.mark.parametrize("names", [("Prompt", "CFG Scale"), (" PROMPT", "cfg-scale"), ("prompt", "Cfg_Scale ")])
@everywhere([*TEXT, *JSON, *TYPED])
async def test_a_name_in_capitals_or_with_spaces_is_read(tmp_path: Path, write: Write, names: tuple[str, str]) -> None:
    (job,) = await jobs(write(tmp_path, [{names[0]: "a", names[1]: 2.5}]))
    assert job.request == TextToImage(prompt="a", cfg_scale=2.5)


@everywhere([*JSON, *TYPED])
async def test_two_spellings_of_one_name_are_in_doubt(tmp_path: Path, write: Write) -> None:
    (job,) = await jobs(write(tmp_path, [{"prompt": "a", "Prompt": "b"}]))
    assert [problem.field for problem in job.problems] == ["Prompt"]


@everywhere(TEXT)
async def test_two_spellings_of_one_name_are_refused_at_the_header(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ConfigurationError, match="'prompt' twice"):
        source_of(write(tmp_path, [{"prompt": "a", "Prompt": "b"}]))


def png(colour: str = "teal") -> bytes:
    buffer = io.BytesIO()
    pillow.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


@everywhere(TYPED)
async def test_the_images_of_hugging_face_are_read(tmp_path: Path, write: Write) -> None:
    (tmp_path / "b.png").write_bytes(png("red"))
    rows: Rows = [
        {"prompt": "a", "image": {"bytes": png(), "path": "nowhere.png"}},
        {"prompt": "b", "image": {"bytes": None, "path": str(tmp_path / "b.png")}},
        {"prompt": "c", "image": {"bytes": None, "path": None}},
        {"prompt": "d", "image": {"path": str(tmp_path / "b.png")}},
    ]
    first, second, third, fourth = await jobs(write(tmp_path, rows))
    assert first.fingerprint == ImageEdit(prompt="a", image=png()).fingerprint()
    assert second.fingerprint == ImageEdit(prompt="b", image=png("red")).fingerprint()
    assert third.request == TextToImage(prompt="c")
    assert fourth.fingerprint == ImageEdit(prompt="d", image=png("red")).fingerprint()
    assert first.described["image"] == {"sha256": first.described["image"]["sha256"], "bytes": len(png())}  # type: ignore[index]
    assert second.described["image"] == str(tmp_path / "b.png")


@everywhere(TYPED)
async def test_a_structure_of_nulls_is_not_given(tmp_path: Path, write: Write) -> None:
    rows: Rows = [
        {"prompt": "a", "size": {"width": 1360.0, "height": 768.0}},
        {"prompt": "b", "size": {"width": None, "height": None}},
    ]
    first, second = await jobs(write(tmp_path, rows))
    assert first.request == TextToImage(prompt="a", size=Size(width=1360, height=768))
    assert second.request == TextToImage(prompt="b")


OPENAI = {
    "custom_id": "fox-1",
    "method": "POST",
    "url": "/v1/images/generations",
    "body": {
        "model": "step-2x-large",
        "prompt": "a fox",
        "n": 1,
        "size": "512x512",
        "seed": 3,
        "response_format": None,
    },
}


@everywhere([*JSON, *TYPED])
async def test_lines_for_openais_batches_are_read(tmp_path: Path, write: Write) -> None:
    (job,) = await jobs(write(tmp_path, [OPENAI]))
    assert said(job) == ""
    assert job.request == TextToImage(model="step-2x-large", prompt="a fox", size="512x512", seed=3)
    assert job.id == "fox-1"


@pytest.mark.parametrize(
    ("url", "body", "operation"),
    [
        ("https://api.stepfun.ai/v1/images/generations", {}, "text_to_image"),
        ("/step_plan/v1/images/generations", {}, "text_to_image"),
        ("/v1/images/edits", {"image": png(), "n": 1}, "edit"),
        (None, {}, "text_to_image"),
        (None, {"image": png()}, "edit"),
        (
            "/v1/images/image2image",
            {"model": "step-2x-large", "source_url": "https://x.org/a.png", "source_weight": 0.5},
            "image_to_image",
        ),
    ],
)
def test_the_url_of_an_openai_line_names_the_operation(url: str, body: dict[str, Any], operation: str) -> None:
    line = {"custom_id": "1", "url": url, "body": {"model": "step-image-edit-2", "prompt": "a", **body}}
    job = parse_job(1, line, JobDefaults({}))
    assert said(job) == ""
    assert job.described["operation"] == operation


@pytest.mark.parametrize(("field", "value"), [("url", "/v1/chat/completions"), ("method", "GET"), ("url", 3)])
def test_an_openai_line_for_something_else_is_refused(field: str, value: object) -> None:
    job = parse_job(1, {**OPENAI, field: value}, JobDefaults({}))
    assert [problem.field for problem in job.problems] == ["url"]
    assert "POST /v1/images/edits" in said(job)


@pytest.mark.parametrize("prompt", ["a\0lake", "\0A\0 \0f\0o\0x"])
@everywhere([*TEXT, *JSON, *TYPED])
async def test_a_nul_in_a_prompt_is_a_problem(tmp_path: Path, write: Write, prompt: str) -> None:
    rows = [{"prompt": "a fox in the snow which is longer"}, {"prompt": prompt}]
    first, second = await jobs(write(tmp_path, rows))
    assert first.problems == ()
    assert "NUL" in said(second)


# --- prompts ------------------------------------------------------------------------------------


def _list(folder: Path, prompts: list[str]) -> object:
    return prompts


def _generator(folder: Path, prompts: list[str]) -> object:
    return (prompt for prompt in prompts)


def _txt(folder: Path, prompts: list[str]) -> object:
    path = folder / "a.txt"
    path.write_text("\n".join(prompts))
    return path


def _mac(folder: Path, prompts: list[str]) -> object:
    path = folder / "a.txt"
    path.write_bytes("\r".join(prompts).encode())
    return path


def _strings(folder: Path, prompts: list[str]) -> object:
    path = folder / "a.json"
    path.write_text(json.dumps(prompts))
    return path


def _string_lines(folder: Path, prompts: list[str]) -> object:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    return path


def _packed(ending: str, pack: Callable[[bytes], bytes]) -> Callable[[Path, list[str]], object]:
    def write(folder: Path, prompts: list[str]) -> object:
        path = folder / f"a.txt{ending}"
        path.write_bytes(pack("\n".join(prompts).encode()))
        return path

    return write


def _zstd(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("pyarrow").compress(data, codec="zstd", asbytes=True)
    return packed


@pytest.mark.parametrize(
    "write",
    [
        _list,
        _generator,
        _txt,
        _mac,
        _strings,
        _string_lines,
        _packed(".gz", gzip.compress),
        _packed(".bz2", bz2.compress),
        _packed(".xz", lzma.compress),
        _packed(".zst", _zstd),
    ],
)
async def test_texts_are_prompts(tmp_path: Path, write: Callable[[Path, list[str]], object]) -> None:
    prompts = ["A lake", "A fox, red", "雪中的红狐"]
    found = await jobs(write(tmp_path, prompts))
    assert [job.request for job in found] == [TextToImage(prompt=prompt) for prompt in prompts]
    assert [job.line for job in found] == [1, 2, 3]


async def test_a_folder_of_texts_has_a_prompt_in_each(tmp_path: Path) -> None:
    folder = tmp_path / "captions"
    folder.mkdir()
    (folder / "fox.txt").write_text("\ufeffA fox \n\n")
    (folder / "lake.TXT").write_text("A lake")
    (folder / "many.txt").write_text("A lake\nA fox\n")
    (folder / "zero.txt").write_text("")
    (folder / "fox.png").write_bytes(png())
    fox, lake, many, zero = await jobs(folder)
    assert [(job.id, job.request) for job in (fox, lake)] == [
        ("fox", TextToImage(prompt="A fox")),
        ("lake", TextToImage(prompt="A lake")),
    ]
    assert "many.txt has 2 lines" in said(many)
    assert "zero.txt has 0 lines" in said(zero)


# --- files that are not what they seem ----------------------------------------------------------

WINDOWS = "A lake\r\nA red fox\r\nA lighthouse\r\n"


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt.gz"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-16-be-mark"])
async def test_text_in_utf_16_or_32_is_refused_as_a_file(tmp_path: Path, name: str, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("-mark") else ""
    data = (mark + WINDOWS).encode(encoding.removesuffix("-mark"))
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(ConfigurationError, match=r"UTF-(16|32).*save it as UTF-8.*nothing was sent"):
        source_of(path)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\x03\x04rest", "ZIP"),
        (gzip.compress(b"A lake", mtime=0), r"\.gz"),
        (b"\x28\xb5\x2f\xfdrest", r"\.zst"),
        (b"PAR1rest", r"\.parquet"),
        (b"\xd0\xcf\x11\xe0rest", "Excel"),
        (b"\x89PNG\r\n\x1a\nrest", "an image"),
        (rb"{\rtf1\ansi" + b"\nA lake\n}", "rich text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html>\nNot found\n", "a web page"),
        (b"\xef\xbb\xbf<HTML>\nNot found\n", "a web page"),
    ],
)
async def test_a_file_of_another_format_is_refused_as_a_file(tmp_path: Path, name: str, data: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigurationError, match=what):
        source_of(tmp_path / name)


@pytest.mark.parametrize("end", ["\x1a", "\x1a\r\n", "\r\n\x1a", "\ufeff\n", "\ufeff\x1a"])
@pytest.mark.parametrize(
    ("name", "text"), [("a.txt", "A lake\n"), ("a.csv", "prompt\nA lake\n"), ("a.jsonl", '{"prompt": "A lake"}\n')]
)
async def test_the_marks_of_joined_files_make_no_line(tmp_path: Path, name: str, text: str, end: str) -> None:
    (tmp_path / name).write_bytes((text + end).encode())
    assert [job.request for job in await jobs(tmp_path / name)] == [TextToImage(prompt="A lake")]


@pytest.mark.parametrize("prompt", ["\u200b", "\u200b \ufeff", "\u2060"])
@pytest.mark.parametrize(("name", "head"), [("a.txt", ""), ("a.csv", "id,prompt\n1,")])
async def test_a_prompt_that_cannot_be_seen_is_none(tmp_path: Path, name: str, head: str, prompt: str) -> None:
    (tmp_path / name).write_text(f"{head}{prompt}\n", encoding="utf-8")
    (job,) = await jobs(tmp_path / name)
    assert [problem.field for problem in job.problems] == ["prompt"]


@pytest.mark.parametrize("header", ["prompt", "id,prompt", "Prompt,Seed"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
async def test_the_header_of_a_joined_table_is_no_prompt(tmp_path: Path, header: str, mark: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n{mark}{header}\n", encoding="utf-8")
    (job,) = await jobs(tmp_path / "a.csv")
    assert "it repeats the header" in str(job.problems)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("prompt\tseed\nA lake\t1\n", ".csv"),
        ("Prompt;Seed\nA lake;1\n", ".csv"),
        ("prompt\nA lake\n", ".csv"),
        ('{"prompt": "A lake"}\n', ".jsonl"),
        ('[\n"A lake"\n]\n', ".json"),
        ('["A lake", "A fox"]\n', ".json"),
    ],
)
async def test_a_table_that_is_called_txt_is_not_taken_for_prompts(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ConfigurationError, match=f"begin like a {what} file"):
        source_of(tmp_path / "a.txt")


@pytest.mark.parametrize("text", ["[cat] in the snow", "{A|B} lake", "A prompt, a seed", '"A lake"', "size; matters"])
async def test_prompts_may_begin_as_they_like(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert [job.request for job in await jobs(tmp_path / "a.txt")] == [TextToImage(prompt=text)]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{\n  "prompt": "A lake"\n}\n', "one object per line"),
        ('{"prompt": {"0": "A lake"}, "seed": {"0": 1}}', 'orient="records"'),
    ],
)
async def test_json_of_another_shape_is_refused_as_a_file(tmp_path: Path, name: str, text: str, what: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=what):
        source_of(tmp_path / name)


async def test_an_array_and_lines_of_json_are_known_by_their_beginning(tmp_path: Path) -> None:
    for name, text in [
        ("a.jsonl", '[\n {"prompt": "A lake"},\n {"prompt": "A fox"}\n]'),
        ("b.jsonl", '[{"prompt": "A lake"}, {"prompt": "A fox"}]\n'),
        ("c.json", '{"prompt": "A lake"}\n{"prompt": "A fox"}\n'),
        ("d.json", '\ufeff[{"prompt": "A lake"}, "A fox"]'),
    ]:
        (tmp_path / name).write_text(text)
        found = await jobs(tmp_path / name)
        assert [job.request for job in found] == [TextToImage(prompt="A lake"), TextToImage(prompt="A fox")], name


async def test_an_array_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"prompt": "A lake"}, {"prompt": "a", "prompt": "b"}, {"prompt": "A fox"} {}]')
    lake, twice, broken = await jobs(tmp_path / "a.json")
    assert lake.request == TextToImage(prompt="A lake")
    assert "'prompt' is there twice" in said(twice)
    assert "nothing after it is read" in said(broken)


@pytest.mark.parametrize(
    ("inputs", "advice"),
    [
        ("s3://bucket/a.jsonl", "'s3://bucket/a.jsonl' are not on this machine: download"),
        (Path("s3://bucket/a.jsonl"), "'s3://bucket/a.jsonl' are not on this machine: download"),
        ("file:///tmp/a.csv", "give the path, '/tmp/a.csv'"),
        ("", "not ''"),
        ("https://example.com/a.csv", "'https://example.com/a.csv' are not on this machine"),
        ("hf://datasets/a/b.parquet", "not on this machine"),
        ("prompts/*.jsonl", "cannot be read: No such file"),
        ("prompts/*", "patterns are not supported"),
        ("a.xlsx", "CSV UTF-8"),
        ("A lake at sunset", r"to pass a prompt, put it into a list: \['A lake at sunset'\]"),
        ("a.parquet.gz", "none of the extensions"),
    ],
)
async def test_inputs_that_are_none_say_what_to_do(inputs: object, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        source_of(inputs)


@pytest.mark.parametrize("mode", ["r", "rb"])
async def test_an_open_file_is_not_taken_for_its_lines(tmp_path: Path, mode: str) -> None:
    """Each line of a table would be a prompt, and paid for."""
    (tmp_path / "a.csv").write_text("prompt,seed\nA lake,1\n")
    with (tmp_path / "a.csv").open(mode) as file:
        for inputs in (file, io.StringIO("prompt\nA lake\n"), anyio.wrap_file(file)):
            with pytest.raises(ConfigurationError, match="give its path"):
                source_of(inputs)


class LazyFrame:
    """As polars has it."""

    columns = ("prompt",)


class DatasetDict(dict[str, object]):
    """As `datasets` has it."""


@pytest.mark.parametrize(
    ("inputs", "advice"), [(LazyFrame(), "collect"), (DatasetDict(train=[]), 'splits\\["train"\\]')]
)
async def test_a_table_that_is_to_be_asked_otherwise_says_how(inputs: object, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        source_of(inputs)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt.gz", "a.parquet"])
async def test_an_empty_file_warns(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"") if name.endswith(".gz") else b"")
    if name.endswith(".parquet"):
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.table({"prompt": pa.array([], pa.string())}), path)
    with pytest.warns(InputWarning, match="have no lines"):
        assert await jobs(path) == []


async def test_a_compressed_file_that_is_cut_off_ends_the_run_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"A lake\n" * 5_000)[:-20])
    with pytest.raises(ConfigurationError, match=r"a\.txt\.gz' cannot be read: Compressed file ended"):
        await jobs(path)


# --- CSV ----------------------------------------------------------------------------------------


def written(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


async def prompts_of(path: Path) -> list[str | None]:
    """What would be paid for."""
    return [job.request.prompt for job in await jobs(path) if job.request]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "prompt;seed\nA lake, wide;1\n"),
        ("a.csv", "sep=;\nprompt;seed\nA lake, wide;1\n"),
        ("a.csv", "sep=\t\nprompt\tseed\nA lake, wide\t1\n"),
        ("a.csv", '"sep=|"\r\nprompt|seed\r\nA lake, wide|1\r\n'),
        ("a.csv", "\ufeffprompt\tseed\rA lake, wide\t1\r"),
        ("a.tsv", 'prompt,seed\n"A lake, wide",1\n'),
        ("a.csv", 'prompt, seed\n "A lake, wide" , 1\n'.replace('" ,', '",')),
        ("a.csv", 'prompt,seed,,\n"  A lake, wide ",1,,\n,,,\n'),
        ("a.csv", '\n\nprompt,seed\n"A lake, wide",1,,,\n'),
    ],
)
async def test_a_table_is_read_however_its_program_separates_it(tmp_path: Path, name: str, text: str) -> None:
    (job,) = await jobs(written(tmp_path, text, name))
    assert said(job) == ""
    assert job.request == TextToImage(prompt="A lake, wide", seed=1)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("prompt,备注\nA red fox,1\n".encode("gbk"), "header.*not in UTF-8"),
        (b"prompt,gr\xf6\xdfe\nA red fox,1\n", "header.*not in UTF-8"),
        (b"promt,seed\nA red fox,1\n", "'promt' .did you mean 'prompt'"),
        (b"prompt,seeds\nA red fox,1\n", "'seeds' .did you mean 'seed'"),
        (b"prompt;cfg_scale,seed\nA red fox;1,1\n", "'prompt;cfg_scale' .separated by ';'"),
        (b"A red fox\nA lake\n", "names no field, but 'A red fox'"),
        (b'prompt","seed\nA lake,1\n', "header"),
    ],
)
async def test_what_is_wrong_with_a_header_is_said_once(tmp_path: Path, text: bytes, what: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s){what}.*nothing was sent"):
        source_of(written(tmp_path, text))


async def test_an_index_that_pandas_wrote_without_a_name_is_passed_over_and_said_once(tmp_path: Path) -> None:
    path = written(tmp_path, ",prompt\n0,A lake\n1,A fox\n")
    with pytest.warns(InputWarning, match=r"first column of .* has no name") as warned:
        assert await prompts_of(path) == ["A lake", "A fox"]
    assert len(warned) == 1


async def test_a_cell_under_no_name_is_a_problem_of_its_line(tmp_path: Path) -> None:
    lake, fox = await jobs(written(tmp_path, "prompt,,seed\nA lake,,1\nA fox,red,2\n"))
    assert lake.request == TextToImage(prompt="A lake", seed=1)
    assert "column 2 has no name" in said(fox)


async def test_a_decimal_comma_is_understood_and_left_to_the_user(tmp_path: Path) -> None:
    (job,) = await jobs(written(tmp_path, "prompt;cfg_scale\nA lake;2,5\n"))
    assert [(problem.field, problem.nearest) for problem in job.problems] == [("cfg_scale", 2.5)]


async def test_a_cell_may_be_as_long_as_a_line_of_json(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = "A lake\n" * 30_000
    found = await jobs(written(tmp_path, f'prompt,seed\n"{long}",1\nA fox,2\n'))
    assert [job.line for job in found] == [2, 30_003]
    assert "210,000 characters" not in said(found[1])
    assert [problem.field for problem in found[0].problems] == ["prompt"]
    assert found[1].request == TextToImage(prompt="A fox", seed=2)
    assert csv.field_size_limit() == before


async def test_a_row_that_is_too_long_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepfun_async.batch.inputs.csv_rows.LONGEST_LINE", 100)
    for long in ("A lake\n" * 30, "A lake" * 30):
        path = written(tmp_path, f'prompt,seed\nA cat,0\n"{long}",1\nA fox,2\n')
        cat, broken = await jobs(path)
        assert cat.request is not None
        assert "longer than 100 characters" in said(broken)


BROKEN_QUOTES = [
    ('prompt,seed\n"A lake,1\nA fox,2\nA dog,3\n', []),
    ('prompt,seed\nA cow,0\n"A lake,1\nA fox,2\n"A dog",3\nA cat,4\n', ["A cow"]),
    ('prompt,seed\n"A lake,1\nA fox,2\nA pipe of 5",3\nA cat,4\n', ["A cat"]),
    ('id,prompt\n1,"A lake\n2,A fox\n3,A pipe of 5"\n4,A cat\n', ["A cat"]),
    ('id,prompt\nlake-1,"A lake\nlake-2,A fox\nlake-12,A pipe of 5"\nlake-13,A cat\n', ["A cat"]),
    ('size,prompt\n16:9,"A lake\n1:1,A fox\n16:9,A pipe of 5"\n4:3,A cat\n', ["A cat"]),
    ('prompt;seed\n"A lake;1\nA pipe of 5";3\nA cat;4\n', ["A cat"]),
    ('prompt,seed\n"A "nice\nlake", with "trees",1\nA cat,4\n', ["A cat"]),
    ('prompt,seed\n"A lake" at night,1\nA fox,2\n', ["A fox"]),
    ('prompt,seed\n"He said "hi\nand left","x\nA fox,2\nA dog",3\nA cat,4\n', ["A cat"]),
    ('prompt\n"A lake\nA fox\nA dog\n', []),
    ('prompt,seed\n"A lake"x,1\nA pipe of 5",2\nA fox,3\n', ["A fox"]),
]


@pytest.mark.parametrize(("text", "good"), BROKEN_QUOTES)
async def test_a_stray_quote_makes_no_prompt_of_what_follows(tmp_path: Path, text: str, good: list[str]) -> None:
    found = await jobs(written(tmp_path, text))
    assert [job.request.prompt for job in found if job.request] == good
    broken = next(job for job in found if job.problems)
    assert text.splitlines()[broken.line - 1][:20] in str(broken.problems[0].given)


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ('prompt,seed\n"A lake,\nwide",1\n', ["A lake,\nwide"]),
        ('prompt,seed\n"A lake, wide\nand blue, too",1\n', ["A lake, wide\nand blue, too"]),
        ('id,prompt\n1,"A lake\nblue, deep"\n', ["A lake\nblue, deep"]),
        ('prompt,seed\n"A portrait, 50mm\nat dusk",3\n', ["A portrait, 50mm\nat dusk"]),
        ('id,prompt\nx,"1girl\nsolo, smile"\n', ["1girl\nsolo, smile"]),
        ('prompt,seed\n"A ""nice"" lake",1\nA pipe of 5",2\n', ['A "nice" lake', 'A pipe of 5"']),
        ('prompt\n"A lake\nA fox"\n', ["A lake\nA fox"]),
    ],
)
async def test_quotes_as_csv_has_them_are_read(tmp_path: Path, text: str, prompts: list[str]) -> None:
    assert await prompts_of(written(tmp_path, text)) == prompts


# --- Parquet ------------------------------------------------------------------------------------


async def test_text_in_parquet_that_is_no_utf_8_is_a_problem_of_its_row(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    buffers = pa.array([b"A lake", b"\xff\xfe", None], pa.binary()).buffers()
    column = pa.Array.from_buffers(pa.string(), 3, buffers)
    pytest.importorskip("pyarrow.parquet").write_table(pa.table({"prompt": column}), tmp_path / "a.parquet")
    lake, odd, none = await jobs(tmp_path / "a.parquet")
    assert lake.request == TextToImage(prompt="A lake")
    assert [job.problems[0].field for job in (odd, none)] == ["prompt", "prompt"]


async def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"])
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "a.parquet")
    for inputs in (tmp_path / "a.parquet", table):
        with pytest.raises(ConfigurationError, match="'prompt' twice"):
            source_of(inputs)


# --- what is kept of it -------------------------------------------------------------------------


class Odd:
    """A value of somebody's own, which prints its address."""


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("image", lambda: pillow.new("RGB", (64, 64), "red")),
        ("image", lambda: io.BytesIO(png())),
        ("image", lambda: bytearray(png())),
        ("image", lambda: f"data:image/png;base64,{base64.b64encode(png()).decode()}"),
        ("image", Odd),
        ("prompt", Odd),
        ("seed", lambda: [Odd()]),
        ("seed", lambda: math.inf),
        ("cfg_scale", lambda: Decimal("Infinity")),
        ("extra_body", lambda: {"a": {Odd()}}),
        ("operation", Odd),
        ("model", Odd),
        ("size", lambda: "a\ud800"),
    ],
)
async def test_the_record_holds_values_and_no_addresses(shop: Shop, name: str, make: Callable[[], object]) -> None:
    await shop.batch([{"prompt": "a", name: make()}]).run()
    (item,) = Records(shop.out).items()
    text = json.dumps([item.request, item.message], allow_nan=False).encode().decode()
    assert " at 0x" not in text
    if name == "image" and make is not Odd:
        assert item.state == "done"
        assert set(item.request["image"]) == {"sha256", "bytes"}


async def test_the_same_image_has_the_same_record_each_time(shop: Shop) -> None:
    def rows() -> Rows:
        return [{"prompt": "a", "image": pillow.open(io.BytesIO(png("red")))}]

    await shop.batch(rows()).run()
    (first,) = Records(shop.out).items()
    again = await shop.batch(rows()).run()
    (second,) = Records(shop.out).items()
    assert first.request == second.request
    assert (again.skipped, shop.pictures) == (1, 1)


@pytest.mark.parametrize("name", ["\ud800", "a\0", "", "é" * 300, "model_fields", "self", "__class__", "copy", "_memo"])
@everywhere([*JSON, mappings, pandas_like])
async def test_any_name_of_a_field_is_a_problem_and_no_crash(tmp_path: Path, write: Write, name: str) -> None:
    rows: Rows = [{"prompt": "A lake"}, {"prompt": "A fox", name: 1}]
    found = await jobs(write(tmp_path, rows))
    assert found[1].problems
    assert all(str(problem).encode() for problem in found[1].problems)


async def test_nothing_of_a_file_in_utf_16_is_paid_for(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(WINDOWS.encode("utf-16"))
    with pytest.raises(ConfigurationError, match="UTF-16"):
        await shop.batch(path).run()
    assert shop.pictures == 0


async def test_a_batch_takes_texts_and_tables(shop: Shop) -> None:
    assert (await Batch(["A lake"], out=shop.out).check()).bad == 0
    await shop.batch(PandasLike([{"prompt": "A lake", "seed": 1.0}, {"prompt": "A fox"}])).run()
    assert [item.request.get("seed") for item in Records(shop.out).items()] == [1, None]
    again = await shop.batch(PandasLike([{"prompt": "A lake", "seed": 1.0}, {"prompt": "A fox"}])).run()
    assert (again.done, again.skipped) == (0, 2)
