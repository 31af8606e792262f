"""No link is followed at a name that a batch writes: what it leads to stays as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepfun_async import ConfigurationError
from stepfun_async.batch import JournalError, Records
from stepfun_async.batch.journal.database import FILES, JOURNAL
from stepfun_async.batch.run.claims import Claims

from .shop import Shop, prompts

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="links need rights there"),
]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "out")


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious"
    path.write_text("of great value")
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("manifest.jsonl", lambda records: records.write_manifest()),
        (".manifest.jsonl.part", lambda records: records.write_manifest()),
        ("report.html", lambda records: records.write_report()),
        (".report.html.part", lambda records: records.write_report()),
        (".00000.tar.part", lambda records: records.pack(records.folder)),
    ],
)
async def test_records_are_written_in_the_place_of_a_link(
    shop: Shop, precious: Path, name: str, write: Callable[[Records], object]
) -> None:
    await shop.batch(prompts(2)).run()
    link = shop.out / name
    link.symlink_to(precious)
    write(Records(shop.out))
    assert precious.read_text() == "of great value"
    assert link.is_symlink() == name.endswith(".part")
    assert {path.name for path in shop.out.glob(".*")} <= {name}


async def test_a_shard_is_not_written_where_something_is(shop: Shop, precious: Path, tmp_path: Path) -> None:
    await shop.batch(prompts(2)).run()
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "00000.tar").symlink_to(precious)
    with pytest.raises(ConfigurationError, match="there are shards"):
        Records(shop.out).pack(tmp_path / "shards")
    assert precious.read_text() == "of great value"


@pytest.mark.parametrize("name", FILES)
async def test_a_journal_that_is_a_link_is_refused(shop: Shop, tmp_path: Path, name: str) -> None:
    target = tmp_path / "elsewhere"
    shop.out.mkdir()
    (shop.out / name).symlink_to(target)
    with pytest.raises(JournalError, match="is a symbolic link"):
        await shop.batch(prompts(2)).run()
    assert not target.exists()
    assert shop.pictures == 0


async def test_a_journal_behind_a_link_is_not_read(shop: Shop, tmp_path: Path) -> None:
    await shop.batch(prompts(2)).run()
    (shop.out / JOURNAL).rename(tmp_path / JOURNAL)
    (shop.out / JOURNAL).symlink_to(tmp_path / JOURNAL)
    with pytest.raises(JournalError, match="is a symbolic link"):
        Records(shop.out).status()


async def test_thumbnails_go_through_no_link(shop: Shop, precious: Path, tmp_path: Path) -> None:
    large: dict[str, Any] = {"prompt": "a", "size": "9:16"}
    await shop.batch([large, {**large, "seed": 2}]).run()
    for path in shop.files():  # else they are small enough themselves
        path.write_bytes(path.read_bytes() + bytes(40_000))
    Records(shop.out).write_report()
    thumbnails = sorted((shop.out / "thumbnails").iterdir())
    assert len(thumbnails) == 2
    thumbnails[0].unlink()
    thumbnails[0].symlink_to(precious)
    Records(shop.out).write_report()
    assert precious.read_text() == "of great value"
    assert not thumbnails[0].is_symlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in thumbnails:
        path.unlink()
    (shop.out / "thumbnails").rmdir()
    (shop.out / "thumbnails").symlink_to(elsewhere)
    Records(shop.out).write_report()
    assert list(elsewhere.iterdir()) == []


def test_claims_go_through_no_link(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "a" / "sending").mkdir(parents=True)
    (tmp_path / "a" / "sending" / "run").symlink_to(precious)
    Claims(tmp_path / "a").begin("r1")
    assert (precious.read_text(), Claims(tmp_path / "a").run()) == ("of great value", "r1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "sending").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="is a symbolic link"):
        Claims(tmp_path / "b").begin("r2")
