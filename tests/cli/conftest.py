"""What the tests of the command line share: runs in this process and in one of their own."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from stepfun_async.cli.app import run
from stepfun_async.embedded import Engine, Scenario
from stepfun_async.embedded.server import running


class Ran(NamedTuple):
    """What came of a run."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, 80 columns, and the embedded engine."""
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    monkeypatch.setenv("STEP_BASE_URL", "embedded")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("STEPFUN_SERVE_KEYS", raising=False)
    return working


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process."""

    def ran(*arguments: str) -> Ran:
        code = run(arguments)
        return Ran(code, *capsys.readouterr())

    return ran


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Points the command line at a server that meets every call with a fault; waits take no time."""
    engine = Engine()
    monkeypatch.setattr("random.random", lambda: 0.0)
    with running(engine) as url:

        def fail(fault: str) -> None:
            engine.scenario = Scenario(fault)

        monkeypatch.setenv("STEP_BASE_URL", url)
        monkeypatch.setenv("STEP_API_KEY", "sk-hidden")
        yield fail


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """What a command of a test logs to is gone after it, with the stream it wrote to."""
    log = logging.getLogger("stepfun_async")
    handlers, level = list(log.handlers), log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)


_started: list[subprocess.Popen[bytes]] = []


def start(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
    """The command line in a process of its own; stdout and stderr are pipes unless `options` say otherwise."""
    pipes: dict[str, object] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", "stepfun_async.cli", *arguments]
    process: subprocess.Popen[bytes] = subprocess.Popen(command, **{**pipes, **options})  # type: ignore[call-overload]
    _started.append(process)
    return process


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test() -> Iterator[None]:
    yield
    while _started:
        with _started.pop() as process:
            process.kill()
