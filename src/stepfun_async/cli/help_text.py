"""The help of options, read from the model tables."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Iterator
from functools import cache

from stepfun_async import Capability, capabilities
from stepfun_async._core.capabilities import Operation
from stepfun_async._core.image_rules import ImageInput, Style
from stepfun_async._core.rules import Boolean, Rule
from stepfun_async._core.size_rules import Sizes

_COLUMNS = min(80, max(40, shutil.get_terminal_size().columns))
"""The width of help in columns: that of the terminal, from 40 to 80."""

_WIDTH = _COLUMNS - 34
"""The width of the help of options, beside their names."""

_IS_COMPLETION = "_STEPFUN_ASYNC_COMPLETE" in os.environ
"""Whether a shell is requesting completions."""

_INDENT = "  "
"""The indent of a wrapped line."""


def rows_of(operation: Operation) -> tuple[Capability, ...]:
    """Return the rows of an operation, one for each model."""
    return tuple(row for row in capabilities() if row.operation == operation)


def models(operation: Operation, default: str) -> str:
    """Return the help of an operation's model."""
    return wrap_help(f"One of {', '.join(row.model for row in rows_of(operation))}; default {default}.")


@cache  # typer evaluates each annotation several times
def parameter_help(name: str, operation: Operation, intro: str) -> str:
    """Return the help of a parameter: `intro`, and the range of each model, as `step-2x-large: 1 to 50, default 50`."""
    rows = rows_of(operation)
    text_of = {row.model: _rule_text(row.rules[name]) for row in rows if name in row.rules}
    texts = list(dict.fromkeys(text_of.values()))
    if len(texts) == 1 and len(text_of) == len(rows):
        return wrap_help(intro, texts[0]) if intro.endswith(".") else wrap_help(f"{intro} {texts[0]}")
    named = (f"{', '.join(model for model in text_of if text_of[model] == text)}: {text}" for text in texts)
    return wrap_help(intro, *named)


def wrap_help(*parts: str) -> str:
    """Wrap each of `parts` on lines of its own, without breaking names at hyphens; shells get only the beginning."""
    if _IS_COMPLETION:
        return re.split(r"[.;:] ", parts[0], maxsplit=1)[0]
    lines = (textwrap.fill(part, _WIDTH, subsequent_indent=_INDENT, break_on_hyphens=False) for part in parts if part)
    return "\b\n" + "\n".join(lines)


def note_of(name: str, operation: Operation) -> str:
    """Return the notes on a parameter in the model tables."""
    notes = (row.rules[name].note for row in rows_of(operation) if name in row.rules)
    return "; ".join(dict.fromkeys(note for note in notes if note))


def style() -> tuple[str, str]:
    """Return what is allowed as the image of a style reference, and as its weight."""
    for row in capabilities():
        for rule in row.rules.values():
            if isinstance(rule, Style):
                weight = f"{rule.weight.allowed}, default {rule.weight.default:g}; {rule.weight.note}"
                return f"{row.model}: {rule.image.allowed}", f"{row.model}: {weight}"
    raise LookupError("no model takes a style reference")


def height_first() -> str:
    """Return the models whose wire strings are HEIGHTxWIDTH."""
    height_first_models = (row.model for row in capabilities() if row.sizes and row.sizes.order == "height x width")
    return ", ".join(dict.fromkeys(height_first_models))


def _rule_text(rule: Rule) -> str:
    return ", ".join(_parts(rule))


def _parts(rule: Rule) -> Iterator[str]:
    if isinstance(rule, Sizes):
        yield f"{' '.join(rule.ratios)} or {', '.join(size.label for size in rule.options)}"
    elif not isinstance(rule, Boolean):
        yield rule.allowed.removeprefix("a whole number from ").removeprefix("a number from ")
    if isinstance(rule, ImageInput):
        return
    if rule.default not in (None, ""):
        yield f"default {_default(rule)}"


def _default(rule: Rule) -> str:
    value = rule.default
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else rule.shown_default
