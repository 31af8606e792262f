#!/usr/bin/env bash
# What:     A client that speaks HTTP/1.0 gets a response without Content-Length (a stream) from uvicorn as it is, up to the end of the
#           connection; once httptools is installed, as by `uvicorn[standard]`, it gets HTTP/1.1 with `transfer-encoding: chunked`, which
#           HTTP/1.0 does not have: read as HTTP/1.0, the sizes of the chunks are in the middle of the body.
# Versions: uvicorn 0.54.0, h11 0.16.0, httptools 0.9.0; hypercorn 0.18.0 and granian 2.8.9 to compare.
# Expected: RFC 9112 section 6.1: no Transfer-Encoding unless the request says HTTP/1.1 or later; and no change by an extra for speed.
# Seen:     the body of 6 bytes is that of uvicorn with h11, hypercorn and granian; with httptools it is b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check uvicorn==0.54.0 h11==0.16.0 httptools==0.9.0 hypercorn==0.18.0 granian==2.8.9
cat > app.py <<'PYTHON'
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
PYTHON
timeout 120 venv/bin/python - <<'PYTHON'
import signal
import socket
import subprocess
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
HOST = "127.0.0.1"


def ask(command):
    """What the server sends to a client of HTTP/1.0 until it closes the connection: status line, encoding and body."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    words = [word.replace("PORT", str(port)) for word in command.split()]
    words[0] = f"venv/bin/{words[0]}"
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                connection = socket.create_connection((HOST, port), 10)
                break
            except OSError:
                time.sleep(0.1)
        with connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            head, body = b"".join(iter(lambda: connection.recv(65536), b"")).split(b"\r\n\r\n", 1)
    finally:
        process.terminate()
        process.wait()
    return head.split(b"\r\n")[0].decode(), b"transfer-encoding: chunked" in head.lower(), body


servers = {
    "uvicorn, h11": "uvicorn --http h11 --lifespan off --port PORT app:app",
    "uvicorn, httptools": "uvicorn --http httptools --lifespan off --port PORT app:app",
    "uvicorn, as installed": "uvicorn --lifespan off --port PORT app:app",
    "hypercorn": "hypercorn --bind 127.0.0.1:PORT app:app",
    "granian": "granian --interface asginl --port PORT app:app",
}
seen = {name: ask(command) for name, command in servers.items()}
for name, found in seen.items():
    print(f"{name:22}", *found)
chunks = (True, b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
sys.exit(any(found[1:] != (chunks if "httptools" in name or "installed" in name else (False, b"onetwo")) for name, found in seen.items()))
PYTHON
