#!/usr/bin/env bash
# What:     An open PNG whose size Pillow has read before (`Image.open(file).size`) is sent whole by `httpx.post(files=...)` and by the OpenAI
#           client, which go back to its beginning; without the beginning by requests and aiohttp, which send what is left to read; and
#           `httpx.post(content=...)` breaks off, having declared the length of the whole file. Pillow leaves the file where it stopped.
# Versions: httpx 0.28.1, openai 3.57.0, requests 2.34.2, aiohttp 3.14.5, pillow 13.0.0.
# Expected: one rule for all, or at least for both arguments of httpx.
# Seen:     httpx `files` and openai: a PNG arrives. requests `files` and `data`, aiohttp as form and as body: 200, and no PNG arrives.
#           httpx `content`: "Too little data for declared Content-Length", an error of h11 that is no `httpx.HTTPError`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check httpx==0.28.1 openai==3.57.0 requests==2.34.2 aiohttp==3.14.5 pillow==13.0.0
NO_PROXY=127.0.0.1 timeout 120 venv/bin/python - <<'PYTHON'
import asyncio
import http.server
import pathlib
import sys
import threading

import aiohttp
import h11
import httpx
import openai
import requests
from PIL import Image

arrived = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            return
        arrived.append(body)
        answer = b'{"created": 1, "data": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
Image.effect_noise((300, 200), 60).save("photo.png")
whole = pathlib.Path("photo.png").read_bytes()


def by_openai(file):
    openai.OpenAI(api_key="k", base_url=url, max_retries=0).images.edit(image=file, prompt="blue", model="m")


def by_aiohttp(form):
    async def post(file):
        data = file
        if form:
            data = aiohttp.FormData()
            data.add_field("image", file, filename="photo.png")
        async with aiohttp.ClientSession(raise_for_status=True) as session, session.post(url, data=data):
            pass

    return lambda file: asyncio.run(post(file))


ways = {
    "httpx, files": lambda file: httpx.post(url, files={"image": file}, trust_env=False).raise_for_status(),
    "httpx, content": lambda file: httpx.post(url, content=file, trust_env=False).raise_for_status(),
    "openai": by_openai,
    "requests, files": lambda file: requests.post(url, files={"image": file}).raise_for_status(),
    "requests, data": lambda file: requests.post(url, data=file).raise_for_status(),
    "aiohttp, form": by_aiohttp(form=True),
    "aiohttp, body": by_aiohttp(form=False),
}
seen = {}
for name, send in ways.items():
    arrived.clear()
    with open("photo.png", "rb") as file:
        assert Image.open(file).size == (300, 200)
        stopped = file.tell()
        try:
            send(file)
        except (httpx.HTTPError, h11.LocalProtocolError) as error:
            seen[name] = f"{type(error).__module__.split('.')[0]}: {error}"
        else:
            seen[name] = "whole" if whole in arrived[0] else "the rest" if whole[stopped:] in arrived[0] else "?"
    print(f"{name:16} of {len(whole)} bytes, read up to {stopped}: {seen[name]}")
rest = dict.fromkeys(("requests, files", "requests, data", "aiohttp, form", "aiohttp, body"), "the rest")
short = {"httpx, content": "h11: Too little data for declared Content-Length"}
sys.exit(seen != {"httpx, files": "whole", "openai": "whole", **short, **rest})
PYTHON
