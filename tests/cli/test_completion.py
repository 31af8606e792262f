"""Shells complete commands, options and values, with the scripts that the command line prints for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = {
    "bash": """
        eval "$(stepfun-async --show-completion)"
        COMP_WORDS=(stepfun-async {words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
        _stepfun_async_completion stepfun-async
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    "zsh": """
        compdef() {{ : }}; _files() {{ print files }}
        _arguments() {{ print -r -- "$@" }}
        eval "$(stepfun-async --show-completion)"
        words=(stepfun-async {words}); CURRENT=${{#words}}
        _stepfun_async_completion
        exit 0
    """,
    "fish": """
        stepfun-async --show-completion | source
        complete -C 'stepfun-async {words}'
    """,
}
"""What completes `words` in each shell, and prints what it found."""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A path on which the command of this environment comes first."""
    command = tmp_path / "bin" / "stepfun-async"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m stepfun_async "$@"\n')
    command.chmod(0o755)
    return f"{command.parent}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_completes_commands_options_and_values(shell: str, path: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    for words, found, others in (
        ("gen", "generate", "image-to-image"),
        ("generate lake --neg", "--negative-prompt", "--out"),
        ("generate lake --size 16", "16:9", "4:3"),
    ):
        flags = ["-f"] if shell == "zsh" else ["--norc"] if shell == "bash" else ["--no-config"]
        done = subprocess.run(
            [program, *flags, "-c", SCRIPTS[shell].format(words=words)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
            timeout=120,
        )
        said = done.stdout.replace("\\", "")
        assert found in said, (words, done.stderr)
        assert others not in said
