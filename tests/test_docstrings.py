"""Docstrings name what exists: errors under `Raises:`, parameters under `Args:`, and attributes of classes."""

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import stepfun_async

SOURCE = Path(stepfun_async.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def section(node: Documented, title: str) -> list[str]:
    """The names that a section of a docstring describes."""
    found = re.search(rf"^{title}:\n((?: .*\n|\n)*)", (ast.get_docstring(node) or "") + "\n", re.MULTILINE)
    described = re.findall(r"^    `?(\*{0,2}[\w.]+(?:, [\w.]+)*)`?: ", found[1], re.MULTILINE) if found else []
    return [name.lstrip("*") for names in described for name in names.split(", ")]


def documented(tree: ast.AST) -> Iterator[Documented]:
    for node in ast.walk(tree):
        if isinstance(node, Documented):
            yield node


def fields(node: ast.ClassDef) -> set[str]:
    return {
        each.target.id for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }


def parameters(node: Documented) -> set[str] | None:
    """The parameters of a function or of a class's constructor; `None` if it takes any by name."""
    if isinstance(node, ast.ClassDef):
        made_by = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        return parameters(made_by[0]) if made_by else fields(node)
    given = node.args
    if given.kwarg:
        return None
    several = [given.vararg] if given.vararg else []
    return {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, *several)}


def attributes(node: ast.ClassDef) -> set[str]:
    """What a class declares, assigns to `self` or in its body, or defines."""
    names = fields(node) | {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
            names.add(each.attr)
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            names.add(each.id)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):  # `object.__setattr__(self, "name", ...)`
            names.add(each.value)
    return names


CLASSES = {
    node.name
    for file in FILES
    for node in documented(ast.parse(file.read_text("utf-8")))
    if isinstance(node, ast.ClassDef)
}


def wrong(tree: ast.AST) -> Iterator[str]:
    """The names in docstrings of a module that are names of nothing."""
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    errors = CLASSES | imported | set(dir(builtins))
    for node in documented(tree):
        yield from (
            f"{node.name} raises {name}" for name in section(node, "Raises") if name.partition(".")[0] not in errors
        )
        allowed = parameters(node)
        if allowed is not None:
            yield from (f"{node.name} takes {name}" for name in section(node, "Args") if name not in allowed)
        if isinstance(node, ast.ClassDef):
            yield from (
                f"{node.name} has {name}" for name in section(node, "Attributes") if name not in attributes(node)
            )


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_docstrings_name_what_exists(file: Path) -> None:
    assert list(wrong(ast.parse(file.read_text("utf-8")))) == []


EXAMPLE = '''
class Door:
    """A door.

    Args:
        width: in metres.
        colour: of its front.

    Attributes:
        is_open: whether it is open.
        handle: what opens it.
    """

    def __init__(self, width):
        self.is_open = False

    def open(self, by):
        """Open it.

        Args:
            by: centimetres; whatever else
                and: this is no parameter.
            slowly: whether it takes time.

        Raises:
            ValueError: it is open.
            StuckError: it is stuck.
        """
'''


def test_names_of_nothing_are_found() -> None:
    found = ["Door takes colour", "Door has handle", "open raises StuckError", "open takes slowly"]
    assert list(wrong(ast.parse(EXAMPLE))) == found
