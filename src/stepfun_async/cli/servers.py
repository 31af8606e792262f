"""`servers` and `server`: the server profiles, and the server at an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text as Line

from stepfun_async import Client, ConfigurationError, Server, ServerReport
from stepfun_async import servers as profiles
from stepfun_async._call.settings import resolve
from stepfun_async._core.profiles import Seeding
from stepfun_async._core.servers import DEFAULT_SERVER

from .console import echo, echo_json, echo_rich, spinner
from .errors import rephrased
from .options import NO_KEY, AllowHttp, AsJson, Timeout


def servers(
    name: Annotated[str | None, typer.Argument(metavar="SERVER", help="Show all facts about this server.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the profiles for --server: the operations and parameters of each server. Nothing is sent."""
    rows = _rows(name)
    if as_json:
        echo_json([_content(row) for row in rows])
    elif name is None:
        echo_rich(
            _overview(rows), "All facts about one: stepfun-async servers SERVER. Inspect one: stepfun-async server URL."
        )
    else:
        echo_rich(*map(_details, rows))


def server(
    url: Annotated[str, typer.Argument(metavar="URL", help="The URL of its API, such as http://localhost:8091/v1.")],
    timeout: Timeout = None,
    allow_http: AllowHttp = False,
    as_json: AsJson = False,
) -> None:
    """Show which profile fits the server at URL, and which features it has.

    Only GET requests are sent, which cost nothing. They carry the key of the environment, if there is one.
    """
    known = resolve(NO_KEY, url, allow_http=True).server
    profile = replace(known, needs_key=False) if known is DEFAULT_SERVER else known
    with Client(base_url=url, server=profile, allow_http=allow_http) as client, spinner(f"looking at {url}"):
        report = client.server.inspect(timeout=timeout)
    if as_json:
        echo_json(_report(report))
    else:
        echo(*report.lines())


def _rows(name: str | None) -> tuple[Server, ...]:
    try:
        return profiles() if name is None else (profiles(name),)
    except ConfigurationError as error:
        raise typer.BadParameter(rephrased(error.message), param_hint="SERVER") from error


def _overview(rows: tuple[Server, ...]) -> Table:
    table = Table(box=None, padding=(0, 1, 1, 0), pad_edge=False)
    for column in ("server", "what it is", "operations", "without a seed"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Line, (row.name, row.title, "\n".join(row.operations), _SEEDING[row.seeding])))
    return table


_SEEDING: Mapping[Seeding, str] = {"random": "random", "fixed": "drawn by the client", "not known": "not known"}


def _details(row: Server) -> Table:
    table = Table(title=Line(f"{row.name}: {row.title}"), title_justify="left", title_style="bold", show_header=False)
    for _ in range(2):
        table.add_column(overflow="fold")
    for fact, text in row.facts():
        table.add_row(fact, Line(text))
    return table


def _content(row: Server) -> dict[str, object]:
    routes = {
        operation: {"path": route.endpoint.path, "body": route.endpoint.body, "wire_names": dict(route.renamed)}
        for operation, route in row.routes.items()
    }
    parameters = {operation: list(route.rules) or None for operation, route in row.routes.items()}
    return {
        "name": row.name,
        "title": row.title,
        "address": row.address or None,
        "routes": routes,
        "parameters": parameters,
        "seeding": row.seeding,
        "headers": dict(row.headers),
        "needs_key": row.needs_key,
        "returns": row.returns,
        "errors": row.errors,
        "notes": list(row.notes),
        "source": row.source,
    }


def _report(report: ServerReport) -> dict[str, object]:
    return {
        "base_url": report.base_url,
        "server": report.server.name,
        "sign": report.sign or None,
        "models": list(report.models),
        "operations": dict(report.operations),
        "account": report.has_account,
        "refused_key": report.refused_key,
        "code": list(report.code),
    }
