#!/usr/bin/env bash
# What:     A POST whose body is a generator and that is answered with 307 or 308 is sent on by requests and niquests with an empty body, since the
#           generator has come to its end: the second server sees a POST of 0 bytes, and the caller its 200. Open files are sent again whole.
# Versions: requests 2.34.2, niquests 3.21.2; httpx 0.28.1 (`follow_redirects=True`) and aiohttp 3.14.5 to compare.
# Expected: an error, as requests has one of its own for this (`UnrewindableBodyError`), and as the other two raise.
# Seen:     requests and niquests, 307 and 308: 100000 bytes to the first, 0 bytes to the second, status 200. httpx: StreamConsumed. aiohttp: ClientPayloadError.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check requests==2.34.2 niquests==3.21.2 httpx==0.28.1 aiohttp==3.14.5
NO_PROXY=127.0.0.1 timeout 120 venv/bin/python - <<'PYTHON'
import asyncio
import http.server
import sys
import threading

import aiohttp
import httpx
import niquests
import requests

arrived = []


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        assert self.headers["Transfer-Encoding"] == "chunked"
        length, first = 0, self.rfile.peek(1)
        while size := int(self.rfile.readline() or b"0", 16):
            length += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        if not first:  # the client has closed the connection instead of sending a body
            self.close_connection = True
            return
        arrived.append((self.path, length))
        self.send_response(200 if self.path == "/b" else int(self.path[1:]))
        if self.path != "/b":
            self.send_header("Location", "/b")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()


def body():
    for _ in range(10):
        yield b"x" * 10_000


async def slices():
    for part in body():
        yield part


def by_aiohttp(url):
    async def post():
        async with aiohttp.ClientSession() as session, session.post(url, data=slices()) as response:
            return response.status

    return asyncio.run(post())


clients = {
    "requests": lambda url: requests.post(url, data=body()).status_code,
    "niquests": lambda url: niquests.post(url, data=body()).status_code,
    "httpx": lambda url: httpx.post(url, content=body(), follow_redirects=True, trust_env=False).status_code,
    "aiohttp": by_aiohttp,
}
seen = {}
for code in (307, 308):
    for name, post in clients.items():
        arrived.clear()
        try:
            outcome = post(f"http://127.0.0.1:{server.server_port}/{code}")
        except (httpx.StreamConsumed, aiohttp.ClientPayloadError) as error:
            outcome = type(error).__name__
        seen[code, name] = outcome, arrived[1:]
        print(f"{code} {name:9} {outcome}, arrived: {arrived}")
sys.stdout.flush()
errors = {"httpx": "StreamConsumed", "aiohttp": "ClientPayloadError"}
sys.exit(any(found != ((errors[name], []) if name in errors else (200, [("/b", 0)])) for (_, name), found in seen.items()))
PYTHON
