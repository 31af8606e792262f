#!/usr/bin/env bash
# What:     libcurl sends a POST a second time by itself when the server closes a reused connection after it has read the whole of it and before
#           the first byte of the response. pycurl and curl_cffi, a client with the interface of requests, return 200 and say nothing of it.
#           On a fresh connection the same POST is an error and sent once. Other clients never send it again.
# Versions: pycurl 7.49.0, curl_cffi 0.17.0; requests 2.34.2, niquests 3.21.2, httpx 0.28.1, aiohttp 3.14.5, impit 0.15.1 and wreq 0.13.0 to compare.
# Expected: once, since nobody asked for retries and a POST may have been carried out; "Empty reply from server", as on a fresh connection.
# Seen:     reused connection: pycurl and curl_cffi 2 POSTs and 200; all others 1 POST and an error. Fresh connection: 1 POST and an error from all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pycurl==7.49.0 curl_cffi==0.17.0 requests==2.34.2 niquests==3.21.2 httpx==0.28.1 \
    aiohttp==3.14.5 impit==0.15.1 wreq==0.13.0
NO_PROXY=127.0.0.1 timeout 120 venv/bin/python - <<'PYTHON'
import asyncio
import io
import logging
import socket
import sys
import threading

import aiohttp
import curl_cffi.requests
import httpx
import impit
import niquests
import pycurl
import requests
import wreq.blocking

logging.disable()  # what aiohttp says of sessions that are left open
BODY = b'{"prompt": "a lake"}'
posts = []  # the number of each POST on its connection
lost = 2  # the one of a connection that gets no response


def serve(connection):
    with connection, connection.makefile("rb") as stream:
        number = 0
        while stream.readline():
            while stream.readline() != b"\r\n":
                pass
            assert stream.read(len(BODY)) == BODY
            number += 1
            posts.append(number)
            if number == lost:
                connection.shutdown(socket.SHUT_RDWR)
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def accept():
    while True:
        threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, daemon=True).start()
url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/images/generations"


def by_pycurl():
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.POSTFIELDS, BODY.decode())

    def post():
        curl.setopt(pycurl.WRITEDATA, io.BytesIO())
        curl.perform()

    return post


def by_aiohttp():
    runner = asyncio.Runner()
    session = None

    async def post():
        nonlocal session
        session = session or aiohttp.ClientSession()
        async with session.post(url, data=BODY) as response:
            await response.read()

    return lambda: runner.run(post())


def session_of(session, keyword="data"):
    return lambda: session.post(url, **{keyword: BODY})


def by_wreq():
    client = wreq.blocking.Client()
    return lambda: client.post(url, body=BODY).bytes()


clients = {
    "pycurl": by_pycurl,
    "curl_cffi": lambda: session_of(curl_cffi.requests.Session()),
    "requests": lambda: session_of(requests.Session()),
    "niquests": lambda: session_of(niquests.Session()),
    "httpx": lambda: session_of(httpx.Client(trust_env=False), "content"),
    "aiohttp": by_aiohttp,
    "impit": lambda: session_of(impit.Client(), "content"),
    "wreq": by_wreq,
}
seen = {}
for lost, where in ((2, "reused"), (1, "fresh")):
    for name, client in clients.items():
        post = client()
        if where == "reused":
            post()
        posts.clear()
        try:
            post()
            outcome = "no error"
        except Exception as error:
            outcome = "an error"
            print(f"{name}: {type(error).__name__}: {str(error)[:90]!r}")
        seen[where, name] = len(posts), outcome
for (where, name), (count, outcome) in seen.items():
    print(f"{where:8}{name:11}{count} POSTs, {outcome}")
twice = {("reused", "pycurl"), ("reused", "curl_cffi")}
sys.stdout.flush()
sys.exit(any(found != ((2, "no error") if key in twice else (1, "an error")) for key, found in seen.items()))
PYTHON
