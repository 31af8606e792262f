"""`models`: the model tables, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, cast

import typer
from rich.table import Table
from rich.text import Text as Line

from stepfun_async import Capability, ConfigurationError, Lifecycle, capabilities
from stepfun_async._core.capabilities import SOURCES
from stepfun_async._core.rules import Integer, Rule, Text
from stepfun_async._core.schemas.rows import DIALECT, request_schema
from stepfun_async._core.size_rules import AnySize, Sizes

from .console import echo_json, echo_rich
from .errors import rephrased
from .options import AsJson


def models(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Show every rule of this model.")] = None,
    as_json: AsJson = False,
    as_schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the JSON Schema of requests to the model instead."),
    ] = False,
) -> None:
    """Show the models with their parameters and prices. Nothing is sent."""
    rows = _rows(model)
    if as_schema:
        echo_json(_schema(model or "all models", rows))
    elif as_json:
        echo_json([_content(row) for row in rows])
    elif model is None:
        echo_rich(_overview(rows), "Prompts are counted in characters. stepfun-async models MODEL shows every rule.")
    else:
        echo_rich(*(part for row in rows for part in (_details(row), "")), *_legend(rows))


def _rows(model: str | None) -> tuple[Capability, ...]:
    try:
        return capabilities() if model is None else capabilities(model)
    except ConfigurationError as error:
        raise typer.BadParameter(rephrased(error.message), param_hint="MODEL") from error


def _schema(title: str, rows: Sequence[Capability]) -> dict[str, object]:
    """Return the schema of a request that one of the rows accepts."""
    if len(rows) == 1:
        return rows[0].json_schema()
    return {"$schema": DIALECT, "title": title, "anyOf": [request_schema(row) for row in rows]}


def _overview(rows: Sequence[Capability]) -> Table:
    table = Table(box=None, padding=(0, 2, 1, 0), pad_edge=False)
    for name in ("model", "price", "sizes, width x height"):
        table.add_column(name)
    for row in rows:
        table.add_row(_facts(row), _prices(row), _sizes(row))
    return table


def _facts(row: Capability) -> str:
    end = _end(row.lifecycle)
    facts = (
        row.model,
        row.operation,
        _range("steps", row.rules.get("steps")),
        _range("prompt", row.rules.get("prompt")),
        "ended" if end == "ended" else f"until {end}" if end else "",
    )
    return "\n".join(fact for fact in facts if fact)


def _prices(row: Capability) -> str:
    free = bool(row.prices) and not any(price.amount for price in row.prices.values())
    return "free" if free else "\n".join(str(price) for price in row.prices.values()) or "not known"


def _range(name: str, rule: Rule | None) -> str:
    return f"{name} {rule.minimum}-{rule.maximum}" if isinstance(rule, Integer | Text) else ""


def _sizes(row: Capability) -> str:
    rule = row.size_rule
    if isinstance(rule, AnySize):
        return "any"
    return "\n".join(size.label for size in rule.options) if rule else "as sent"


def _end(lifecycle: Lifecycle | None) -> str:
    if lifecycle is None:
        return ""
    return str(lifecycle.ends) if lifecycle.ends else "ended"


def _details(row: Capability) -> Table:
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        title=Line(_title(row)),
        title_justify="left",
        title_style="bold",
    )
    table.add_column("parameter", no_wrap=True)
    table.add_column(Line("allowed [where that is documented]"))
    for name, rule in row.rules.items():
        table.add_row(name, Line(rephrased(_rule(rule))))
    return table


def _rule(rule: Rule) -> str:
    default = "required" if rule.required else f"default: {rule.shown_default}" if rule.shown_default else ""
    facts = "; ".join(fact for fact in (default, rule.note) if fact)
    return "\n".join([*_allowed(rule), f"{facts} [{rule.source}]".lstrip()])


def _allowed(rule: Rule) -> list[str]:
    if not isinstance(rule, Sizes):
        return [rule.allowed]
    ratios = f"as a ratio: {', '.join(rule.ratios)}"
    return [*(size.label for size in rule.options), ratios, f"as the model's own text, {rule.order}"]


def _title(row: Capability) -> str:
    end = f"; ends on StepFun's own hosts: {_end(row.lifecycle)}" if row.lifecycle else ""
    plan = "; in the Step Plan" if row.step_plan else ""
    prices = _prices(row).replace("\n", " or ")
    return f"{row.model} {row.operation}: POST {row.endpoint.path} ({row.endpoint.body}); price: {prices}{plan}{end}"


def _legend(rows: Sequence[Capability]) -> list[str]:
    used = {rule.source for row in rows for rule in row.rules.values()}
    return [f"{source}: {where}" for source, where in SOURCES.items() if source in used]


def _content(row: Capability) -> dict[str, object]:
    return {
        "model": row.model,
        "operation": row.operation,
        "endpoint": _plain(row.endpoint),
        "prices": _plain(row.prices),
        "lifecycle": _plain(row.lifecycle),
        "step_plan": row.step_plan,
        "source": row.source,
        "rules": {name: _plain(rule) for name, rule in row.rules.items()},
    }


def _plain(value: object) -> object:
    """Convert `value` to what JSON can encode."""
    if isinstance(value, Rule):
        return {"kind": value.kind, "allowed": value.allowed, **_size_forms(value), **_fields(value)}
    if is_dataclass(value):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in cast("Mapping[object, object]", value).items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in cast("tuple[object, ...]", value)]
    return str(value) if isinstance(value, Decimal | date) else value


def _size_forms(rule: Rule) -> dict[str, object]:
    return {"wire_options": rule.wire_options, "ratios": rule.ratios} if isinstance(rule, Sizes) else {}


def _fields(value: object) -> dict[str, object]:
    if not is_dataclass(value):
        raise TypeError(type(value))
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
