#!/usr/bin/env bash
# What:     Of a response whose gzip has two members (as of files that were put together, of pigz, bgzip, or a server that compresses piece by
#           piece; RFC 1952 allows any number), some clients give the first member alone, as if that were the whole, without an error.
# Versions: httpx 0.28.1, httpx2 2.16.2, httpxyz 0.42.1, zapros 0.23.0, impit 0.15.1, primp 2.0.1, wreq 0.13.0 (the last three in Rust); requests
#           2.34.2, niquests 3.21.2, aiohttp 3.14.5, pycurl 7.49.0, curl_cffi 0.17.0.
# Expected: 2000 bytes, as `gzip -d` gives, or an error.
# Seen:     requests, niquests and aiohttp: 2000. httpx, its two forks, zapros, impit, primp and wreq: 1000. pycurl and curl_cffi: an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check httpx==0.28.1 httpx2==2.16.2 httpxyz==0.42.1 zapros==0.23.0 impit==0.15.1 primp==2.0.1 \
    wreq==0.13.0 requests==2.34.2 niquests==3.21.2 aiohttp==3.14.5 pycurl==7.49.0 curl_cffi==0.17.0
NO_PROXY=127.0.0.1 timeout 120 venv/bin/python - <<'PYTHON'
import asyncio
import gzip
import http.server
import importlib
import io
import sys
import threading

import aiohttp
import curl_cffi.requests
import impit
import primp
import pycurl
import wreq.blocking
import zapros

BODY = gzip.compress(b"A" * 1000) + gzip.compress(b"B" * 1000)
assert len(gzip.decompress(BODY)) == 2000


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"


def by_aiohttp():
    async def get():
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.read()

    return asyncio.run(get())


def by_pycurl():
    curl, body = pycurl.Curl(), io.BytesIO()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.ACCEPT_ENCODING, "")
    curl.setopt(pycurl.WRITEDATA, body)
    curl.perform()
    return body.getvalue()


clients = {name: lambda name=name: importlib.import_module(name).get(url).content for name in ("requests", "niquests", "httpx", "httpx2", "httpxyz")}
clients |= {
    "aiohttp": by_aiohttp,
    "zapros": lambda: zapros.Client().get(url).read(),
    "impit": lambda: impit.Client().get(url).content,
    "primp": lambda: primp.Client().get(url).content,
    "wreq": lambda: wreq.blocking.Client().get(url).bytes(),
    "pycurl": by_pycurl,
    "curl_cffi": lambda: curl_cffi.requests.get(url).content,
}
seen = {}
for name, get in clients.items():
    try:
        seen[name] = len(get())
    except (pycurl.error, curl_cffi.requests.RequestsError) as error:
        seen[name] = "an error"
        print(f"{name}: {error}")
print(seen)
sys.stdout.flush()
whole = dict.fromkeys(("requests", "niquests", "aiohttp"), 2000)
half = dict.fromkeys(("httpx", "httpx2", "httpxyz", "zapros", "impit", "primp", "wreq"), 1000)
sys.exit(seen != {**whole, **half, "pycurl": "an error", "curl_cffi": "an error"})
PYTHON
