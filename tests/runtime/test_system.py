"""What differs between systems, simulated: no Windows and no macOS is needed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import anyio
import pytest

from stepfun_async._runtime import files, system
from stepfun_async._runtime.signals import signals_received
from stepfun_async.cli.app import run


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "WINDOWS", True)


@pytest.fixture
def no_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's loop as it is on Windows: it handles no signals."""

    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", refuse)


async def _received() -> list[int]:
    with signals_received(signal.SIGINT, signal.SIGTERM) as signals:
        received: list[int] = []
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        async for number in signals:
            received.append(number)
            if len(received) == 2:
                break
    return received


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.default_int_handler])
def test_signals_are_received_and_then_handled_as_before(backend: str, handler: Any) -> None:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        assert sorted(anyio.run(_received, backend=backend)) == [signal.SIGINT, signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("no_handlers")
def test_signals_are_received_where_the_loop_cannot_handle_them() -> None:
    before = signal.getsignal(signal.SIGTERM)

    assert anyio.run(_received) == [signal.SIGTERM, signal.SIGINT]

    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.usefixtures("no_handlers")
def test_a_batch_runs_where_the_loop_cannot_handle_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_BASE_URL", "embedded")
    (tmp_path / "prompts.txt").write_text("A lake\n")

    code = run(
        [
            "batch",
            "run",
            str(tmp_path / "prompts.txt"),
            "--out",
            str(tmp_path / "out"),
            "--set",
            "model=step-2x-large",
            "--set",
            "size=256x256",
        ]
    )

    assert code == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1


class Held:
    """`os.replace` of a file that another program has open for a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.slept: list[float] = []
        self._left, self._replace = times, os.replace
        monkeypatch.setattr(os, "replace", self.replace)
        monkeypatch.setattr("time.sleep", self.slept.append)

    def replace(self, source: str | Path, target: str | Path) -> None:
        self._left -= 1
        if self._left >= 0:
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        self._replace(source, target)


@pytest.mark.usefixtures("windows")
def test_a_file_that_a_scanner_has_open_is_replaced_once_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, 3)
    (tmp_path / "lake.png").write_bytes(b"before")

    files.write_bytes(tmp_path / "lake.png", b"after", overwrite=True)

    assert (tmp_path / "lake.png").read_bytes() == b"after"
    assert len(held.slept) == 3


@pytest.mark.usefixtures("windows")
def test_a_file_that_stays_open_is_left_whole_and_nothing_else_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, 1000)
    (tmp_path / "lake.png").write_bytes(b"before")

    with pytest.raises(PermissionError):
        files.write_bytes(tmp_path / "lake.png", b"after", overwrite=True)

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("lake.png", b"before")]
    assert sum(held.slept) < 1


def test_elsewhere_a_file_that_cannot_be_replaced_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, 1)
    with pytest.raises(PermissionError):
        files.write_bytes(tmp_path / "lake.png", b"after", overwrite=True)
    assert held.slept == []


class Registry(ModuleType):
    """Python's `winreg` on a machine that allows long paths or does not."""

    HKEY_LOCAL_MACHINE = 0

    def __init__(self, *, allows: bool) -> None:
        super().__init__("winreg")
        self._allows = allows

    def OpenKey(self, root: int, name: str) -> Registry:  # noqa: N802 - as it is called
        return self

    def QueryValueEx(self, key: Registry, name: str) -> tuple[int, int]:  # noqa: N802 - likewise
        return int(self._allows), 4

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("allows", [True, False, None])
def test_a_path_too_long_for_windows_is_refused_before_anything_is_bought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allows: bool | None
) -> None:
    registry: Any = None if allows is None else Registry(allows=allows)
    monkeypatch.setitem(sys.modules, "winreg", registry)
    deep = tmp_path.joinpath(*["d" * 60] * 4)

    why = files.why_not_writable(deep / "lake.png", overwrite=False)

    assert (why is None) == bool(allows)
    assert allows or "Windows allows 259 unless it is set to allow long paths" in str(why)
    assert files.why_not_writable(tmp_path / "lake.png", overwrite=False) is None


def test_names_are_measured_in_characters_on_windows_and_in_bytes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    for windows in (True, False):
        monkeypatch.setattr(system, "WINDOWS", windows)
        measured.append(system.length_of("湖" * 100))
    assert measured == [100, 300]


@pytest.mark.usefixtures("windows")
def test_folders_are_not_flushed_on_windows(tmp_path: Path) -> None:
    assert files.flush_folder(tmp_path / "not there")


@pytest.mark.parametrize(("macos", "same"), [(True, True), (False, False)])
def test_spellings_of_one_name_are_one_file_on_macos(
    monkeypatch: pytest.MonkeyPatch, *, macos: bool, same: bool
) -> None:
    monkeypatch.setattr(system, "MACOS", macos)
    assert (system.same_name("Cafe\u0301.png") == system.same_name("caf\u00e9.PNG")) is same
