"""Running the server: its client, its tools and the transport, until the client leaves or Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys

import anyio

from stepfun_async import AsyncClient, Usage
from stepfun_async._core.server import Settings

from ..console import counted, echo_stderr, format_money
from .folders import Folders
from .server import ImageTools, server_for
from .tools import Offer
from .transports import TOKEN_VARIABLE, serve_http, serve_stdio


def run(
    client: AsyncClient,
    folders: Folders,
    settings: Settings,
    models: tuple[str, ...],
    address: tuple[str, int] | None,
) -> None:
    """Serve until the client leaves, or until Ctrl-C.

    Args:
        client: sends the calls, and is closed at the end.
        folders: where images are read and written.
        settings: the client's.
        models: the models to offer; none for all of the tables.
        address: the host and the port for HTTP; `None` for stdio.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tools = ImageTools(client, folders, settings, Offer(settings.server, models))
    try:
        anyio.run(_serve, tools, address)
    except KeyboardInterrupt:  # the usual end of a server
        pass
    finally:
        echo_stderr(f"bill: {_bill(client.usage)}")


async def _serve(tools: ImageTools, address: tuple[str, int] | None) -> None:
    async with tools.client:
        if address is None:
            if sys.stdin.isatty():
                echo_stderr("An agent's program starts this server and speaks to it; Ctrl-D ends it.")
            await serve_stdio(server_for(tools))
        else:
            await serve_http(server_for(tools), *address, os.environ.get(TOKEN_VARIABLE) or None, _print_banner)


def _bill(usage: Usage) -> str:
    """Return what was made, what it cost, and what may have been charged besides."""
    spent = f", {format_money(usage.spent)}" if usage.spent else ""
    unknown = f"; {usage.maybe_billed} more may have been billed" if usage.maybe_billed else ""
    return f"{counted(usage.billed, 'image')}{spent}{unknown}"


def _print_banner(url: str) -> None:
    echo_stderr(f"MCP server: {url}", "Ctrl-C ends it.")
