#!/usr/bin/env bash
# What:     Of an upload that breaks off in the middle, Flask's `request.get_data()` and Django's `request.body` give the half that came, behind gunicorn
#           and cheroot, and what is short of Content-Length is no error: half of an image is stored as the image. Django's behind granian too; Flask's
#           is empty there. Both frameworks have an exception for this case, which does not come. Starlette raises it behind each server.
# Versions: flask 3.1.3, django 5.2.19; gunicorn 27.0.1, cheroot 11.1.2, granian 2.8.9, waitress 3.0.2; starlette 1.10.0 with uvicorn 0.54.0.
# Expected: werkzeug's ClientDisconnected, Django's UnreadablePostError, Starlette's ClientDisconnect.
# Seen:     500 of 1000 bytes were sent: gunicorn and cheroot: 500 bytes by both frameworks, without an error. granian: Django 500, Flask 0. waitress:
#           the app is not called. Starlette: ClientDisconnect.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check flask==3.1.3 django==5.2.19 gunicorn==27.0.1 cheroot==11.1.2 granian==2.8.9 \
    waitress==3.0.2 starlette==1.10.0 uvicorn==0.54.0
cat >apps.py <<'PYTHON'
import os

import django
import flask
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="apps", MIDDLEWARE=[], SECRET_KEY="only for a test")
django.setup()


def note(what):
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{what}\n")


def got(read):
    try:
        note(len(read()))
    except Exception as error:
        note(type(error).__name__)
        raise


by_flask = flask.Flask("app")


@by_flask.post("/")
def upload():
    got(flask.request.get_data)
    return ""


def upload_to_django(request):
    got(lambda: request.body)
    return HttpResponse()


urlpatterns = [path("", upload_to_django)]
by_django = get_wsgi_application()


async def upload_to_starlette(request):
    try:
        note(len(await request.body()))
    except Exception as error:
        note(type(error).__name__)
        raise
    return Response()


by_starlette = Starlette(routes=[Route("/", upload_to_starlette, methods=["POST"])])
PYTHON
timeout 240 venv/bin/python - <<'PYTHON'
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
HOST = "127.0.0.1"
WSGI = {
    "gunicorn": ["gunicorn", "--bind", "ADDRESS"],
    "cheroot": ["cheroot", "--bind", "ADDRESS"],
    "granian": ["granian", "--interface", "wsgi", "--host", HOST, "--port", "PORT"],
    "waitress": ["waitress-serve", "--listen=ADDRESS"],
}
servers = {(framework, name): command for name, command in WSGI.items() for framework in ("flask", "django")}
servers["starlette", "uvicorn"] = ["uvicorn", "--host", HOST, "--port", "PORT"]
servers["starlette", "granian"] = ["granian", "--interface", "asgi", "--host", HOST, "--port", "PORT"]
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"


def seen_by(framework, command, notes):
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    words = [word.replace("ADDRESS", f"{HOST}:{port}").replace("PORT", str(port)) for word in command]
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "NOTES": str(notes)}
    process = subprocess.Popen(
        [f"venv/bin/{words[0]}", *words[1:], f"apps:by_{framework}"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(300):
            try:
                connection = socket.create_connection((HOST, port), 1)
                break
            except OSError:
                time.sleep(0.1)
        else:
            sys.exit(f"{words[0]} does not listen")
        with connection:
            connection.sendall(HEAD + b"x" * 500)
        with socket.create_connection((HOST, port), 10) as connection:  # a whole one, which comes second
            connection.sendall(HEAD + b"x" * 1000)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        time.sleep(0.5)
        found = notes.read_text().split()
        found.remove("1000")
        return found[0] if found else "not called"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


seen = {}
for (framework, name), command in servers.items():
    seen[framework, name] = seen_by(framework, command, pathlib.Path(f"notes-{framework}-{name}"))
    print(f"{framework:10}{name:10}{seen[framework, name]}", flush=True)
expected = {(framework, name): "500" for framework in ("flask", "django") for name in ("gunicorn", "cheroot", "granian")}
expected |= {("flask", "granian"): "0", ("flask", "waitress"): "not called", ("django", "waitress"): "not called"}
expected |= {("starlette", name): "ClientDisconnect" for name in ("uvicorn", "granian")}
sys.exit(seen != expected)
PYTHON
