"""An HTTP server made of plain sockets, which can break off at any byte."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A whole PNG of one pixel."""

Script = Callable[[socket.socket], None]


def answer(body: bytes, *, status: str = "200 OK", headers: str = "", content_type: str = "application/json") -> bytes:
    """The bytes of an HTTP answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def picture_answer(**more: object) -> bytes:
    """The bytes of a whole success."""
    item = {"seed": 7, "finish_reason": "success", "b64_json": base64.b64encode(PIXEL).decode()}
    return answer(json.dumps({"created": 1, "data": [item], **more}).encode(), headers="x-trace-id: trace-1\r\n")


def say(data: bytes) -> Script:
    """Answer `data`."""
    return lambda connection: connection.sendall(data)


def reset(connection: socket.socket) -> None:
    """End the connection with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up(connection: socket.socket) -> None:
    """End the connection without a word."""
    connection.close()


def stay_silent(connection: socket.socket) -> None:
    """Never answer: wait until the client goes."""
    with suppress(OSError):
        connection.recv(1)


@dataclass
class RawServer:
    """What a running server saw, and what it does next."""

    url: str
    scripts: list[Script]
    greet: Script | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when some client closed its connection."""

    def next_script(self) -> Script:
        """The script for the next request: each once, the last for ever."""
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]


def socks_handshake(connection: socket.socket) -> None:
    """Be a SOCKS5 proxy that has connected to wherever it was asked to."""
    connection.recv(262)
    connection.sendall(b"\x05\x00")  # no password needed
    connection.recv(262)
    connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")  # connected


@contextmanager
def raw_server(*scripts: Script, tls: ssl.SSLContext | None = None, greet: Script | None = None) -> Iterator[RawServer]:
    """A server on loopback that meets each connection with `greet` and each request with the next script."""
    listener = socket.create_server(("127.0.0.1", 0))
    if tls is not None:
        listener = tls.wrap_socket(listener, server_side=True)
    scheme = "https" if tls else "http"
    server = RawServer(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/v1", list(scripts), greet)
    open_connections: list[socket.socket] = []
    threads = [threading.Thread(target=_accept, args=(listener, server, open_connections))]
    threads[0].start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        threads[0].join()
        for connection in open_connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _accept(listener: socket.socket, server: RawServer, open_connections: list[socket.socket]) -> None:
    serving: list[threading.Thread] = []
    while True:
        try:
            connection, _ = listener.accept()
        except ssl.SSLError:
            continue  # the client did not trust us
        except OSError:
            break
        server.connections += 1
        open_connections.append(connection)
        serving.append(threading.Thread(target=_serve, args=(connection, server), daemon=True))
        serving[-1].start()


def _serve(connection: socket.socket, server: RawServer) -> None:
    with closing(connection), suppress(OSError):
        if server.greet:
            server.greet(connection)
        while request := _read_request(connection):
            server.requests.append(request)
            server.next_script()(connection)
    server.gone.set()


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
