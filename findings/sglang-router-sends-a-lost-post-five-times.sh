#!/usr/bin/env bash
# What:     sglang-router sends a POST to /v1/chat/completions five times when the worker closes the connection after it has read the
#           whole request, and then answers 500; nothing in the answer says how often. `--disable-retries` makes it one.
# Versions: sglang-router 0.3.2, one worker, defaults.
# Expected: one, since a generation is not idempotent and may have been done.
# Seen:     5 POSTs, status 500; with `--disable-retries` 1 POST, status 500.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check sglang-router==0.3.2
timeout 180 venv/bin/python - <<'PYTHON'
import http.client, json, os, pathlib, signal, socket, subprocess, sys, threading, time
from contextlib import contextmanager

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
HERE = pathlib.Path.cwd()
HOST = "127.0.0.1"


def free_port():
    with socket.create_server((HOST, 0)) as listener:
        return listener.getsockname()[1]


def upstream(play):
    """A server that calls `play(connection, body)` for each request whose whole body it has read; its port."""

    def serve(connection):
        with connection, connection.makefile("rb") as stream:
            try:
                while True:
                    length = 0
                    for line in iter(stream.readline, b"\r\n"):
                        if not line:
                            return
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    if play(connection, stream.read(length)) == "close":
                        return
            except OSError:
                pass

    def accept():
        while True:
            threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()

    listener = socket.create_server((HOST, 0))
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


@contextmanager
def running(command, port, **env):
    """The gateway while the block lasts, from the moment in which it listens."""
    with open(HERE / f"{port}.log", "wb") as log:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=log, stderr=log, env={**os.environ, "HOME": str(HERE), **env}, start_new_session=True
        )
    try:
        for _ in range(900):
            try:
                socket.create_connection((HOST, port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            sys.exit(f"it does not listen:\n{(HERE / f'{port}.log').read_text()[-2000:]}")
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


posts = []
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def play(connection, body):
    if body:
        posts.append(len(body))
        return "close"
    connection.sendall(OK)  # health and the like


def ask(*options):
    port, metrics = free_port(), free_port()
    command = ["venv/bin/sglang-router", "launch", "--worker-urls", f"http://{HOST}:{there}", "--host", HOST, "--port", port]
    with running([*command, "--prometheus-host", HOST, "--prometheus-port", metrics, *options], port):
        for _ in range(300):  # until the worker is known
            connection = http.client.HTTPConnection(HOST, port, timeout=60)
            connection.request("GET", "/readiness")
            if connection.getresponse().status == 200:
                break
            time.sleep(0.1)
        posts.clear()
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a lake"}]})
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, len(posts)


there = upstream(play)
seen = {"defaults": ask(), "--disable-retries": ask("--disable-retries")}
for name, (status, count) in seen.items():
    print(f"{name:<18}{count} POSTs, the client receives {status}")
assert seen == {"defaults": (500, 5), "--disable-retries": (500, 1)}, seen
PYTHON
