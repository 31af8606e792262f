"""The engine behind real HTTP, for other processes and for tests that need sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from functools import partial

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from stepfun_async._core.errors import ConfigurationError

from .asgi import CONNECTION, app
from .engine import Engine
from .listening import in_url, listen

__all__ = ["app", "running", "serve"]

_KEEP_ALIVE = 75
"""Seconds to keep an idle connection open, as usual for gateways."""


def serve(
    host: str,
    port: int,
    engine: Engine,
    on_ready: Callable[[str], None] | None = None,
    cors: Collection[str] = (),
) -> None:
    """Serve over HTTP until Ctrl-C.

    Args:
        host: the address to listen on, such as `127.0.0.1`.
        port: the port; 0 for a free one.
        engine: the engine to serve.
        on_ready: called with the base URL once the server accepts connections.
        cors: the origins whose pages may call it from a browser; `*` for all.

    Raises:
        ConfigurationError: the address is not one of this machine, or the port is in use.
    """
    listener = listen(host, port)
    server = _Server(app(engine, cors), "warning", partial(on_ready or _nothing, _base_url(host, listener)))
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        listener.close()


@contextmanager
def running(engine: Engine, host: str = "127.0.0.1") -> Generator[str]:
    """Serve the engine on a free port from a thread during the `with` block.

    Args:
        engine: the engine to serve.
        host: the address to listen on.

    Yields:
        The base URL, such as `http://127.0.0.1:49152/v1`.

    Raises:
        ConfigurationError: `host` is not an address of this machine.
    """
    listener = listen(host, 0)
    url = _base_url(host, listener)
    ready = threading.Event()
    server = _Server(app(engine), "critical", ready.set)
    thread = threading.Thread(target=_run, args=(server, listener, ready), name="stepfun-embedded", daemon=True)
    thread.start()
    try:
        ready.wait()
        if not server.started:
            raise ConfigurationError(f"the server on {url} did not start; its log says why")
        yield url
    finally:
        server.should_exit = True
        thread.join()


def _run(server: _Server, listener: socket.socket, ready: threading.Event) -> None:
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        ready.set()


def _nothing(url: str) -> None:
    """Do nothing, as the default of `on_ready`."""


_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - named, not listened on
"""The address at which this machine reaches a server that listens on all addresses."""


def _base_url(host: str, listener: socket.socket) -> str:
    reached = _HERE.get(host, host)
    return f"http://{in_url(reached)}:{listener.getsockname()[1]}/v1"


# --- uvicorn ------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """uvicorn with a callback for when it is ready. It leaves no connection open."""

    def __init__(self, application: Starlette, log_level: str, on_ready: Callable[[], None]) -> None:
        self._open: set[asyncio.Transport] = set()
        config = uvicorn.Config(
            application,
            http=_protocol(self._open),
            loop="asyncio",  # its transports can be aborted
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE,
            lifespan="off",
            log_config=None,
            log_level=log_level,
            access_log=False,
            server_header=False,
        )
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in tuple(self._open):  # some would never end, because of a fault
            connection.abort()
        await super().shutdown(sockets=sockets)


def _protocol(connections: set[asyncio.Transport]) -> type[H11Protocol]:
    """uvicorn's protocol, passed to the application as the connection, so that faults can act on it."""

    class Protocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            connections.add(transport)
            # asyncio leaves this out for listeners made without a protocol number, and the body of a small response,
            # written after its head, would then wait for the client's delayed acknowledgement.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.app_state = {**self.app_state, CONNECTION: self}

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self.transport)
            super().connection_lost(exc)

        def _unsupported_upgrade_warning(self) -> None:
            """Log nothing: Java offers HTTP/2 with each call (`Upgrade: h2c`), and correctly continues in HTTP/1.1."""

        def abort(self) -> None:
            self.transport.abort()

        def close(self) -> None:
            self.transport.close()

        def stop_reading(self) -> None:
            self.transport.pause_reading()

        def keep_idle(self, seconds: float) -> None:
            self.timeout_keep_alive = seconds  # type: ignore[assignment] # uvicorn hands it to the loop as it is

    return Protocol
