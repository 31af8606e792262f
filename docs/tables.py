"""Writes the tables in README.md and docs from the code's own tables: `make docs`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stepfun_async import Capability, Server, batch_schema, capabilities, servers
from stepfun_async._core.capabilities import ENDPOINTS, TIERS, Operation, Region
from stepfun_async._core.outcomes import (
    BILLING_RULES,
    GATEWAY_TEXTS,
    OTHERS,
    STATUSES,
    BillingRule,
    GatewayText,
    StatusOutcome,
)
from stepfun_async._core.rules import Choice, Integer, Number
from stepfun_async.embedded.faults import KINDS, KindFacts

ROOT = Path(__file__).parent.parent
_BEGIN, _END = "<!-- models: made from the tables by `make docs` -->", "<!-- end of models -->"
_FAULTS, _FAULTS_END = "<!-- faults: made from the code by `make docs` -->", "<!-- end of faults -->"
_OUTCOMES, _OUTCOMES_END = "<!-- outcomes: made from the code by `make docs` -->", "<!-- end of outcomes -->"
_TEXTS, _TEXTS_END = "<!-- texts: made from the code by `make docs` -->", "<!-- end of texts -->"
_TIERS, _TIERS_END = "<!-- tiers: made from the code by `make docs` -->", "<!-- end of tiers -->"
_SERVERS, _SERVERS_END = "<!-- servers: made from the code by `make docs` -->", "<!-- end of servers -->"
_NAMES = {"text_to_image": "text to image", "edit": "edit", "image_to_image": "image to image"}


def summary() -> str:
    """README's table: a line for each model and operation."""
    head = (
        "| model | operation | sizes in pixels, width x height | steps | cfg_scale | prompt | price | StepFun's hosts |"
    )
    return "\n".join([head, "|---" * 8 + "|", *map(_line, capabilities())])


def details() -> str:
    """docs/models.md: every rule of every row."""
    parts = [
        "# Models",
        (
            "Made by `make docs` from the tables that the code validates with. Sizes are width x height;"
            " all ranges include their ends unless they say 'above'."
        ),
    ]
    for row in capabilities():
        parts += [f"## {row.model}: {_NAMES[row.operation]}", _facts(row), _rules(row)]
    return "\n\n".join(parts) + "\n"


def _line(row: Capability) -> str:
    rules = row.rules
    sizes = ", ".join(size.label for size in row.sizes.options) if row.sizes else "the image's own"
    ranges = [_short(rules[name].allowed) for name in ("steps", "cfg_scale", "prompt")]
    cells = [f"`{row.model}`", _NAMES[row.operation], sizes, *ranges, _price(row), _end(row)]
    return f"| {' | '.join(cells)} |"


def _facts(row: Capability) -> str:
    lines = [
        f"* `POST {row.endpoint.path}`, {'JSON' if row.endpoint.body == 'json' else 'multipart form'}",
        f"* price: {_price(row)}{f' ({row.price_source})' if row.price_source else ''}",
        f"* on StepFun's own hosts: {_end(row)}",
        f"* Step Plan: {'yes' if row.step_plan else 'no'}",
    ]
    return "\n".join(lines)


def _rules(row: Capability) -> str:
    lines = ["| parameter | allowed | server's default | note | source |", "|---|---|---|---|---|"]
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


def faults() -> str:
    """docs/embedded.md's table: a line for each kind of fault."""
    head = "| fault | what happens | billed? | takes |\n|---|---|---|---|"
    return "\n".join([head, *(_fault(kind, facts) for kind, facts in KINDS.items())])


def _fault(kind: str, facts: KindFacts) -> str:
    statuses = ", ".join(str(status) for status in facts.statuses)
    name = statuses if kind == "status" else f"`{kind}`"
    seconds = ["seconds (429 and 503 only)" if kind == "status" else "seconds"] if facts.seconds else []
    takes = [*(["a status"] if facts.statuses and kind != "status" else []), *seconds]
    return f"| {name} | {facts.meaning} | {'yes' if facts.bills else 'no'} | {', '.join(takes)} |"


def outcomes() -> str:
    """docs/failures.md's table: a line for each event, then one for each status."""
    head = "| what happened | `.billing` | retried? |\n|---|---|---|"
    events = [f"| {outcome.meaning} | {_billing(outcome)} | {_again(outcome)} |" for outcome in BILLING_RULES.values()]
    named = {f"status {status}": outcome for status, outcome in STATUSES.items()}
    others = {f"any other {digit}xx": outcome for digit, outcome in OTHERS.items()}
    lines = [line for name, outcome in (named | others).items() for line in _status_lines(name, outcome)]
    return "\n".join([head, *events, *lines])


