"""Python scripts that run in a process of their own, where every warning is an error."""

from __future__ import annotations

import os
import subprocess
import sys

_BEFORE = (
    "import logging; "
    "logging.getLogger('asyncio').addFilter(lambda record: not record.getMessage().startswith('Executing '))\n"
)
"""In development mode asyncio reports each step that takes 0.1 s, as any does on a busy machine."""


def development_command(source: str) -> list[str]:
    """The command that runs `source` in Python's development mode."""
    return [sys.executable, "-X", "dev", "-W", "error", "-c", _BEFORE + source]


def run_script(source: str) -> subprocess.CompletedProcess[str]:
    """Run `source` in Python's development mode, on the embedded engine, and wait for its end."""
    return subprocess.run(
        development_command(source),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "STEP_BASE_URL": "embedded"},
    )
