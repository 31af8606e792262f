"""The options of the commands of `batch`, and the values made from them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

import typer

from stepfun_async import InvalidRequestError, Limits, Problem, StepFunError
from stepfun_async._call.settings import resolve

from ..options import NO_KEY, complete_model, complete_tier

Inputs = Annotated[
    str,
    typer.Argument(
        metavar="INPUTS",
        help="A .jsonl, .json, .csv, .tsv or .parquet file, a .txt with a prompt per line, a folder of .txt "
        "files, or - for stdin.",
    ),
]
Folder = Annotated[str, typer.Argument(metavar="OUT", help="The folder of the batch.")]
Out = Annotated[
    str, typer.Option("--out", "-o", metavar="FOLDER", help="The folder for images and journal, on a local disk.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        autocompletion=complete_model,
        help="Default model for lines that do not specify one.",
    ),
]
Defaults = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Default value of a field, such as steps=8. Can be repeated."),
]
Tier = Annotated[
    str | None,
    typer.Option(
        metavar="TIER",
        autocompletion=complete_tier,
        help="The limits of the account's tier, V0 to V4; in China V5 too.",
    ),
]
Concurrency = Annotated[
    int | None, typer.Option(metavar="NUMBER", help=f"Calls in flight at once: {Limits().max_concurrency}.")
]
Rpm = Annotated[int | None, typer.Option(metavar="NUMBER", help="Requests per minute; unlimited by default.")]
Variations = Annotated[
    int,
    typer.Option(metavar="NUMBER", help="Images per line, with seeds that count up. Each counts as a line of its own."),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="AMOUNT", help="The most that all runs together may spend, such as 5.00 or '30 CNY'; USD by default."
    ),
]


def parse_fields(texts: list[str]) -> dict[str, Any]:
    """Parse the fields of `--set`: values as JSON, anything else as text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise _invalid("set", text, "FIELD=VALUE, such as steps=8")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def in_options(error: StepFunError) -> StepFunError:
    """Return an error about the defaults in terms of the options."""
    if not isinstance(error, InvalidRequestError):
        return error
    problems = (
        problem if problem.field == "model" else replace(problem, field="set", given=f"{problem.field}={problem.given}")
        for problem in error.problems
    )
    return InvalidRequestError.of("the defaults for all lines", tuple(problems))


def limits_of(
    tier: str | None, concurrency: int | None, rpm: int | None, base_url: str | None, server: str | None
) -> Limits:
    """Return the limits of the tier, with the given numbers in place of its own."""
    region = resolve(NO_KEY, base_url, allow_http=True, server=server).region or "international"
    base = Limits() if tier is None else Limits.tier(tier, region=region)
    return Limits(concurrency or base.max_concurrency, rpm or base.requests_per_minute)


def _invalid(field: str, given: str, allowed: str) -> InvalidRequestError:
    return InvalidRequestError.of("the command line", (Problem(field, given, allowed),))
