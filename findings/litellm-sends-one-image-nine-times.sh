#!/usr/bin/env bash
# What:     LiteLLM's proxy sends one POST for an image up to nine times when the upstream closes after reading it (edits: three times):
#           its router repeats, and the OpenAI client inside it repeats each of those. No header of the answer says so. `max_retries: 0`
#           at the model changes nothing; `router_settings: {num_retries: 0}` leaves three (edits: one).
# Versions: litellm[proxy] 1.108.7, image models with the prefix `openai/`, defaults.
# Expected: one, since each may be paid for; or at most the retries that `max_retries` at the model allows.
# Seen:     generations 9, edits 3; with `max_retries: 0` 9; with `num_retries: 0` 3 and 1. The client receives one 500, without a header
#           that counts retries.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'litellm[proxy]==1.108.7'
timeout 600 venv/bin/python - <<'PYTHON'
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


posts = []


def play(connection, body):
    if body:
        posts.append(len(body))
    return "close"


def proxy(port, there, name, **settings):
    models = [
        {"model_name": model, "litellm_params": {"model": "openai/image", "api_base": f"http://{HOST}:{there}/v1", "api_key": "k", **more}}
        for model, more in {"plain": {}, "patient": {"max_retries": 0}}.items()
    ]
    (HERE / f"{name}.json").write_text(json.dumps({"model_list": models, **settings}))
    command = ["venv/bin/litellm", "--config", f"{name}.json", "--host", HOST, "--port", port, "--telemetry", "False"]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    return running(command, port, **env)


def post(port, path, body, kind):
    posts.clear()
    connection = http.client.HTTPConnection(HOST, port, timeout=100)
    connection.request("POST", path, body, {"Content-Type": kind, "Authorization": "Bearer k"})
    answer = connection.getresponse()
    answer.read()
    return answer.status, len(posts), [name for name in answer.headers if "retr" in name.lower()]


def generate(port, model):
    return post(port, "/v1/images/generations", json.dumps({"model": model, "prompt": "a lake"}).encode(), "application/json")


def edit(port, model):
    fields = f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nblue\r\n'
    file = '--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    body = (fields + file).encode() + b"\x89PNG\r\n\x1a\n" + b"\r\n--b--\r\n"
    return post(port, "/v1/images/edits", body, "multipart/form-data; boundary=b")


there, usual, zero = upstream(play), free_port(), free_port()
with proxy(usual, there, "usual"):
    seen = {"generate": generate(usual, "plain"), "edit": edit(usual, "plain"), "generate, max_retries 0": generate(usual, "patient")}
with proxy(zero, there, "zero", router_settings={"num_retries": 0}):
    seen |= {"generate, num_retries 0": generate(zero, "plain"), "edit, num_retries 0": edit(zero, "plain")}
for name, (status, count, headers) in seen.items():
    print(f"{name:<25}{count} POSTs, the client receives {status}, headers about retries: {headers}")
assert {name: count for name, (_, count, _) in seen.items()} == {
    "generate": 9, "edit": 3, "generate, max_retries 0": 9, "generate, num_retries 0": 3, "edit, num_retries 0": 1
}, seen
PYTHON
