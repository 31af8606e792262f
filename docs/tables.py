"""Writes the tables of models in README.md and docs/models.md from the code's own tables: `make docs`."""

from __future__ import annotations

import re
from pathlib import Path

from stepfun_async import Capability, capabilities

ROOT = Path(__file__).parent.parent
_BEGIN, _END = "<!-- models: made from the tables by `make docs` -->", "<!-- end of models -->"
_NAMES = {"text_to_image": "text to image", "edit": "edit", "image_to_image": "image to image"}


def summary() -> str:
    """README's table: a line for each model and operation."""
    head = "| model | operation | sizes, width x height | steps | cfg_scale | prompt | price | StepFun's hosts |"
    return "\n".join([head, "|---" * 8 + "|", *map(_line, capabilities())])


def details() -> str:
    """docs/models.md: every rule of every row."""
    parts = [
        "# Models",
        (
            "Made by `make docs` from the tables that the code validates with. Sizes are width x height unless said"
            " otherwise; all ranges include their ends unless they say 'above'."
        ),
    ]
    for row in capabilities():
        parts += [f"## {row.model}: {_NAMES[row.operation]}", _facts(row), _rules(row)]
    return "\n\n".join(parts) + "\n"


def _line(row: Capability) -> str:
    rules = row.rules
    sizes = ", ".join(f"{size.width}x{size.height}" for size in row.sizes.options) if row.sizes else "the picture's own"
    ranges = [_short(rules[name].allowed) for name in ("steps", "cfg_scale", "prompt")]
    cells = [f"`{row.model}`", _NAMES[row.operation], sizes, *ranges, _price(row), _end(row)]
    return f"| {' | '.join(cells)} |"


def _facts(row: Capability) -> str:
    lines = [
        f"* `POST {row.endpoint.path}`, {'JSON' if row.endpoint.body == 'json' else 'multipart form'}",
        f"* price: {_price(row)}",
        f"* on StepFun's own hosts: {_end(row)}",
        f"* Step Plan: {'yes' if row.step_plan else 'no'}",
    ]
    return "\n".join(lines)


def _rules(row: Capability) -> str:
    lines = ["| parameter | allowed | default | note | source |", "|---|---|---|---|---|"]
    for name, rule in row.rules.items():
        default = "required" if rule.required else _default(rule.default)
        lines.append(f"| `{name}` | {rule.allowed} | {default} | {rule.note} | {rule.source} |")
    return "\n".join(lines)


def _default(value: object) -> str:
    return "" if value is None else f"`{value!r}`" if isinstance(value, str) else f"{value}"


def _short(allowed: str) -> str:
    return re.sub(r"^(a whole number|a number|text) (from|of) ", "", allowed).replace(" characters", "")


def _price(row: Capability) -> str:
    if not row.prices:
        return "not known"
    if all(not money.amount for money in row.prices.values()):
        return "was free"
    return ", ".join(str(money) for money in row.prices.values())


def _end(row: Capability) -> str:
    if row.lifecycle is None:
        return "served"
    if row.lifecycle.ends is None:
        return "ended"
    then = f", then `{row.lifecycle.successor}`" if row.lifecycle.successor else ""
    return f"until {row.lifecycle.ends}{then}"


def with_summary(readme: str) -> str:
    """README's text with its table of models as the code has it."""
    before, _, rest = readme.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{summary()}\n{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    page, models = ROOT / "README.md", ROOT / "docs" / "models.md"
    page.write_text(with_summary(page.read_text()))
    models.write_text(details())
