"""The recipes of docs/cookbook.md pass their own tests: those whose packages are installed, `make recipes` all."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from .support.suites import outcomes, run_suite, write_suite

PAGE = Path(__file__).parent.parent / "docs" / "cookbook.md"
FILE = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)
RECIPES = {
    section.partition("\n")[0]: dict(FILE.findall(section))
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")
    if FILE.search(section)
}
"""The files of each recipe, by its heading."""

ALL = "RECIPES" in os.environ
"""Whether every package has to be there."""


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def _missing(files: dict[str, str]) -> set[str]:
    """The packages that a recipe needs and that are not installed."""
    own = {name.removesuffix(".py") for name in files}
    named = {name for source in files.values() for name in _imported(source)} - own
    return {name for name in named if name not in sys.stdlib_module_names and find_spec(name) is None}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_a_test_of_its_own(recipe: str) -> None:
    tested = {name.removeprefix("test_") for name in RECIPES[recipe] if name.startswith("test_")}
    assert tested == {name for name in RECIPES[recipe] if not name.startswith("test_")}


def test_recipes_pass_their_tests(tmp_path: Path) -> None:
    there = {name: files for name, files in RECIPES.items() if not _missing(files)}
    if ALL:
        assert there == RECIPES, {name: _missing(files) for name, files in RECIPES.items() if name not in there}
    write_suite(tmp_path, {name: text for files in there.values() for name, text in files.items()})

    # Frameworks leave loops and sockets of their own to the garbage collector.
    done = run_suite(tmp_path, "-W", "ignore::pytest.PytestUnraisableExceptionWarning", "-W", "ignore::ResourceWarning")

    assert set(outcomes(done)) == {"passed"}, done.stdout + done.stderr
    assert outcomes(done)["passed"] >= len(there) >= 3
