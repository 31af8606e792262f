"""A line that is renewed in place on a terminal, and written anew elsewhere; what shows nothing ends nothing."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from stepfun_async._runtime.status_line import (
    NotebookLine,
    StatusLine,
    TerminalLine,
    clear_status_line,
    status_line,
)
from tests.support.terminal import Terminal


def test_a_terminal_has_one_line_that_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    line = status_line()
    assert (type(line), line.columns) == (TerminalLine, 59)
    line.show("10 of 200")
    line.show("9 left")
    clear_status_line()
    line.end("done")
    clear_status_line()  # which nobody shows any more
    blank = " " * len("9 left")
    assert terminal.getvalue() == f"\r10 of 200\r9 left   \r{blank}\r\rdone\n"


def test_elsewhere_it_is_lines_of_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    line = status_line()
    assert (type(line), line.due) == (StatusLine, False)
    line.end("nothing, where nobody has seen it begin")
    line.show("1 of 2")
    line.end("2 of 2")
    assert capsys.readouterr().err == "1 of 2\n2 of 2\n"


@pytest.mark.parametrize("kind", [StatusLine, TerminalLine])
def test_a_stream_that_is_gone_ends_nothing(kind: type[StatusLine]) -> None:
    stream = Terminal()
    line = kind(stream)
    stream.close()
    line.show("1 of 2")
    clear_status_line()
    line.end("2 of 2")


@pytest.mark.parametrize(("encoding", "separator"), [("utf-8", "·"), ("cp1252", "·"), ("ascii", "|"), ("odd", "|")])
def test_the_separator_is_one_that_the_stream_can_say(encoding: str, separator: str) -> None:
    stream: Any = SimpleNamespace(encoding=encoding)
    assert StatusLine(stream).separator == separator


def test_a_kernel_is_known_by_its_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert type(status_line()) is NotebookLine
    shell.kernel = None  # IPython in a terminal
    assert type(status_line()) is StatusLine
