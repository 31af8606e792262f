"""The server that everybody is measured against: answers made beforehand, and of HTTP only what is needed.

    python -m benchmarks.server --side 708 --latency 0.05

It prints its base URL and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TypeAlias, cast

from .pictures import png

GENERATIONS, EDITS, LINKED = "/v1/images/generations", "/v1/images/edits", "/picture.png"
GOOGLE = "/v1/models/step-image-edit-2:generateContent"

_OPENING = 0.1
"""Seconds that first answers wait."""

_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


Answers: TypeAlias = dict[str, tuple[str, bytes]]
"""Content type and body by path."""


def answers(picture: bytes, base: str, *, links: bool) -> Answers:
    """What this server says.

    Args:
        picture: what is generated.
        base: scheme, host and port of this server.
        links: answer with a link to the picture instead of its base64.
    """
    text = base64.b64encode(picture).decode("ascii")
    item = {"url": base + LINKED} if links else {"b64_json": text}
    made = {"created": 1, "data": [{"seed": 1, "finish_reason": "success", **item}]}
    part = {"inlineData": {"mimeType": "image/png", "data": text}}
    google = {"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}]}
    return {
        GENERATIONS: _json(made),
        EDITS: _json(made),
        GOOGLE: _json(google),
        LINKED: ("image/png", picture),
    }


def _json(value: object) -> tuple[str, bytes]:
    return "application/json", json.dumps(value, separators=(",", ":")).encode()


def _whole(content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Opening:
    """The first connections of a client: their first answers wait for each other.

    Calls made at once then open as many connections, as they do wherever answers take longer than
    opening. How many a client opens to a server that answers at once is chance, and its cost depends on it.

    Args:
        count: how many connections, after there was none.
        seconds: how long their first answers take at least.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._seen = 0
        self._open = 0

    def enter(self) -> float:
        """One more connection: seconds that its first answer waits."""
        self._seen += 1
        self._open += 1
        return self._seconds if self._seen <= self._count else 0.0

    def leave(self) -> None:
        """One less; after the last, the next client begins."""
        self._open -= 1
        if not self._open:
            self._seen = 0


class Connection(asyncio.Protocol):
    """One connection. It reads the path and the content length, skips the body, and answers.

    Args:
        replies: whole HTTP answers by path.
        latency: seconds between a request and its answer.
        opening: what says how long the first answer takes at least.
    """

    def __init__(self, replies: dict[bytes, bytes], latency: float, opening: Opening) -> None:
        self._replies = replies
        self._latency = latency
        self._opening = opening
        self._head = b""
        self._reply = b""
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not its children
        self._next_latency = max(self._latency, self._opening.enter())

    def connection_lost(self, exc: Exception | None) -> None:
        self._opening.leave()

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        elif not self._began(data):
            return
        if self._missing <= 0:
            self._answer()

    def _began(self, data: bytes) -> bool:
        """Whether the head of a request is there; then the bytes of the body still missing are known."""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = _LENGTH.search(self._head, 0, end)
        self._missing = end + 4 + (int(length[1]) if length else 0) - len(self._head)
        self._reply = self._replies.get(self._head.split(b" ", 2)[1], _NOT_FOUND)
        self._head = b""
        return True

    def _answer(self) -> None:
        self._missing = 0
        latency, self._next_latency = self._next_latency, self._latency
        if latency:
            asyncio.get_running_loop().call_later(latency, self._write)
        else:
            self._transport.write(self._reply)

    def _write(self) -> None:
        if not self._transport.is_closing():  # clients end in the middle of calls
            self._transport.write(self._reply)


async def serve(options: argparse.Namespace) -> None:
    """Print the base URL, and serve until standard input ends."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    tls = _tls(options) if options.certificate else None
    base = f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}"
    made = answers(png(options.side), base, links=options.links)
    replies = {path.encode(): _whole(*answer) for path, answer in made.items()}
    opening = Opening(options.in_flight, _OPENING)
    speak: Callable[[], asyncio.Protocol] = partial(Connection, replies, options.latency, opening)
    if options.http2:
        from .http2 import Choice, Http2Connection

        speak = partial(Choice, {"h2": partial(Http2Connection, made, options.latency), "http/1.1": speak})
    await loop.create_server(speak, sock=listener, ssl=tls)
    print(base + "/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def _tls(options: argparse.Namespace) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate)
    context.set_alpn_protocols(["h2", "http/1.1"] if options.http2 else ["http/1.1"])
    return context


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description="A server that costs little.")
    parser.add_argument("--side", type=int, default=15, help="pixels of a side of the picture")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--in-flight", type=int, default=0, help="connections whose first answers wait for each other")
    parser.add_argument("--links", action="store_true", help="answer with links")
    parser.add_argument("--certificate", help="a file with key and certificate: serve https")
    parser.add_argument("--http2", action="store_true", help="let clients choose HTTP/2; needs --certificate")
    parser.add_argument("--cpu", type=int, help="stay on this CPU")
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    factory = None
    if find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(options))


if __name__ == "__main__":
    main()