def _status_lines(name: str, outcome: StatusOutcome) -> list[str]:
    what = f"{name}: {outcome.meaning}"
    if outcome.refusal is None:
        return [f"| {what} | {outcome.billing} | {_ONLY if outcome.billing == 'unknown' else 'no'} |"]
    again = "yes, after a wait" if outcome.again else "no"
    return [
        f"| {what}, in the API's own words or in one of the texts below | {outcome.refusal} | {again} |",
        f"| {what}, in other words | {outcome.billing} | {_ONLY} |",
    ]


def gateway_texts() -> str:
    """docs/failures.md's second table: a line for each text that proves that nothing was sent on."""
    head = "| gateway, status | text | what happened | seen in |\n|---|---|---|---|"
    return "\n".join([head, *(_text(row) for row in GATEWAY_TEXTS)])


def _text(row: GatewayText) -> str:
    return f"| {row.gateway}, {row.status} | `{row.example}` | {row.meaning} | {row.source} |"


def _billing(outcome: BillingRule) -> str:
    same = outcome.before == outcome.after
    return outcome.after if same else f"{outcome.before} before a byte of the body left, {outcome.after} after"


_ONLY = "only with `retry_unknown=True`"


def _again(outcome: BillingRule) -> str:
    if outcome.over:
        return "no: the call is over"
    if outcome.before != outcome.after:
        return f"where not_sent; else {_ONLY}"
    return {"not_sent": "yes", "unknown": _ONLY, "executed": "no", "rejected": "no"}[outcome.after]


def tiers() -> str:
    """docs/limits.md's table: a line for each tier."""
    head = "| tier | international: concurrency / requests per minute | China |\n|---|---|---|"
    names = sorted({name for tiers in TIERS.values() for name in tiers})
    return "\n".join(
        [head, *(f"| `{name}` | {_tier('international', name)} | {_tier('china', name)} |" for name in names)]
    )


def _tier(region: Region, name: str) -> str:
    tier = TIERS[region].get(name)
    return f"{tier.max_concurrency:,} / {tier.requests_per_minute:,}" if tier else "not there"


def between(text: str, begin: str, end: str, content: str) -> str:
    """`text` with `content` between its markers `begin` and `end`."""
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


_PARAMETERS = (
    "size",
    "n",
    "response_format",
    "seed",
    "steps",
    "cfg_scale",
    "negative_prompt",
    "text_mode",
    "source_weight",
)


def server_profiles() -> str:
    """docs/servers.md: a line for each server and operation, with the server's names of the parameters."""
    head = f"| server | operation | {' | '.join(_PARAMETERS)} | known from |"
    lines = [_served(server, operation) for server in servers() for operation in server.operations]
    return "\n".join([head, "|---" * (len(_PARAMETERS) + 3) + "|", *lines])


def _served(server: Server, operation: Operation) -> str:
    route = server.routes[operation]
    if server.verbatim:
        names = ["as the model has them", *[""] * (len(_PARAMETERS) - 1)]
    else:
        names = [_wire(name, server, operation) for name in _PARAMETERS]
    path = "" if route.endpoint == ENDPOINTS[operation] else f" (`{route.endpoint.path}`)"
    return f"| `{server.name}` | {_NAMES[operation]}{path} | {' | '.join(names)} | {server.source} |"


def _wire(name: str, server: Server, operation: Operation) -> str:
    route = server.routes[operation]
    rule = route.rules.get(name)
    if rule is None:
        return ""
    inside = " in the prompt" if name in route.renamed and route.tag else ""
    wire = f"`{route.renamed.get(name, name).rpartition('.')[2]}`{inside}"
    limits = f", {_short(rule.allowed)}" if isinstance(rule, Integer | Number) and name != "seed" else ""
    return f"{wire}{', ' + rule.wire_allowed if isinstance(rule, Choice) else limits}"


def pages() -> dict[Path, str]:
    """Every page that has a table of the code's in it, with that table as the code has it."""
    readme, docs = ROOT / "README.md", ROOT / "docs"
    embedded, failures, limits = docs / "embedded.md", docs / "failures.md", docs / "limits.md"
    return {
        readme: between(readme.read_text(), _BEGIN, _END, summary()),
        embedded: between(embedded.read_text(), _FAULTS, _FAULTS_END, faults()),
        failures: between(
            between(failures.read_text(), _OUTCOMES, _OUTCOMES_END, outcomes()), _TEXTS, _TEXTS_END, gateway_texts()
        ),
        limits: between(limits.read_text(), _TIERS, _TIERS_END, tiers()),
        docs / "models.md": details(),
        docs / "servers.md": between((docs / "servers.md").read_text(), _SERVERS, _SERVERS_END, server_profiles()),
        **{docs / "schemas" / name: f"{json.dumps(schema, indent=1)}\n" for name, schema in schemas().items()},
    }


def schemas() -> dict[str, dict[str, Any]]:
    """docs/schemas: a file for each row, and one for a line of a batch."""
    rows = {f"{row.model}.{row.operation}.schema.json": row.json_schema() for row in capabilities()}
    return {"line.schema.json": batch_schema(), **rows}


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text)
