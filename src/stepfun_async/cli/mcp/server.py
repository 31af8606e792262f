"""The server: each tool as a call of the SDK's client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
from mcp.server import Server, ServerRequestContext
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    Tool,
    ToolAnnotations,
)

from stepfun_async import (
    AsyncClient,
    ImagesResponse,
    InvalidRequestError,
    Problem,
    SaveError,
    StepFunError,
)
from stepfun_async._core.problems import plain
from stepfun_async._core.requests import ImageRequest
from stepfun_async._core.rules import closest
from stepfun_async._core.server import Settings
from stepfun_async._core.version import __version__

from ..check import price_of
from ..generate import METHODS
from . import tools
from .folders import Folders
from .results import error_result, image_result, money_facts, tool_result

HEARTBEAT = 5.0
"""Seconds between two reports of progress, so that clients with a timeout do not give up."""

_INSTRUCTIONS = (
    "Makes images with StepFun's models. check_image_request is free: use it before a costly call. "
    "Images are saved as files; give the path of one to edit_image or image_to_image to work on it."
)

Context = ServerRequestContext[Any, Any]


@dataclass(slots=True)
class ImageTools:
    """The tools of one server.

    Attributes:
        client: sends the calls; its limits and budget hold for all sessions together.
        folders: where images are read and written.
        settings: the client's, which prices depend on.
        offer: the models that the tools offer.
        saving: the paths of the images of calls in flight, without extension.
    """

    client: AsyncClient
    folders: Folders
    settings: Settings
    offer: tools.Offer
    saving: set[Path] = field(default_factory=set[Path])

    async def call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Return the result of a tool. Errors of the SDK are results too, which an agent can act on."""
        arguments = params.arguments or {}
        try:
            if params.name in tools.TOOLS:
                return await self._make(context, params.name, arguments)
            if params.name == tools.CHECK:
                return await anyio.to_thread.run_sync(self._check, arguments)
            if params.name == tools.MODELS:
                return self._models(arguments)
            raise _unknown("tool", params.name, (*tools.TOOLS, tools.CHECK, tools.MODELS), "the tools")
        except StepFunError as error:
            return error_result(error, self.client)

    # --- tools that make an image

    async def _make(self, context: Context, tool: str, arguments: Mapping[str, object]) -> CallToolResult:
        await context.session.report_progress(0, None, "checking the arguments")
        request = await anyio.to_thread.run_sync(self._request, tool, arguments)
        price, notices = price_of(request, self.settings), request.notices()
        stem = self.folders.new_stem(request.prompt or "", self.saving)
        self.saving.add(stem)
        try:
            response = await self._send(context, request, stem)
        except SaveError as error:
            response = self._save_under_other_name(error, request)
        finally:
            self.saving.discard(stem)
        return await anyio.to_thread.run_sync(image_result, response, self.client, price, notices)

    def _save_under_other_name(self, error: SaveError, request: ImageRequest) -> ImagesResponse:
        """Return the response, saved under another name, since another program may just have created the first one.

        Raises:
            SaveError: `error` itself, if it cannot be saved under that name either.
        """
        image = error.response.image
        try:
            path = image.save(self.folders.new_stem(request.prompt or "", self.saving))
        except SaveError:
            raise error from None
        return replace(error.response, data=(replace(image, path=path, data=None),))

    def _request(self, tool: str, arguments: Mapping[str, object]) -> ImageRequest:
        """Return the request from the arguments of a tool.

        Raises:
            InvalidRequestError: it is invalid.
        """
        request = tools.request_of(tool, self.folders.resolve_paths(tool, arguments), self.offer)
        if problems := request.read(self.settings.server).problems():
            raise InvalidRequestError.of(tool, problems)
        return request

    async def _send(self, context: Context, request: ImageRequest, stem: Path) -> ImagesResponse:
        outcome: ImagesResponse | StepFunError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(_report, context, request.model)
            try:
                outcome = await self._method(request)(save_to=str(stem))
            except StepFunError as error:  # the group would wrap it
                outcome = error
            finally:
                group.cancel_scope.cancel()
        if isinstance(outcome, ImagesResponse):
            return outcome
        raise outcome or AssertionError("the group ended without an outcome")

    def _method(self, request: ImageRequest) -> Callable[..., Awaitable[ImagesResponse]]:
        """Return the client's method for a request, with its parameters."""
        method = getattr(self.client.images, METHODS[request.operation])
        return partial(method, model=request.model, **request.given())

    # --- tools that cost nothing

    def _check(self, arguments: Mapping[str, object]) -> CallToolResult:
        tool, given = arguments.get("tool"), arguments.get("arguments")
        if not isinstance(tool, str) or tool not in tools.TOOLS:
            raise _unknown("tool", tool, tuple(tools.TOOLS), "one of the tools")
        if not isinstance(given, dict):
            raise InvalidRequestError.of(tools.CHECK, (Problem("arguments", plain(given), "an object"),))
        request = self._request(tool, cast("dict[str, object]", given))
        price = price_of(request, self.settings)
        facts = {"valid": True, "price": None if price is None else str(price), "notices": list(request.notices())}
        cost = "its price is not known" if price is None else f"it would cost {price}"
        text = [f"The arguments are valid; {cost}. Nothing was sent.", *request.notices()]
        return tool_result("\n".join(text), {**facts, **money_facts(self.client)})

    def _models(self, arguments: Mapping[str, object]) -> CallToolResult:
        if arguments:
            problems = (Problem(name, plain(value), "no arguments") for name, value in arguments.items())
            raise InvalidRequestError.of(tools.MODELS, tuple(problems))
        facts = [tools.model_facts(row) for row in self.offer.rows()]
        lines = [f"{fact['model']} ({fact['tool']}): {fact['sizes']}; {fact['prices']}" for fact in facts]
        return tool_result("\n".join(lines), {"models": facts, **money_facts(self.client)})


async def _report(context: Context, model: str) -> None:
    """Report progress until cancelled: the seconds so far, since the total is unknown."""
    began = anyio.current_time()
    while True:
        elapsed = anyio.current_time() - began
        await context.session.report_progress(1 + elapsed, None, f"{model} is at work ({elapsed:.0f} s)")
        await anyio.sleep(HEARTBEAT)


def _unknown(field: str, given: object, known: tuple[str, ...], what: str) -> InvalidRequestError:
    allowed = f"{what}: {', '.join(known)}"
    return InvalidRequestError.of("the call", (Problem(field, plain(given), allowed, "", closest(given, known)),))


def server_for(image_tools: ImageTools) -> Server[Any]:
    """Return an MCP server with the tools, for any of the protocol's transports."""

    async def list_tools(context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_tool(facts) for facts in tools.describe_tools(image_tools.offer)])

    return Server(
        "stepfun-async",
        version=__version__,
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=image_tools.call,
    )


def _tool(facts: tools.ToolFacts) -> Tool:
    hints = ToolAnnotations(
        read_only_hint=facts.reads_only,
        destructive_hint=False,
        idempotent_hint=facts.reads_only,
        open_world_hint=not facts.reads_only,
    )
    return Tool(name=facts.name, description=facts.description, input_schema=facts.schema, annotations=hints)
