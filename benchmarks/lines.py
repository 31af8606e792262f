"""Lines of code of the core, by one rule for any two revisions.

    python -m benchmarks.lines dccb269 HEAD

A line counts if it holds code: no blank line, comment or docstring. The core is the package without `batch`, `embedded`
and `cli`, which users of a client do not run; each folder or module at its root is shown.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterator

PACKAGE = "src/stepfun_async/"
APART = ("batch", "embedded", "cli")
"""Rooms that do not count as the core."""

_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """How many lines of a module hold code."""
    docstrings = set(_docstrings(ast.parse(source)))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def _docstrings(tree: ast.AST) -> Iterator[int]:
    """The lines of the docstrings of modules, classes and functions."""
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def rooms(revision: str) -> Counter[str]:
    """The lines of code of each room in a revision.

    Raises:
        CalledProcessError: git has no such revision.
    """
    names = _git("ls-tree", "-r", "--name-only", revision, PACKAGE).splitlines()
    found: Counter[str] = Counter()
    for name in names:
        if name.endswith(".py"):
            room = name.removeprefix(PACKAGE).partition("/")[0].removesuffix(".py")
            found[room] += code_lines(_git("show", f"{revision}:{name}"))
    return found


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lines", description=__doc__)
    parser.add_argument("revisions", nargs="+", help="what git calls them")
    revisions: list[str] = parser.parse_args().revisions
    found = {revision: rooms(revision) for revision in revisions}
    names = sorted(set().union(*found.values()))
    print(f"{'':<20}", *(f"{revision:>12}" for revision in revisions))
    for name in sorted(names, key=lambda name: (name in APART, name)):
        print(f"{name:<20}", *(f"{found[revision][name]:>12,}" for revision in revisions))
    for title, apart in (("the core", APART), ("the whole package", ())):
        sums = (sum(count for name, count in found[revision].items() if name not in apart) for revision in revisions)
        print(f"{title:<20}", *(f"{count:>12,}" for count in sums))


if __name__ == "__main__":
    main()
