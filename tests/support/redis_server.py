"""A real redis-server on a free port of this machine, which keeps nothing, and whose time can be made to pass."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis


def free_port() -> int:
    """A port of the loopback interface without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class RedisServer:
    """The server, which can be stopped, started again on the same port, frozen and looked into."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        settings = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": "", "appendonly": "no"}
        words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(["redis-server", *words], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said: list[str] = []
        for line in self._process.stdout:
            said.append(line)
            if "Ready to accept connections" in line:
                return
        raise AssertionError("redis-server did not start:\n" + "".join(said))

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections are still taken, but nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def inside(self) -> Iterator[Any]:
        """A connection that can be asked anything."""
        with Redis(port=self.port, decode_responses=True) as connection:
            yield connection

    def pass_time(self, seconds: float) -> None:
        """Make what is held end so much earlier, as if the time had passed."""
        with self.inside() as connection:
            for key in connection.scan_iter():
                for member, moment in connection.zrange(key, 0, -1, withscores=True):
                    connection.zadd(key, {member: moment - seconds * 1e6})


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A running server, gone at the end.

    Where redis-server is not installed the test is skipped; in CI it fails.
    """
    if shutil.which("redis-server") is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
