"""The MCP server as clients reach it: started over stdio, and over streamable HTTP."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from starlette.testclient import TestClient

from stepfun_async import AsyncClient
from stepfun_async._call.settings import resolve
from stepfun_async.cli.mcp.folders import Folders
from stepfun_async.cli.mcp.server import ImageTools, server_for
from stepfun_async.cli.mcp.tools import Offer
from stepfun_async.cli.mcp.transports import TOKEN_VARIABLE, _app, _Draining, is_loopback
from stepfun_async.testing import run
from tests.cli.conftest import Run

COMMAND = [sys.executable, "-m", "stepfun_async.cli", "mcp"]
TOKEN = "a-token-of-the-test"
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
INITIALIZE = {"method": "initialize", "params": HELLO}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_starts_it_over_stdio(folder: Path) -> None:
    """With a budget that is used up in the middle, and warnings and paths on stderr only."""
    arguments = [*COMMAND[1:], "--out", "made", "--budget", "0.004", "--base-url", "embedded"]
    server = StdioServerParameters(command=COMMAND[0], args=arguments, cwd=folder)
    with (folder / "errors.txt").open("w") as errors:
        async with Client(stdio_client(server, errlog=errors)) as client:
            made = await client.call_tool("generate_image", {"prompt": "A lake", "negative_prompt": "people"})
            refused = await client.call_tool("generate_image", {"prompt": "A lake"})
    assert (made.is_error, refused.is_error) == (False, True)
    facts: dict[str, Any] = made.structured_content
    assert Path(facts["path"]) == folder / "made" / "a-lake.png"
    assert Path(facts["path"]).is_file()
    said = (folder / "errors.txt").read_text()
    assert said.startswith("warning: negative_prompt has no effect")
    assert said.endswith("bill: 1 image, 0.003 USD\n")


def test_a_signal_ends_it_although_stdin_is_open(folder: Path) -> None:
    command = [*COMMAND, "--base-url", "embedded"]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=folder, **pipes, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, **INITIALIZE}) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"]["serverInfo"]["name"] == "stepfun-async"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "bill: 0 images\n"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_streams_that_http_clients_listen_to(folder: Path, stop: signal.Signals) -> None:
    command = [*COMMAND, "--http", "--port", "0", "--base-url", "embedded"]
    accept = {"accept": "application/json, text/event-stream"}
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]
        with httpx2.Client(timeout=60) as http:
            session = http.post(url, json={"jsonrpc": "2.0", "id": 1, **INITIALIZE}, headers=accept).headers
            headers = {**accept, "mcp-session-id": session["mcp-session-id"]}
            with http.stream("GET", url, headers=headers) as stream:
                process.send_signal(stop)
                stream.read()  # ends as it should
        assert process.wait(60) == 0
        assert process.stderr.read() == "Ctrl-C ends it.\nbill: 0 images\n"


@pytest.mark.parametrize(
    ("method", "begun", "seconds", "ending"),
    [
        ("GET", True, 0, [{"type": "http.response.body"}]),
        ("POST", True, 2, [{"type": "http.response.body"}]),
        ("POST", False, 2, 503),
    ],
)
def test_a_server_that_stops_ends_streams_at_once_and_calls_after_two_seconds(
    method: str, begun: bool, seconds: int, ending: object
) -> None:
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    async def stop_at_once() -> float:
        draining: Any = _Draining(application)
        scope: dict[str, Any] = {"type": "http", "method": method, "path": "/mcp", "headers": []}
        async with anyio.create_task_group() as group:
            group.start_soon(draining, scope, anyio.sleep_forever, send)
            await anyio.wait_all_tasks_blocked()
            draining.drain()
        return anyio.current_time()

    assert run(stop_at_once) == seconds
    assert sent[1:] == ending if begun else sent[0]["status"] == ending


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_without_stdin_or_stdout_there_is_no_agent(folder: Path, closed: str) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, "--base-url", "embedded"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    message = "error: stdin or stdout is closed, over which the agent's program speaks; or give --http\n"
    assert (done.returncode, done.stderr) == (3, message)


@contextmanager
def served(folder: Path, *options: str, token: str | None = None) -> Iterator[str]:
    """The URL of a server over HTTP, in a process of its own."""
    environment = {"STEP_BASE_URL": "embedded", "PATH": "/usr/bin", **({TOKEN_VARIABLE: token} if token else {})}
    command = [*COMMAND, "--http", "--port", "0", "--out", "made", *options]
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = re.fullmatch(r"MCP server: (http://\S+/mcp)\n", process.stderr.readline())
        assert found
        yield found[1]
    finally:
        process.terminate()
        bill = process.communicate()[1]
        assert bill.endswith("bill: 2 images, 0.006 USD\n")
    assert process.returncode == 0


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_clients_reach_it_over_http_with_the_token(folder: Path) -> None:
    with served(folder, token=TOKEN) as url:
        async with httpx2.AsyncClient() as stranger:
            for headers in ({}, {"authorization": "Bearer other"}, {"authorization": f"Basic {TOKEN}"}):
                assert (await stranger.post(url, json={}, headers=headers)).status_code == 401
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=60) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
            Client(streamable_http_client(url, http_client=http)) as other,
        ):
            with anyio.fail_after(60):
                made = await client.call_tool("generate_image", {"prompt": "A lake"})
                edited = await other.call_tool("edit_image", {"prompt": "Night", "image": "a-lake.png"})
            assert not made.is_error
            assert not edited.is_error
            spent: dict[str, Any] = edited.structured_content
            assert spent["spent_so_far"] == {"USD": "0.006"}, "one account for all clients"


def test_pages_of_other_sites_do_not_reach_it(folder: Path) -> None:
    """What a browser on this machine sends for a page of another site, whose name may even lead here."""
    settings = resolve(None, "embedded")
    tools = ImageTools(AsyncClient(base_url="embedded"), Folders.of(folder, ()), settings, Offer(settings.server))
    accept = {"accept": "application/json, text/event-stream"}
    with TestClient(_app(server_for(tools), "127.0.0.1", 8808), base_url="http://127.0.0.1:8808") as browser:
        for headers in ({"origin": "https://elsewhere.test"}, {"host": "elsewhere.test"}):
            assert browser.post("/mcp", json={}, headers=accept | headers).status_code in (403, 421)
        assert browser.post("/mcp", json={}, headers=accept).status_code == 400


def test_other_machines_need_a_token(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    ran = cli("mcp", "--http", "--host", "0.0.0.0", "--port", "0")
    assert ran.code == 3
    assert "set STEPFUN_MCP_TOKEN" in ran.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--read-folder", "nope"], 2, "nope"),
        (["--budget", "much"], 2, "much"),
        (["--model", "nope"], 3, "nope"),
        (["--server", "nope"], 3, "nope"),
        (["--http", "--host", "999.1.1.1"], 3, "999.1.1.1"),
        (["--max-concurrency", "0"], 3, "0"),
    ],
)
def test_bad_options_are_named(cli: Run, options: list[str], code: int, said: str) -> None:
    ran = cli("mcp", *options)
    assert ran.code == code
    assert said in ran.err


def test_without_the_extra_the_line_that_installs_it_is_named(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepfun_async.cli.mcp.command.find_spec", lambda name: None)
    ran = cli("mcp")
    assert ran.code == 3
    assert 'pip install "stepfun-async[mcp]"' in ran.err


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False)],
)
def test_which_hosts_are_this_machine_s_own(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
