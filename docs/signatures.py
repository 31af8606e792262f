"""What the API reference reads of the code, for `mkdocstrings`: signatures as users call them, examples as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)
"""A doctest: its first line, and all lines up to an empty one."""


class AsCalled(griffe.Extension):
    """Leaves out of signatures what no caller writes, and sets the examples of docstrings as code."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Drop what collects unknown keywords."""
        collects = griffe.ParameterKind.var_keyword
        func.parameters = griffe.Parameters(
            *(each for each in func.parameters if each.kind is not collects or each.name != "unknown")
        )

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Set doctests as code."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(example: re.Match[str]) -> str:
    indent = example[1]
    return f"{indent}```pycon\n{example[0]}\n{indent}```"
