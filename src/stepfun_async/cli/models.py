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
from stepfun_async._core.rules import Integer, Rule, Sizes, Text

from .console import say_json, say_rich
from .errors import reworded
from .options import AsJson


def models(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Show every rule of this model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the models with their parameters and prices. Nothing is sent."""
    rows = _rows(model)
    if as_json:
        say_json([_content(row) for row in rows])
    elif model is None:
        say_rich(_overview(rows), "Sizes are width x height. stepfun-async models MODEL shows every rule.")
    else:
        say_rich(*(_details(row) for row in rows), *_legend(rows))


def _rows(model: str | None) -> tuple[Capability, ...]:
    try:
        return capabilities() if model is None else capabilities(model)
    except ConfigurationError as error:
        raise typer.BadParameter(reworded(error.message), param_hint="MODEL") from error


def _overview(rows: Sequence[Capability]) -> Table:
    table = Table(box=None, padding=(0, 1, 1, 0), pad_edge=False)
    for name in ("model", "operation", "price", "steps", "prompt", "sizes", "ends"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            row.model,
            row.operation,
            _prices(row),
            _range(row.rules.get("steps")),
            _range(row.rules.get("prompt")),
            _sizes(row),
            _end(row.lifecycle),
        )
    return table


def _prices(row: Capability) -> str:
    free = bool(row.prices) and not any(price.amount for price in row.prices.values())
    return "free" if free else "\n".join(str(price) for price in row.prices.values()) or "not known"


def _range(rule: Rule | None) -> str:
    return f"{rule.minimum}-{rule.maximum}" if isinstance(rule, Integer | Text) else ""


def _sizes(row: Capability) -> str:
    rule = row.sizes
    return "\n".join(f"{size.width}x{size.height}" for size in rule.options) if rule else "as sent"


def _end(lifecycle: Lifecycle | None) -> str:
    if lifecycle is None:
        return ""
    return str(lifecycle.ends) if lifecycle.ends else "ended"


def _details(row: Capability) -> Table:
    table = Table(title=Line(_title(row)), title_justify="left", title_style="bold")
    for name in ("parameter", "allowed", "default", "source"):
        table.add_column(name, overflow="fold")
    for name, rule in row.rules.items():
        default = "required" if rule.required else "" if rule.default is None else repr(rule.default)
        allowed = f"{rule.allowed}; {rule.note}" if rule.note else rule.allowed
        table.add_row(name, Line(reworded(allowed)), Line(default), rule.source)
    return table


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
        return {"kind": value.kind, "allowed": value.allowed, **_ways(value), **_fields(value)}
    if is_dataclass(value):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in cast("Mapping[object, object]", value).items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in cast("tuple[object, ...]", value)]
    return str(value) if isinstance(value, Decimal | date) else value


def _ways(rule: Rule) -> dict[str, object]:
    return {"wire_options": rule.wire_options, "ratios": rule.ratios} if isinstance(rule, Sizes) else {}


def _fields(value: object) -> dict[str, object]:
    if not is_dataclass(value):
        raise TypeError(type(value))
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
