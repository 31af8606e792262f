"""What a server says reaches the terminal without anything that a terminal obeys or a reader misreads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.raw import raw_server, say
from tests.test_hostile_text import EVIL, error_of, harmless

from .conftest import Run


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes) -> Iterator[None]:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nx-trace-id: t\x1b[5m\r\n"
    with raw_server(say(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)) as server:
        monkeypatch.setenv("STEP_BASE_URL", server.url)
        monkeypatch.setenv("STEP_API_KEY", "sk-test-1234")
        yield


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, error_of()), (200, b'{"data": []}'), (200, json.dumps({"data": [{"url": EVIL}]}).encode())],
    ids=["an error", "no picture", "no link"],
)
def test_the_command_line_shows_what_a_server_says_with_escapes(
    status: int, body: bytes, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(monkeypatch, status, body):
        ran = cli("generate", "A lake", "--json")
    assert ran.code
    assert harmless(ran.err, lines=4)
    assert "\nbill: 0 calls" not in ran.err
    assert harmless(ran.out)
    assert json.loads(ran.out)["error"]["trace_id"] == "t\\u001b[5m"


@pytest.mark.parametrize("as_json", [False, True])
def test_an_account_is_shown_with_escapes(
    as_json: bool, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(monkeypatch, 200, json.dumps({"type": EVIL, "balance": 1}).encode()):
        ran = cli("account", *["--json"] * as_json)
    assert ran.code == 0
    assert harmless(ran.out, lines=4)
    assert not as_json or json.loads(ran.out)["type"] == EVIL
