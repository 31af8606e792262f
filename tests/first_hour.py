"""The first hour of a new user, from the built site alone: `make first-hour`.

Every code block and every command of the pages that a new user reads is run in an empty folder, in the order of the
page, with the package installed as the first page says. What happened is printed, and written to
build/first-hour.txt.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html.parser import HTMLParser
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SITE = ROOT / "build" / "site" / "html"
PAGES = (
    "index",
    "quickstart",
    "from-openai",
    "images",
    "models",
    "limits",
    "failures",
    "batch",
    "cli",
    "testing",
    "embedded",
)
ALONE = ("index", "quickstart")
"""Pages of which each example is a whole program; on the others, an example goes on where the one before ended."""

LONGEST = 12
"""Lines of an output that are shown."""

END = "\\x04"
"""What a session prints when an example has ended."""

SESSION = f"""
import json, sys, traceback
names = {{"__name__": "__main__"}}
for number, line in enumerate(sys.stdin):
    try:
        exec(compile(json.loads(line), f"example {{number}}", "exec"), names)
    except Exception:
        traceback.print_exc()
    print({END!r})
"""
"""Runs examples one after another in the same namespace, each as a line of JSON."""

NEEDS_MORE = re.compile(
    r"STEP_API_KEY=\.\.\.|https?://example|s3://|--port 8000|\bssh\b|uvicorn|completion|mcp|diffusers|API_KEY=sk"
)
"""Commands that need a key, a bucket or a server of the reader's."""


class Blocks(HTMLParser):
    """The code blocks of a page, each with its language."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._language, self._text = "", ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the language of a block, and where it begins."""
        classes = dict(attrs).get("class") or ""
        if tag == "div" and "highlight" in classes.split():
            self._language = next((name[9:] for name in classes.split() if name.startswith("language-")), "")
        self._inside = self._inside or tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        """Keep a block that ends."""
        if tag == "pre" and self._inside:
            self.found.append((self._language, self._text))
            self._language, self._text, self._inside = "", "", False

    def handle_data(self, data: str) -> None:
        """Collect the text of a block."""
        if self._inside:
            self._text += data


class Reader:
    """Runs what a page says, in a folder of its own.

    Args:
        folder: where.
        programs: the folder of the Python that has the package.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._session: subprocess.Popen[str] | None = None
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self._environment = {
            **os.environ,
            "PATH": path,
            "STEP_BASE_URL": "embedded",
            "COLUMNS": "120",
            "PYTHONWARNINGS": "error",
        }
        self._python = str(programs / "python")
        self.steps: list[str] = []
        self.failed: list[str] = []

    def read(self, language: str, text: str, *, alone: bool) -> None:
        """Do what a block says."""
        if language == "python":
            self._code(text, alone=alone)
        elif language in ("console", "sh"):
            for command, shown in _commands(language, text):
                self._command(command, shown)

    def _code(self, text: str, *, alone: bool) -> None:
        name = re.match(r"# (\w+\.py)\n", text)
        path = self._folder / (name[1] if name else "example.py")
        doctest = text.lstrip().startswith(">>>")
        path.write_text(f'r"""\n{text}\n"""' if doctest else text, encoding="utf-8")
        if name:
            command = (
                ["-m", "pytest", "-q", path.name] if path.name.startswith("test_") else ["-m", "py_compile", path.name]
            )
            self._run(f"{path.name} (a file)", [self._python, *command])
        elif doctest:
            self._run(text, [self._python, "-m", "doctest", "-o", "ELLIPSIS", path.name])
        elif alone:
            self._run(text, [self._python, path.name])
        else:
            self._go_on(text)

    def _go_on(self, text: str) -> None:
        """Run an example where the one before it on the page ended."""
        if self._session is None:
            self._session = subprocess.Popen(
                [self._python, "-u", "-c", SESSION],
                cwd=self._folder,
                env=self._environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        session = self._session
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write(json.dumps(text) + "\n")
        session.stdin.flush()
        output = list(takewhile(lambda line: line != END + "\n", session.stdout))
        self._note(text, "".join(output), failed=any(line.startswith("Traceback") for line in output))

    def close(self) -> None:
        """End the examples that go on."""
        if self._session is not None:
            self._session.communicate()

    def _command(self, command: str, shown: str) -> None:
        if command.startswith(("pip ", "make ")) or NEEDS_MORE.search(command):
            self.steps.append(f"$ {command}\n  (not run here)")
            return
        self._run(
            f"$ {command}",
            ["bash", "-c", f"{command}\nexport -p > .exported"],
            may_fail="error" in shown or "fail" in shown,
        )

    def _run(self, what: str, command: list[str], *, may_fail: bool = False) -> None:
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                code = 124
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it has left running, too
            process.wait()
            output.seek(0)
            said = output.read()
        failed = "Traceback" in said or code in (124, 127) or (code != 0 and not may_fail)
        self._note(what, said + (f"(exit {code})" if code else ""), failed=failed)

    def _note(self, what: str, output: str, *, failed: bool) -> None:
        """Keep what was run, and what it printed."""
        lines = output.rstrip().splitlines()
        cut = [*lines[:LONGEST], f"... {len(lines) - LONGEST} more lines"] if len(lines) > LONGEST else lines
        self.steps.append("\n".join([what.rstrip(), *(f"    {line}" for line in (lines if failed else cut))]))
        if failed:
            self.failed.append(self.steps[-1])


def _commands(language: str, text: str) -> Iterator[tuple[str, str]]:
    """The commands of a block, each with what the page prints below it."""
    lines = text.splitlines()
    if language == "sh":
        yield "\n".join(lines), ""
        return
    begins = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        yield lines[begin][2:].split("    #")[0].rstrip(), "\n".join(lines[begin + 1 : end])


@contextmanager
def installed() -> Iterator[Path]:
    """The programs of a new environment with the package, installed as the first page says."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(Path(folder, "bin", "pip")), "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, ".[all]"], cwd=ROOT, check=True)
        subprocess.run(
            [*pip, "pytest", "trio", "openai", "pandas"], check=True
        )  # what the pages' tests and tables need
        yield Path(folder, "bin")


def play(page: str, programs: Path) -> Reader:
    """Do all that a page says, in an empty folder."""
    blocks = Blocks((SITE / f"{page}.html").read_text(encoding="utf-8")).found
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(Path(folder), programs)
        for language, text in blocks:
            reader.read(language, text, alone=page in ALONE)
        reader.close()
        return reader


def main() -> None:
    """Play every page."""
    transcript, failed = [], []
    with installed() as programs:
        for page in PAGES:
            sys.stderr.write(f"{page}\n")
            reader = play(page, programs)
            transcript += [f"===== {page}", *reader.steps]
            failed += [f"{page}: {each}" for each in reader.failed]
    text = "\n\n".join([*transcript, f"===== {len(failed)} of {len(transcript)} steps failed", *failed]) + "\n"
    (ROOT / "build" / "first-hour.txt").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
