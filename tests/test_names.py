"""Names of hosts are looked up in threads that hold up no other call."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest

from stepfun_async import APITimeoutError, AsyncClient, Client
from stepfun_async._transport import host_names as names
from stepfun_async._transport import pool as connections
from tests.support.raw import raw_server, say
from tests.support.responses import image_response

pytestmark = pytest.mark.anyio

REAL = socket.getaddrinfo


class NameServer:
    """Stands in for the system's: knows one more host, and may take its time."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked = threading.Semaphore(0)
        self.times = 0

    def getaddrinfo(self, host: Any, *args: Any, **options: Any) -> Any:
        if host != "far.test":
            return REAL(host, *args, **options)
        self.times += 1
        self.asked.release()
        assert self.go_on.wait(60)
        return REAL("127.0.0.1", *args, **options)


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.go_on.set()


@contextmanager
def no_thread_left(backend: str) -> Iterator[None]:
    """Let the loop's threads, and anyio's, all be busy while the block lasts."""
    over = threading.Event()
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = 1
    busy = object()
    limiter.acquire_on_behalf_of_nowait(busy)
    with ExitStack() as stack:
        if backend == "asyncio":
            pool = stack.enter_context(ThreadPoolExecutor(1))
            asyncio.get_running_loop().set_default_executor(pool)
            pool.submit(over.wait, 60)
        stack.callback(over.set)
        yield
    limiter.release_on_behalf_of(busy)
    limiter.total_tokens = 40


async def test_neither_names_nor_certificates_need_a_thread_of_the_loop(
    name_server: NameServer, anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_contexts", [])
    name_server.go_on.set()
    with raw_server(say(image_response())) as server, no_thread_left(anyio_backend_name):
        url = server.url.replace("127.0.0.1", "far.test")
        async with AsyncClient("sk-test", base_url=url, allow_http=True, timeout=30) as client:
            await client.images.generate("a lake")
        await connections._tls()


async def test_all_who_ask_at_the_same_time_share_one_look_up(name_server: NameServer) -> None:
    found: list[object] = []

    async def ask() -> None:
        found.append(await names.addresses_of("far.test", 80))

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as impatient:
            group.start_soon(ask)
            await anyio.to_thread.run_sync(name_server.asked.acquire)
            for _ in range(50):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            impatient.cancel()
        name_server.go_on.set()
    assert (name_server.times, len(found)) == (1, 51)
    await ask()
    assert name_server.times == 2  # what was found is not kept


async def test_one_who_gives_up_leaves_the_look_up_to_the_others(name_server: NameServer) -> None:
    found: list[object] = []

    async def ask() -> None:
        found.append(await names.addresses_of("far.test", 80))

    async with anyio.create_task_group() as group:
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(ask)
            await anyio.to_thread.run_sync(name_server.asked.acquire)
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        name_server.go_on.set()
    assert (name_server.times, len(found)) == (1, 1)


def test_a_slow_name_server_holds_up_neither_closing_nor_the_end_of_with(name_server: NameServer) -> None:
    def use() -> None:
        with (
            Client("sk-test", base_url="https://far.test/v1", timeout=0.1) as client,
            pytest.raises(APITimeoutError, match="nothing was sent"),
        ):
            client.images.generate("a lake")

    user = threading.Thread(target=use)
    user.start()
    user.join(30)
    assert not user.is_alive()
    assert not name_server.go_on.is_set()
