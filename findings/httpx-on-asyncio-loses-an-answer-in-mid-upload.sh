#!/usr/bin/env bash
# What:     httpx on asyncio loses the response of a server that answers while the body is still being sent and closes the connection (413, 401).
#           httpcore means to read it: it ignores the write error "since servers can sometimes close the request pre-emptively and then
#           respond", and on threads and on trio that works. asyncio gives the socket up when it cannot write and reads no more of it, although
#           the kernel still holds the whole response.
# Versions: httpx 0.28.1, httpcore 1.0.9, anyio 4.12.0, trio 0.32.0; Linux, loopback.
# Expected: the same on all three: the response 413, as `httpx.Client` has it.
# Seen:     of 30 uploads of 20 MB each: httpx.Client 30 times 413, AsyncClient on trio 30 times 413, on asyncio almost always
#           httpx.ReadError, and none of them with the response.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check httpx==0.28.1 httpcore==1.0.9 anyio==4.12.0 trio==0.32.0
timeout 180 venv/bin/python - <<'PYTHON'
import collections, socket, sys, threading

import anyio, httpcore, httpx, trio

ANSWER = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno"
BODY = bytes(20_000_000)
TIMES = 30


def serve(listener):
    while True:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(ANSWER)
        connection.close()  # with most of the body unread, so the kernel sends a reset after the response


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
url = f"http://127.0.0.1:{listener.getsockname()[1]}/"


def in_threads():
    seen = collections.Counter()
    for _ in range(TIMES):
        with httpx.Client(trust_env=False) as client:
            try:
                seen[client.post(url, content=BODY).status_code] += 1
            except httpx.HTTPError as error:
                seen[type(error).__name__] += 1
    return seen


async def in_loop():
    seen = collections.Counter()
    for _ in range(TIMES):
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                seen[(await client.post(url, content=BODY)).status_code] += 1
            except httpx.HTTPError as error:
                seen[type(error).__name__] += 1
    return seen


print(f"httpx {httpx.__version__}, httpcore {httpcore.__version__}, trio {trio.__version__}")
found = {"threads": in_threads(), "trio": anyio.run(in_loop, backend="trio"), "asyncio": anyio.run(in_loop)}
for where, seen in found.items():
    print(f"{where}: {dict(seen)}")
same = found["threads"][413] >= 28 and found["trio"][413] >= 28 and found["asyncio"][413] <= 10
sys.exit(0 if same else 1)
PYTHON
