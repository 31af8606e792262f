"""httpcore's network, on the package's own sockets.

httpcore only writes while it sends a body. On these sockets a response that arrives meanwhile ends the body, and the
data that the system still has of a lost connection is read, over TLS too.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import anyio
import httpcore
import httpx

from .connecting import connect
from .sockets import Socket, send_all

SocketOption: TypeAlias = tuple[Any, ...]

_HTTP2 = b"PRI * HTTP/2.0"
"""The first bytes of an HTTP/2 connection, where data always arrives while a body is sent."""


def listen(transport: httpx.AsyncBaseTransport) -> None:
    """Make the new connections of `transport` listen while they send, if it is httpx's own on httpcore's network.

    httpcore takes a network as an argument, which httpx has no way to hand over.
    """
    pool: Any = getattr(transport, "_pool", None)
    network: Any = getattr(pool, "_network_backend", None)
    if type(network).__module__ == "httpcore._backends.auto":
        pool._network_backend = Network(network)  # noqa: SLF001


class _Place(NamedTuple):
    """The host and port to connect to."""

    host: str
    port: int


class Network(httpcore.AsyncNetworkBackend):
    """A network backend of httpcore.

    Args:
        usual: the network for what is rare: Unix sockets, and connections from a certain address.
    """

    def __init__(self, usual: httpcore.AsyncNetworkBackend) -> None:
        self._usual = usual

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if local_address is not None:
            return await self._usual.connect_tcp(host, port, timeout, local_address, socket_options)
        with _failing(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
            opened = await connect(_Place(host, port), None, None, lambda _: None)
        for option in socket_options or ():
            opened.raw.setsockopt(*option)
        return _Stream(opened)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SocketOption] | None = None
    ) -> httpcore.AsyncNetworkStream:
        return await self._usual.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A network stream of httpcore."""

    def __init__(self, opened: Socket) -> None:
        self._opened = opened
        self._listening = True
        self._rest = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _failing(httpcore.ReadTimeout, httpcore.ReadError), anyio.fail_after(timeout):
            data = self._rest or await self._opened.receive()
        self._rest = data[max_bytes:]
        return data[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer.startswith(_HTTP2):
            self._listening = False
        with _failing(httpcore.WriteTimeout, httpcore.WriteError), anyio.fail_after(timeout):
            if not await send_all(self._opened, buffer, listening=self._listening):
                raise ConnectionResetError("the server has responded, or closed the connection")

    async def aclose(self) -> None:
        await self._opened.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            with _failing(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
                await self._opened.encrypt(ssl_context, server_hostname)
        except BaseException:
            await self._opened.aclose()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return bool(self._rest) or self._opened.stale
        known = _INFO.get(info)
        return None if known is None else known(self._opened)


def _tls_of(opened: Socket) -> ssl.SSLObject | None:
    return None if opened.tls is None else opened.tls.ssl_object


_INFO: Mapping[str, Callable[[Socket], Any]] = {
    "ssl_object": _tls_of,
    "client_addr": lambda opened: opened.raw.getsockname(),
    "server_addr": lambda opened: opened.raw.getpeername(),
    "socket": lambda opened: opened.raw,
}
"""The names of httpcore's extra info."""


@contextmanager
def _failing(late: type[Exception], lost: type[Exception]) -> Generator[None]:
    """Map the errors of the block to those of httpcore."""
    try:
        yield
    except TimeoutError as error:
        raise late(error) from error
    except (OSError, UnicodeError) as error:
        raise lost(error) from error
