"""The default fields of a batch, checked before the first line is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from stepfun_async._core.capabilities import Capability
from stepfun_async._core.errors import ConfigurationError, InvalidRequestError
from stepfun_async._core.image_rules import ImageInput, Style
from stepfun_async._core.problems import Problem, plain
from stepfun_async._core.profiles import Server
from stepfun_async._core.registry import row_of, rows
from stepfun_async._core.rules import Ignored, Rule, Violation, closest
from stepfun_async._core.scalars import is_missing

from .jobs import OPENAI_FIELDS, OPERATIONS, combine_sides, field_of, known_fields

_WITHOUT_RULE = frozenset({"operation", "model", "extra_body"})
"""Fields for which models have no rules."""


def default_fields(model: object, defaults: object) -> dict[str, object]:
    """Return the default fields of a batch.

    Args:
        model: the default model; `None` for none.
        defaults: the mapping of other fields given by the user; `None` for none.

    Raises:
        ConfigurationError: `defaults` is not a mapping, or has an id.
    """
    if defaults is not None and not isinstance(defaults, Mapping):
        raise ConfigurationError(f"defaults are a mapping of fields, not {defaults!r}")
    fields = {str(name): value for name, value in cast("Mapping[object, object]", defaults or {}).items()}
    if "id" in fields:
        raise ConfigurationError("defaults cannot have an id: each line has its own")
    return fields if model is None else {**fields, "model": model}


def check_defaults(defaults: Mapping[str, object], server: Server | None = None) -> None:
    """Check that the defaults are valid for some line.

    Args:
        defaults: the fields, including `model`.
        server: the profile of the server that the lines are for; `None` for StepFun's own form.

    Raises:
        InvalidRequestError: a field is unknown, or no model that fits the other defaults accepts its value.
    """
    given = {name: value for name, value in defaults.items() if not is_missing(value)}
    problems = tuple(_problems(given, server)) if given else ()
    if problems:
        raise InvalidRequestError.of("the defaults for all lines", problems)


def _problems(given: Mapping[str, object], server: Server | None) -> Iterator[Problem]:
    yield from (_unknown_field(name, value) for name, value in given.items() if name not in known_fields())
    fields = {name: value for name, value in given.items() if name in known_fields()}
    yield from combine_sides(fields)
    operation = fields.get("operation")
    if isinstance(operation, str) and operation not in OPERATIONS:
        yield Problem("operation", operation, ", ".join(OPERATIONS), nearest=closest(operation, tuple(OPERATIONS)))
        return
    adapted_rows = [adapted for row in rows() if (adapted := row_of(row.model, row.operation, server))]
    of_operation = [
        row for row in adapted_rows if operation is None or row.operation == OPERATIONS.get(cast("str", operation))
    ]
    candidates = [row for row in of_operation if fields.get("model") in (None, row.model)]
    if not candidates and "model" in fields:
        models = tuple(dict.fromkeys(row.model for row in of_operation))
        yield Problem("model", plain(fields["model"]), ", ".join(models), "", closest(fields["model"], models))
        return
    for name, value in fields.items():
        if name not in _WITHOUT_RULE:
            yield from _field_problems(name, value, candidates)


def _unknown_field(name: str, value: object) -> Problem:
    names = tuple(sorted(known_fields() - OPENAI_FIELDS - {"id"}))
    return Problem(name, plain(value), ", ".join(names), "no such field", field_of(name) or closest(name, names))


def _field_problems(name: str, value: object, candidates: Sequence[Capability]) -> Iterable[Problem]:
    """Return the problem of a field that no row accepts. Images are checked with their line."""
    rules = [row.rules[name] for row in candidates if name in row.rules]
    if not candidates:
        return
    if not rules:
        names = tuple(dict.fromkeys(rule for row in candidates for rule in row.rules))
        why = f"{candidates[0].model} has no {name}"
        yield Problem(name, plain(value), f"the parameters {', '.join(names)}", why, closest(name, names))
        return
    strict = [rule for rule in rules if not isinstance(rule, Ignored)]
    violations = [violation for violation in (_violation(rule, value) for rule in strict) if violation]
    if violations and len(violations) == len(strict):
        violation = violations[0]
        yield Problem(name, plain(value), violation.allowed or strict[0].allowed, violation.why, violation.nearest)


def _violation(rule: Rule, value: object) -> Violation | None:
    if isinstance(rule, ImageInput | Style):
        return None
    try:
        return rule.judge(value)
    except Exception:  # noqa: BLE001 - a user's methods may raise anything; it is reported with the line
        return None
