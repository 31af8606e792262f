"""Odd values anywhere in a line make that one a bad line, or are sent as what they are: they never end a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stepfun_async import Batch
from stepfun_async.batch import Records

from .shop import Shop

pytestmark = pytest.mark.anyio

FIELDS = (
    *("prompt", "model", "size", "n", "seed", "steps", "cfg_scale", "text_mode", "negative_prompt", "style_reference"),
    *("extra_body", "id", "operation", "image", "source_weight", "response_format", "width", "unknown"),
)


class Unshown:
    def __repr__(self) -> str:
        raise RuntimeError("it is not shown")


class UnshownText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("it is not shown")

    __repr__ = __str__


class Closed(Mapping[str, Any]):
    def __getitem__(self, name: str) -> Any:
        raise RuntimeError("it is not read")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("it is not read")

    def __len__(self) -> int:
        return 1


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value] if levels % 2 else {"a": value}
    return value


def endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = value
    return value


ODD: dict[str, Any] = {
    "a number of 6,000 digits": 10**6000,
    "a list of 100,000 levels": deep(100_001),
    "a mapping of 100,000 levels": deep(100_000),
    "a mapping in itself": endless(),
    "an object that is not shown": Unshown(),
    "a text that is not shown": UnshownText("a"),
    "a mapping that is not read": Closed(),
    "a key that is not shown": {Unshown(): 1},
    "a number in a list": [10**6000],
    "no number": float("nan"),
    "half a character": "\ud800",
    "bytes": b"\xff",
}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "out")


@pytest.mark.filterwarnings("ignore::stepfun_async.batch.InputWarning")
@pytest.mark.filterwarnings("ignore:negative_prompt has no effect")  # as a text of a type of its own is a text
@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
async def test_an_odd_value_ends_nothing(shop: Shop, value: Any) -> None:
    lines = [{"prompt": "first"}, *({"prompt": "a", name: value} for name in FIELDS), value, {"prompt": "last"}]
    checked = await shop.batch(lines).check()
    progress = await shop.batch(lines).run()
    assert progress.lines == checked.lines == len(lines)
    assert progress.failed == checked.bad > 0
    items = list(Records(shop.out).items())
    assert [items[0].state, items[-1].state] == ["done", "done"]
    assert all(item.error == "InvalidRequestError" for item in items if item.state != "done")
    assert all("got" in str(item.message) for item in items if item.state == "failed")
    Records(shop.out).write_manifest()
    Records(shop.out).write_report()


async def test_what_reading_a_line_raises_is_said_of_that_line(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*_: object) -> Any:
        raise RuntimeError("somebody's own")

    monkeypatch.setattr("stepfun_async.batch.inputs.job_reader.parse_job", raising)
    batch: Batch = shop.batch([{"prompt": "a"}])
    assert (await batch.run()).failed == 1
    (item,) = batch.items()
    assert "reading it raised RuntimeError: somebody's own" in str(item.message)
