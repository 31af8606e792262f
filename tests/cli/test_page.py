"""`docs/cli.md` is true: its commands print what it says, and its exit codes are the table's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from stepfun_async.cli import exit_codes as exits

from .conftest import Run

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_the_commands_print_what_the_page_says(cli: Run, folder: Path) -> None:
    """In one folder, one after another; stderr first."""
    sessions = re.findall(r"^\$ stepfun-async (.*)\n((?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)
    assert len(sessions) == 9
    for command, said in sessions:
        if not command.startswith("serve"):
            ran = cli(*shlex.split(command))
            assert (command, ran.err + ran.out) == (command, said)


def test_the_exit_codes_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == exits.MEANINGS


@pytest.mark.parametrize("name", ["STEP_API_KEY", "STEPFUN_API_KEY", "STEP_BASE_URL", "STEPFUN_SERVE_KEYS"])
def test_the_environment_is_in_the_page_and_in_the_help(cli: Run, name: str) -> None:
    assert name in PAGE
    assert name in cli("--help").out
