"""Suites of tests as users have them: written to a folder, and run by pytest in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PLUGIN = "stepfun_async.pytest_plugin"

_UNUSED = ("cacheprovider", "hypothesispytest", "respx", "schemathesis", "xdist", "xdist.looponfail")
"""Plugins that these suites do not need, and that take seconds to load."""


def write_suite(folder: Path, files: Mapping[str, str]) -> None:
    """Write `files`, text by name, into `folder`."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def run_suite(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What pytest says of the tests in `folder`, warnings being errors.

    Args:
        folder: where the tests are.
        options: of pytest, after `-p` with the plugin, which is there whether it is installed or not.
        environment: variables besides those of this process.
    """
    plugins = [word for name in _UNUSED for word in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins, "-p", PLUGIN, *options]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How many tests passed, failed and so on, by the last line of what pytest said."""
    *_, last = done.stdout.strip().splitlines() or [""]
    return {kind: int(count) for count, kind in re.findall(r"(\d+) ([a-z]+)", last.partition(" in ")[0])}
