"""A server on loopback that does what Google Cloud Storage's XML API documents of putting, getting and deleting."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class GoogleStore(ThreadingHTTPServer):
    """The server.

    Attributes:
        objects: what it keeps, by bucket and name.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}

    def account(self, path: Path) -> None:
        """Write the file of a service account that leads here and needs no token."""
        here = {"gcs_base_url": f"http://127.0.0.1:{self.server_port}", "disable_oauth": True}
        path.write_text(json.dumps({**here, "client_email": "", "private_key": "", "private_key_id": ""}))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GoogleStore

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        new = self.headers.get("x-goog-if-generation-match") == "0"
        if new and self._name in self.server.objects:
            self._response(412)
        else:
            self.server.objects[self._name] = data
            self._response(200)

    def do_GET(self) -> None:
        data = self.server.objects.get(self._name)
        self._response(404 if data is None else 200, data or b"")

    do_HEAD = do_GET  # noqa: N815 - the names are http.server's

    def do_DELETE(self) -> None:
        self._response(404 if self.server.objects.pop(self._name, None) is None else 204)

    def log_message(self, format: str, *_: object) -> None:
        """Nobody reads it."""

    @property
    def _name(self) -> str:
        return unquote(self.path).removeprefix("/")

    def _response(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("x-goog-generation", "1")
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def google_store() -> Iterator[GoogleStore]:
    """A running server, gone at the end."""
    with GoogleStore() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
