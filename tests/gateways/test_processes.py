"""Programs that tests start end with them, however the tests end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateways.processes import HOST, StartError, free_ports, running
from tests.support.shells import eventually

ROOT = Path(__file__).parents[2]

SERVER = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nwhile True: s.accept()"

KEEPER = """
import sys, pathlib
from tests.gateways.processes import running
port = int(sys.argv[1])
with running([sys.executable, "-c", sys.argv[2], str(port)], [port], log=pathlib.Path(sys.argv[3]), env={}):
    print("listening", flush=True)
    sys.stdin.read()
"""


def _state(port: int) -> str:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return "gone"
    return "listens"


def test_a_program_ends_with_the_block(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running([sys.executable, "-c", SERVER, str(port)], [port], log=tmp_path / "log", env={}):
        assert _state(port) == "listens"
    assert eventually("gone", lambda: _state(port)) == "gone"


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_program_ends_with_the_process_that_started_it(way: signal.Signals, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", KEEPER, str(port), SERVER, str(tmp_path / "log")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == "listening\n"
        keeper.send_signal(way)
    assert eventually("gone", lambda: _state(port)) == "gone"


def test_a_program_that_does_not_start_says_why(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with (
        pytest.raises(StartError, match="no such setting"),
        running(["sh", "-c", "echo no such setting; exit 1"], [port], log=tmp_path / "log", env={}),
    ):
        pass
