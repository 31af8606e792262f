"""Lines of files and iterables, with their numbers, as they are needed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from stepfun_async import ConfigurationError, TextToImage
from stepfun_async.batch.inputs.jobs import InvalidLine, TextFields
from stepfun_async.batch.inputs.lines import InputLine
from stepfun_async.batch.inputs.sources import source_of

pytestmark = pytest.mark.anyio


async def lines(inputs: object, most: int = 2) -> list[InputLine]:
    source = source_of(inputs)
    found: list[InputLine] = []
    while piece := await source.take(most):
        assert len(piece) <= most
        found += piece
    source.close()
    return found


async def values(inputs: object) -> list[tuple[int, object]]:
    return [(line.number, line.read()) for line in await lines(inputs)]


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


async def test_json_lines_keep_their_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"prompt": "湖"}\n\n   \r\n{"prompt": "b"}\r\n{"prompt": "c"}')
    assert await values(path) == [(1, {"prompt": "湖"}), (4, {"prompt": "b"}), (5, {"prompt": "c"})]
    assert await values(str(path)) == await values(path)


async def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.txt"):
        text = {"a.jsonl": '{"prompt": "a"}', "a.csv": "prompt\na", "a.txt": "a"}[name]
        assert [value for _, value in await values(written(tmp_path, name, b"\xef\xbb\xbf" + text.encode()))] == [
            {"prompt": "a"}
        ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"prompt": "a"', "delimiter"),
        (b'{"prompt": "\xff"}', "utf-8"),
        (b'["a"]', "list"),
        (b"3", "int"),
        (b'{"prompt": "a", "prompt": "b"}', "'prompt' is there twice"),
        (b'{"prompt": "a", "size": {"width": 1, "width": 2}}', "'width' is there twice"),
        (b"[" * 100_000, ""),
    ],
)
async def test_a_broken_line_is_named_and_the_next_one_read(tmp_path: Path, text: bytes, why: str) -> None:
    path = written(tmp_path, "a.jsonl", text + b'\n{"prompt": "b"}\n')
    (_, broken), second = await values(path)
    assert isinstance(broken, InvalidLine)
    assert why in broken.problems[0].why
    assert second == (2, {"prompt": "b"})


async def test_a_line_without_end_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepfun_async.batch.inputs.texts.LONGEST_LINE", 50)
    for name in ("a.txt", "a.jsonl"):
        (first, broken), (second, _) = await values(written(tmp_path, name, b"x" * 1000 + b"\n{}\n"))
        assert (first, second) == (1, 2)
        assert isinstance(broken, InvalidLine)


async def test_prompts_are_lines_of_text(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", b"A lake \r\n\nA fox\n\xff\n")
    found = await values(path)
    assert found[:2] == [(1, {"prompt": "A lake"}), (3, {"prompt": "A fox"})]
    assert isinstance(found[2][1], InvalidLine)


async def test_a_table_has_a_header_and_empty_cells_are_not_given(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'id,prompt,steps\r\na,"A lake,\nwide",\r\n\r\n,fox,9\r\n')
    assert await values(path) == [(2, {"id": "a", "prompt": "A lake,\nwide"}), (5, {"prompt": "fox", "steps": "9"})]
    assert all(isinstance(value, TextFields) for _, value in await values(path))
    assert await values(written(tmp_path, "a.tsv", "prompt\tseed\na\t1\n")) == [(2, {"prompt": "a", "seed": "1"})]


async def test_broken_rows_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b'prompt,seed\na,1,2\n\xff,3\n"a"b,4\nlast,5\n')
    found = await values(path)
    assert [number for number, value in found if isinstance(value, InvalidLine)] == [2, 3, 4]
    assert found[-1] == (5, {"prompt": "last", "seed": "5"})


@pytest.mark.parametrize("text", ["a,a\n1,2\n", "prompt,Prompt\n", "a,,b\n", "A lake\nA fox\n"])
async def test_a_table_without_a_usable_header_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        source_of(written(tmp_path, "a.csv", text))


async def test_parquet_rows_are_lines_and_nulls_are_not_given(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"prompt": ["a", "b"], "seed": [1, None], "image": [None, b"xy"]}), path)
    assert await values(path) == [
        (1, {"prompt": "a", "seed": 1, "image": None}),
        (2, {"prompt": "b", "seed": None, "image": b"xy"}),
    ]
    with pytest.raises(ConfigurationError, match="no Parquet file"):
        source_of(written(tmp_path, "b.parquet", "PAR1"))


async def test_parquet_says_which_extra_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepfun_async.batch.inputs.tables.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"stepfun-async\[parquet\]"):
        source_of(tmp_path / "a.parquet")


async def test_iterables_are_taken_from_as_needed() -> None:
    taken: list[int] = []

    def many() -> Iterator[object]:
        for number in range(10**9):
            taken.append(number)
            yield {"prompt": str(number)}

    source = source_of(many())
    assert source.is_one_shot
    assert [line.number for line in await source.take(3)] == [1, 2, 3]
    assert len(taken) == 3
    assert not source_of([{"prompt": "a"}]).is_one_shot


async def test_an_iterable_that_takes_its_time_has_a_few_milliseconds_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    milliseconds = count()
    clock = SimpleNamespace(perf_counter=lambda: 0.001 * next(milliseconds))
    monkeypatch.setattr("stepfun_async.batch.inputs.sources.time", clock)
    source = source_of([{"prompt": str(number)} for number in range(30)])
    sizes = [len(await source.take(256)) for _ in range(8)]
    assert sum(sizes) == 30
    assert 1 <= max(sizes) <= 6


async def test_async_iterables_give_one_line_at_a_time() -> None:
    async def many() -> AsyncIterator[object]:
        yield TextToImage(prompt="a")
        yield {"prompt": "b"}

    assert await values(many()) == [(1, TextToImage(prompt="a")), (2, {"prompt": "b"})]


@pytest.mark.parametrize("inputs", [3, None, b"a", {"prompt": "a"}, TextToImage(prompt="a"), list])
async def test_one_thing_is_no_inputs(inputs: object) -> None:
    with pytest.raises(ConfigurationError, match="file or an iterable"):
        source_of(inputs)


@pytest.mark.parametrize("name", ["missing.jsonl", "folder.txt", "prompts.docx", "prompts"])
async def test_a_file_that_cannot_be_read_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(ConfigurationError, match=name):
        source_of(tmp_path / name)


async def test_digests_tell_lines_apart_by_how_they_are_written(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", "".join(json.dumps({"prompt": word}) + "\n" for word in "aab"))
    first, second, third = [line.digest for line in await lines(path)]
    assert first == second
    assert first != third
    one, two = [line.digest for line in await lines([{"a": 1, "b": 2}, {"b": 2, "a": 1}])]
    assert one == two
    assert [line.digest for line in await lines([{"image": b"x"}, TextToImage(prompt="a")])] == [None, None]
