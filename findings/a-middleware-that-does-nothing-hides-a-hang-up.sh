#!/usr/bin/env bash
# What:     Once an app has any middleware of the kind `@app.middleware("http")` (BaseHTTPMiddleware), even one that does nothing, a handler's
#           `await request.is_disconnected()` is False for ever: an endpoint that polls it, to stop costly work when the client hangs up,
#           works to the end for nobody. No server is to blame; each of them tells the same app without the middleware at once.
# Versions: fastapi 0.165.0 with starlette 1.10.0; uvicorn 0.54.0, hypercorn 0.18.0, granian 2.8.9.
# Expected: True soon after the client has closed the connection, with and without the middleware.
# Seen:     without the middleware, GET and POST: True within a second after the hang-up. With it: False for the 3 seconds that are polled.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastapi==0.165.0 starlette==1.10.0 uvicorn==0.54.0 hypercorn==0.18.0 granian==2.8.9
cat >app.py <<'PYTHON'
import asyncio
import pathlib

import fastapi


def made(middleware):
    app = fastapi.FastAPI()
    if middleware:

        @app.middleware("http")
        async def nothing(request, call_next):
            return await call_next(request)

    async def work(request):
        """Seconds of work that end when the client is gone."""
        pathlib.Path(f"begun-{request.method}").touch()
        for _ in range(30):
            if await request.is_disconnected():
                break
            await asyncio.sleep(0.1)
        else:
            pathlib.Path(f"never-{request.method}").touch()
            return
        pathlib.Path(f"told-{request.method}").touch()

    @app.get("/")
    async def get(request: fastapi.Request):
        await work(request)

    @app.post("/")
    async def post(request: fastapi.Request, body: dict):
        await work(request)

    return app


plain, wrapped = made(False), made(True)
PYTHON
timeout 180 venv/bin/python - <<'PYTHON'
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
HOST = "127.0.0.1"
SERVERS = {
    "uvicorn": ["--host", HOST, "--port", "PORT", "--log-level", "critical"],
    "hypercorn": ["--bind", f"{HOST}:PORT"],
    "granian": ["--interface", "asgi", "--host", HOST, "--port", "PORT", "--no-log"],
}
REQUESTS = {
    "GET": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
}


def awaited(*paths):
    for _ in range(300):
        for path in paths:
            if pathlib.Path(path).exists():
                return path
        time.sleep(0.05)
    sys.exit(f"none of {paths}")


def asked(port, method):
    for _ in range(300):
        try:
            connection = socket.create_connection((HOST, port), 1)
            break
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit("it does not listen")
    with connection:
        connection.sendall(REQUESTS[method])
        awaited(f"begun-{method}")
    outcome = awaited(f"told-{method}", f"never-{method}").partition("-")[0]
    for path in pathlib.Path().glob(f"*-{method}"):
        path.unlink()
    return outcome


seen = {}
for name, options in SERVERS.items():
    for app in ("plain", "wrapped"):
        with socket.create_server((HOST, 0)) as listener:
            port = listener.getsockname()[1]
        command = [f"venv/bin/{name}", f"app:{app}", *(option.replace("PORT", str(port)) for option in options)]
        environ = {**os.environ, "PYTHONPATH": os.getcwd()}
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            for method in REQUESTS:
                seen[name, app, method] = asked(port, method)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
for (name, app, method), outcome in seen.items():
    middleware = "with the middleware   " if app == "wrapped" else "without the middleware"
    print(f"{name:10} {middleware} {method:5} {outcome} of the hang-up")
sys.exit(any(outcome != ("told" if app == "plain" else "never") for (_, app, _), outcome in seen.items()))
PYTHON
