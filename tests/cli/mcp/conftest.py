"""What the tests of the MCP server share: the official client on the tools, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client as MCPClient
from mcp_types import CallToolResult

from stepfun_async import AsyncClient, Budget, Limits
from stepfun_async._call.settings import resolve
from stepfun_async.cli.mcp.folders import Folders
from stepfun_async.cli.mcp.server import ImageTools, server_for
from stepfun_async.cli.mcp.tools import Offer
from stepfun_async.embedded import EmbeddedTransport, Engine


@dataclass
class Agent:
    """An MCP client, with the server that it speaks to."""

    mcp: MCPClient
    engine: Engine
    client: AsyncClient
    out: Path

    async def call(self, tool: str, /, **arguments: Any) -> CallToolResult:
        return await self.mcp.call_tool(tool, arguments)

    async def facts(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """What a call answers for programs."""
        answer = await self.call(tool, **arguments)
        assert not answer.is_error, answer.content
        content: dict[str, Any] = answer.structured_content
        return content

    async def refusal(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        answer = await self.call(tool, **arguments)
        assert answer.is_error, answer.content
        content: dict[str, Any] = answer.structured_content
        return content


Agents = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def agents(tmp_path: Path) -> Agents:
    """Starts servers in this process, each with an engine of its own."""

    @asynccontextmanager
    async def agent(
        engine: Engine | None = None,
        *,
        read: tuple[Path, ...] = (),
        models: tuple[str, ...] = (),
        budget: str | None = None,
        slots: int = 5,
    ) -> AsyncIterator[Agent]:
        engine = engine or Engine()
        out = tmp_path / "out"
        async with AsyncClient(
            base_url="embedded",
            transport=EmbeddedTransport(engine),
            budget=None if budget is None else Budget(budget),
            limits=Limits(slots),
        ) as client:
            settings = resolve(None, "embedded")
            tools = ImageTools(client, Folders.of(out, read), settings, Offer(settings.server, models))
            async with MCPClient(server_for(tools), mode="legacy") as mcp:
                yield Agent(mcp, engine, client, out)

    return agent
