"""A real server that speaks S3 on a free port of this machine: moto's, in a process of its own."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

import pytest

BUCKET = "lakes"

_SIGNED = "AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=test"
"""Says whose request it is; that it is right is looked at only where credentials are."""


class ObjectStore:
    """The server, looked into from outside: none of this goes through what is tested."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def environment(self) -> dict[str, str]:
        """What has clients find it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def reset(self) -> None:
        """Have one bucket, with nothing in it."""
        self._ask("POST", "/moto-api/reset")
        self._ask("PUT", f"/{BUCKET}")

    def names(self) -> list[str]:
        """The names of all objects but trials that could not be taken away."""
        response = self._ask("GET", f"/{BUCKET}?list-type=2&encoding-type=url").decode()
        assert "<IsTruncated>false" in response
        return [unquote(key) for key in re.findall("<Key>([^<]*)</Key>", response)]

    def get(self, key: str) -> bytes:
        return self._ask("GET", f"/{BUCKET}/{quote(key)}")

    def put(self, key: str, data: bytes) -> None:
        self._ask("PUT", f"/{BUCKET}/{quote(key)}", data)

    def delete(self, key: str) -> None:
        self._ask("DELETE", f"/{BUCKET}/{quote(key)}")

    def content_type(self, key: str) -> str | None:
        return self._response("HEAD", f"/{BUCKET}/{quote(key)}")[1].headers["Content-Type"]

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Only credentials that it has given are accepted."""
        self._ask("POST", "/moto-api/reset-auth", b"0")
        try:
            yield
        finally:
            self._ask("POST", "/moto-api/reset-auth", b"inf")

    def user(self, *actions: str) -> dict[str, str]:
        """The credentials of a user who may do these things, and nothing else."""
        self._iam("CreateUser", UserName="painter")
        policy = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": actions, "Resource": "*"}}
        self._iam("PutUserPolicy", UserName="painter", PolicyName="all", PolicyDocument=json.dumps(policy))
        response = self._iam("CreateAccessKey", UserName="painter")
        found = {tag: re.findall(f"<{tag}>(.*?)</{tag}>", response)[0] for tag in ("AccessKeyId", "SecretAccessKey")}
        return {"AWS_ACCESS_KEY_ID": found["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"]}

    def _iam(self, action: str, **fields: str) -> str:
        body = "&".join(f"{name}={quote(value, safe='')}" for name, value in {"Action": action, **fields}.items())
        to_iam = {
            "Authorization": _SIGNED.replace("s3", "iam"),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self._ask("POST", "/", body.encode(), to_iam).decode()

    def _ask(self, method: str, path: str, body: bytes = b"", headers: Any = None) -> bytes:
        return self._response(method, path, body, headers)[0]

    def _response(
        self, method: str, path: str, body: bytes = b"", headers: Any = None
    ) -> tuple[bytes, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            own = {"Content-Type": "text/plain", "Authorization": _SIGNED, **(headers or {})}
            connection.request(method, path, body, own)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        assert response.status < 300, data
        return data, response


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A running server, gone at the end. Where moto is not installed the test is skipped."""
    pytest.importorskip("moto")
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        said = ""
        while not (running := re.search(r"Running on http://127\.0\.0\.1:(\d+)", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        reader = threading.Thread(target=process.stderr.read, daemon=True)  # or it would wait with its pipe full
        reader.start()
        try:
            yield ObjectStore(process, int(running[1]))
        finally:
            process.kill()
            reader.join()
