"""Processes that end with the block that started them, and with this process, whatever ends it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"

START = 60.0
"""Seconds within which a gateway has to listen; LiteLLM takes 20 on a busy machine."""

GUARD = '("$@"; kill -KILL 0) </dev/null & cat >/dev/null; kill -KILL 0'
"""Runs a command in a process group that dies with it, and as soon as standard input is closed everywhere."""


class StartError(Exception):
    """A program did not begin to listen."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface without a listener, all different."""
    listeners = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


@contextmanager
def running(
    command: Sequence[str | Path], ports: Sequence[int], *, log: Path, env: Mapping[str, str], within: float = START
) -> Iterator[None]:
    """A program while the block lasts, from the moment in which it listens on all `ports`.

    Args:
        command: the program and its arguments.
        ports: where it has to listen.
        log: the file that gets what it writes.
        env: additions to the environment.
        within: seconds within which it has to listen.

    Raises:
        StartError: it ended, or does not listen; with the end of the log.
    """
    words = ["sh", "-c", GUARD, "sh", *map(str, command)]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env={**os.environ, **env},
            start_new_session=True,
        ) as process,  # closes standard input at the end, and waits
    ):
        for port in ports:
            _await_listener(process, port, log, within)
        yield


def _await_listener(process: subprocess.Popen[bytes], port: int, log: Path, within: float) -> None:
    until = time.monotonic() + within
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise StartError(f"nothing listens on port {port}:\n{log.read_text(errors='replace')[-2000:]}")
