#!/usr/bin/env bash
# What:     The OpenAI client and httpx take a `base_url` that has a query, as gateways with `?api-version=...` or `?key=...` give one, and write the
#           path of each call behind the query instead of in front of it: the server gets the base path alone and a broken parameter.
# Versions: openai 3.57.0, httpx 0.28.1; its forks httpx2 2.16.2 and httpxyz 0.42.1.
# Expected: /v1/images/generations?api-version=1, or an error.
# Seen:     openai /v1/?api-version=1images/generations, httpx /v1?api-version=1/images/generations. `default_query` (openai) and `params` (httpx)
#           give what was expected.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openai==3.57.0 httpx==0.28.1 httpx2==2.16.2 httpxyz==0.42.1
NO_PROXY=127.0.0.1 timeout 120 venv/bin/python - <<'PYTHON'
import http.server
import importlib
import sys
import threading

import openai

arrived = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        arrived.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"created": 1, "data": []}')

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}/v1"
QUERY = "?api-version=1"


def by_openai(base_url, **more):
    openai.OpenAI(api_key="k", base_url=base_url, **more).images.generate(prompt="a lake", model="m")


def by_httpx(name, base_url, **more):
    with importlib.import_module(name).Client(base_url=base_url, trust_env=False, **more) as client:
        client.post("/images/generations", json={"prompt": "a lake"})


ways = {
    "openai": lambda: by_openai(base + QUERY),
    "openai, default_query": lambda: by_openai(base, default_query={"api-version": "1"}),
    **{name: lambda name=name: by_httpx(name, base + QUERY) for name in ("httpx", "httpx2", "httpxyz")},
    "httpx, params": lambda: by_httpx("httpx", base, params={"api-version": "1"}),
}
seen = {}
for name, post in ways.items():
    arrived.clear()
    post()
    seen[name] = arrived[0]
    print(f"{name:23}{arrived[0]}")
right = "/v1/images/generations?api-version=1"
behind = dict.fromkeys(("httpx", "httpx2", "httpxyz"), "/v1?api-version=1/images/generations")
expected = {"openai": "/v1/?api-version=1images/generations", "openai, default_query": right, "httpx, params": right, **behind}
sys.exit(seen != expected)
PYTHON
