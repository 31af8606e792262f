"""Problems phrased in terms of JSON and forms, for clients in any language."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from stepfun_async._core.capabilities import Capability, Operation
from stepfun_async._core.problems import Description, Problem, show
from stepfun_async._core.rules import Rule
from stepfun_async._core.sizes import Size
from stepfun_async._core.text import LONGEST, escaped
from stepfun_async._core.wire import wire_name

_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "a str,": "a string,",
        "an int,": "a number,",
        "a float,": "a number,",
        "a dict,": "an object,",
        "a list,": "an array,",
        "a bytes,": "a file,",
        "True,": "true,",
        "False,": "false,",
        "nothing,": "null,",
        "not a mapping": "not an object",
        "not a truth value": "not a boolean",
    }
)
"""The names of types in Python, and in JSON."""


def in_wire_words(operation: Operation, row: Capability | None, problem: Problem, given: object) -> str:
    """Describe a problem with a parameter of a call.

    Args:
        operation: the operation of the call.
        row: the model's row; `None` if unknown.
        problem: the problem.
        given: the parameter as received; `None` if absent.
    """
    rule = row.rules.get(problem.field) if row else None
    why, allowed = problem.why, problem.allowed
    if why.partition(",")[0] + "," in _KINDS:  # about the type of the value
        for name, other in _KINDS.items():
            why = why.replace(name, other)
    if "register_model" in why:
        why = "there is no such model"
    if rule is not None and allowed == rule.allowed:
        allowed = rule.wire_allowed
    shown = cast("object", given) if isinstance(given, dict | list) else problem.given
    parts = [
        f"{wire_name(operation, problem.field)}: got {_written(shown)}",
        f" ({why})" if why else "",
        f"; allowed: {allowed}" if allowed else "",
        "" if problem.nearest is None else f". Did you mean {_nearest(rule, problem.nearest)}?",
    ]
    return escaped("".join(parts))


def _nearest(rule: Rule | None, nearest: object) -> str:
    return _written(rule.to_wire(nearest) if rule is not None and isinstance(nearest, Size) else nearest)


def _written(value: object) -> str:
    """Format `value` as JSON, cut if it is long."""
    if value is None or isinstance(value, Description) or not isinstance(value, str | int | float | dict | list):
        return show(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 3]}..." + (f" ({len(value)} characters)" if isinstance(value, str) else "")
