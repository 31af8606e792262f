"""The same answers over HTTP/2, by the h2 library. It costs far more than the HTTP/1.1 server, on its own CPU."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import cast

import h2.config
import h2.connection
import h2.events


class Choice(asyncio.Protocol):
    """A connection until it is known what the client chose in the TLS handshake.

    Args:
        protocols: what makes a protocol, by its name in the handshake.
    """

    def __init__(self, protocols: Mapping[str, Callable[[], asyncio.Protocol]]) -> None:
        self._protocols = protocols

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol() or "http/1.1"
        protocol = self._protocols[chosen]()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class Http2Connection(asyncio.Protocol):
    """One connection with its streams.

    Args:
        answers: content type and body by path.
        latency: seconds between a request and its answer.
    """

    def __init__(self, answers: dict[str, tuple[str, bytes]], latency: float) -> None:
        self._answers = answers
        self._latency = latency
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._paths: dict[int, str] = {}
        self._unsent: dict[int, memoryview] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not its children
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            self._take(event)
        self._pump()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=int(stream), headers=headers):
                self._paths[stream] = dict(headers or ())[b":path"].decode()
            case h2.events.DataReceived(stream_id=int(stream), flow_controlled_length=int(length)):
                self._h2.acknowledge_received_data(length, stream)
            case h2.events.StreamEnded(stream_id=int(stream)):
                asyncio.get_running_loop().call_later(self._latency, self._begin, stream)
            case _:
                pass

    def _begin(self, stream: int) -> None:
        if self._transport.is_closing():  # clients end in the middle of calls
            return
        content_type, body = self._answers[self._paths.pop(stream)]
        head = [(":status", "200"), ("content-type", content_type), ("content-length", str(len(body)))]
        self._h2.send_headers(stream, head)
        self._unsent[stream] = memoryview(body)
        self._pump()

    def _pump(self) -> None:
        """Send as much of the bodies as the client has room for."""
        for stream in list(self._unsent):
            self._pump_stream(stream)
        self._flush()

    def _pump_stream(self, stream: int) -> None:
        body = self._unsent[stream]
        while body:
            size = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, len(body))
            if size <= 0:
                break
            self._h2.send_data(stream, bytes(body[:size]), end_stream=size == len(body))
            body = body[size:]
        self._unsent[stream] = body
        if not body:
            del self._unsent[stream]

    def _flush(self) -> None:
        self._transport.write(self._h2.data_to_send())
