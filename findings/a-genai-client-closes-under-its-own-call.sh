#!/usr/bin/env bash
# What:     `genai.Client(...).models.generate_content(...)` in one expression fails before anything is sent, and so do `models` and a chat that are kept
#           without their client: nothing but the caller's variable keeps the client alive, and its `__del__` closes the connections that
#           `models` and `chats` send through. The same through `.aio` works, as does one expression with the OpenAI client.
# Versions: google-genai 3.6.1; openai 3.57.0 to compare; CPython 3.11.
# Expected: an answer each time; what `client.models` returns keeps alive what it needs.
# Seen:     in one expression, `models = genai.Client(...).models`, and a chat: RuntimeError "Cannot send a request, as the client has been closed", and
#           no request. With the client in a variable, and through `.aio`: the answer.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check google-genai==3.6.1 openai==3.57.0
NO_PROXY=127.0.0.1 timeout 120 venv/bin/python - 2>errors <<'PYTHON' || { tail -5 errors; exit 1; }
import asyncio
import http.server
import json
import sys
import threading

import openai
from google import genai

arrived = []
ANSWER = {"candidates": [{"content": {"role": "model", "parts": [{"text": "a lake"}]}}], "created": 1, "data": []}


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        arrived.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(ANSWER).encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
ASK = {"model": "m", "contents": "what is it?"}


def made():
    return genai.Client(api_key="k", http_options={"base_url": url})


def one_expression():
    return made().models.generate_content(**ASK).text


def models_kept():
    models = made().models
    return models.generate_content(**ASK).text


def chat_kept():
    chat = made().chats.create(model="m")
    return chat.send_message("what is it?").text


def client_kept():
    client = made()
    return client.models.generate_content(**ASK).text


async def ask():
    return (await made().aio.models.generate_content(**ASK)).text


ways = {
    "one expression": one_expression,
    "models kept": models_kept,
    "chat kept": chat_kept,
    "client kept": client_kept,
    "one expression, aio": lambda: asyncio.run(ask()),
    "one expression, openai": lambda: len(openai.OpenAI(api_key="k", base_url=url).images.generate(prompt="a lake", model="m").data),
}
seen = {}
for name, way in ways.items():
    arrived.clear()
    try:
        seen[name] = way(), len(arrived)
    except RuntimeError as error:
        seen[name] = str(error), len(arrived)
    print(f"{name:24}{seen[name][1]} request(s), {seen[name][0]!r}")
closed = "Cannot send a request, as the client has been closed.", 0
fine = dict.fromkeys(("client kept", "one expression, aio"), ("a lake", 1))
sys.exit(seen != {**dict.fromkeys(("one expression", "models kept", "chat kept"), closed), **fine, "one expression, openai": (0, 1)})
PYTHON
