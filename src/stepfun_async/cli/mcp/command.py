"""`mcp`: image tools for agents, until the client leaves."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from stepfun_async import AsyncClient, ConfigurationError, Limits, capabilities
from stepfun_async._call.settings import resolve

from ..console import is_open
from ..options import NO_KEY, TIMEOUT, AllowHttp, BaseUrl, ServerOption, Timeout, budget_of, register_unknown_model
from .folders import Folders


def mcp(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="The folder that images are saved to.")] = "images",
    read_folder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER",
            help="A folder that images may be read from; by default that of --out. Can be repeated. "
            "Nothing outside is read.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A model to offer; by default all that the server has. Can be repeated."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="AMOUNT", help="The most to spend, such as 5.00 or '30 CNY'; USD by default."),
    ] = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help=f"Calls in flight at once: {Limits().max_concurrency}."),
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Serve over streamable HTTP instead of stdio.")] = False,
    host: Annotated[str, typer.Option(help="With --http: the address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --http: the port; 0 for a free one.")] = 8808,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
    server: ServerOption = None,
    allow_http: AllowHttp = False,
) -> None:
    """Serve image tools to agents by the Model Context Protocol.

    The agent's program starts it, with these options, and speaks over stdin and stdout. With --http it serves on this
    machine, or on others too if STEPFUN_MCP_TOKEN is set, which clients then send as a bearer token.
    """
    if find_spec("mcp") is None:
        raise ConfigurationError('the MCP server needs mcp: pip install "stepfun-async[mcp]"')
    if not http and not (is_open(sys.stdin) and is_open(sys.stdout)):
        raise ConfigurationError("stdin or stdout is closed, over which the agent's program speaks; or give --http")
    from .running import run

    client = AsyncClient(
        base_url=base_url,
        server=server,
        allow_http=allow_http,
        limits=Limits() if max_concurrency is None else Limits(max_concurrency),
        budget=budget_of(budget),
        timeout=TIMEOUT if timeout is None else timeout,
    )
    folders = Folders.of(Path(out), tuple(map(Path, read_folder or ())))
    settings = resolve(NO_KEY, base_url, allow_http=allow_http, server=server)
    for name in model or ():
        register_unknown_model(name, base_url, server)
        capabilities(name)  # raises if there is none
    run(client, folders, settings, tuple(model or ()), (host, port) if http else None)
