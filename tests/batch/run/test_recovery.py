"""What the next run puts in order after the machine has stopped."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from stepfun_async.batch.journal.database import JOURNAL, OWNER

from ..shop import Shop, prompts

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "out")


def restart(out: Path, boot: str | None) -> None:
    """Have the last run been at another start of the machine."""
    with closing(sqlite3.connect(out / JOURNAL)) as connection, connection:
        (owner,) = connection.execute("SELECT value FROM facts WHERE name = ?", (OWNER,)).fetchone()
        value = json.dumps({**json.loads(owner), "boot": boot})
        connection.execute("UPDATE facts SET value = ? WHERE name = ?", (value, OWNER))


@pytest.mark.parametrize("lost", [b"", b'{\n "sha256": "ab', b"\0" * 400])
@pytest.mark.parametrize("boot", ["another", None])
async def test_a_note_that_was_lost_with_the_power_is_written_anew(shop: Shop, lost: bytes, boot: str | None) -> None:
    await shop.batch(prompts(3)).run()
    notes = sorted(shop.out.rglob("*.json"))
    before = [json.loads(note.read_text()) for note in notes]
    notes[1].write_bytes(lost)
    restart(shop.out, boot)
    assert (await shop.batch(prompts(3)).run()).done == 0
    after = [json.loads(note.read_text()) for note in notes]
    assert [{**note, "made": 0} for note in after] == [{**note, "made": 0} for note in before]
    assert abs(after[1]["made"] - before[1]["made"]) < 100


async def test_notes_are_looked_at_after_a_restart_and_where_verify_says_so_only(shop: Shop) -> None:
    await shop.batch(prompts(2)).run()
    kept, taken = sorted(shop.out.rglob("*.json"))
    kept.write_bytes(b"")
    taken.unlink()
    await shop.batch(prompts(2)).run()
    assert kept.read_bytes() == b""
    await shop.batch(prompts(2), verify=True, notes=False).run()
    assert kept.read_bytes() == b""
    await shop.batch(prompts(2), verify=True).run()
    assert json.loads(kept.read_text())["request"]["prompt"]
    assert not taken.exists()
