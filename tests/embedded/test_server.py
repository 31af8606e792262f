"""The engine behind real sockets."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from stepfun_async import Client
from stepfun_async._core.errors import ConfigurationError
from stepfun_async.embedded import Engine, Log, Scenario
from stepfun_async.embedded import asgi as web
from stepfun_async.embedded.server import running, serve
from tests.support.scripts import development_command
from tests.support.shells import busy_threads, eventually

from .asking import decoded, photo

BODY = {"model": "step-2x-large", "prompt": "a lake", "size": "256x256", "seed": 1}
GENERATE = "/images/generations"


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Engine, str]]:
    engine = Engine(credit=1e6)
    with running(engine) as url:
        yield engine, url


@pytest.fixture
def engine(shared: tuple[Engine, str]) -> Iterator[Engine]:
    yield shared[0]
    shared[0].scenario = Scenario()


@pytest.fixture
def http(shared: tuple[Engine, str], request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {request.node.nodeid}"}
    with httpx.Client(base_url=shared[1], headers=headers, timeout=5, trust_env=False) as client:
        yield client


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return str(request.node.nodeid)


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.1", "http://127.0.0.1:")])
def test_the_base_url_is_one_that_this_machine_can_use(host: str, url: str) -> None:
    with running(Engine(), host) as base_url, Client("any", base_url=base_url) as client:
        assert base_url.startswith(url)
        assert client.models.list()


# --- responses


def test_generations_come_over_http(http: httpx.Client, engine: Engine, key: str) -> None:
    response = http.post(GENERATE, json={**BODY, "response_format": "b64_json"})

    image = response.json()["data"][0]
    assert decoded(base64.b64decode(image["b64_json"])).size == (256, 256)
    assert response.headers["x-trace-id"]
    assert engine.bill(key).images == 1


@pytest.mark.parametrize("field", ["image", "image[]"])
def test_edits_come_as_multipart(http: httpx.Client, field: str) -> None:
    form = {"model": "step-image-edit-2", "prompt": "autumn", "response_format": "b64_json", "steps": "4"}
    response = http.post("/images/edits", data=form, files={field: ("cat.png", photo(), "image/png")})

    assert response.status_code == 200, response.text
    assert decoded(base64.b64decode(response.json()["data"][0]["b64_json"])).size == (96, 64)


def test_a_large_image_as_base64_text_in_a_form_is_taken(http: httpx.Client) -> None:
    noise = photo(1200, 1200, "BMP")
    form = {"model": "step-image-edit-2", "prompt": "x", "image": base64.b64encode(noise).decode()}

    assert "the bytes are bmp" in http.post("/images/edits", data=form, files={"x": b""}).text


def test_image_to_image_comes_as_json(http: httpx.Client) -> None:
    source = "data:image/png;base64," + base64.b64encode(photo()).decode()
    response = http.post("/images/image2image", json={**BODY, "source_url": source, "source_weight": 0.5})

    assert set(response.json()) == {"data"}


def test_links_lead_back_to_the_server_and_need_no_key(http: httpx.Client, shared: tuple[Engine, str]) -> None:
    link = http.post(GENERATE, json=BODY).json()["data"][0]["url"]
    fetched = httpx.get(link, trust_env=False)
    head = httpx.head(link, trust_env=False)
    again = http.post("/images/image2image", json={**BODY, "source_url": link, "source_weight": 0.5})

    assert link.startswith(f"{shared[1]}/files/")
    assert decoded(fetched.content).size == (256, 256)
    assert fetched.headers["content-type"] == "image/png"
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(fetched.content))
    assert again.status_code == 200


def test_models_and_account(http: httpx.Client) -> None:
    assert http.get("/models/step-2x-large").json()["id"] == "step-2x-large"
    assert len(http.get("/models").json()["data"]) >= 4
    assert http.get("/accounts").json()["balance"] == 1e6


def test_the_step_plan_has_its_own_path(shared: tuple[Engine, str]) -> None:
    plan = shared[1].replace("/v1", "/step_plan/v1")
    with httpx.Client(base_url=plan, headers={"authorization": "Bearer plan"}, trust_env=False) as http:
        refused = http.post(GENERATE, json=BODY)
        taken = http.post(GENERATE, json={"model": "step-image-edit-2", "prompt": "a lake"})
        link = taken.json()["data"][0]["url"]

        assert refused.status_code == 400
        assert link.startswith(plan)
        assert http.get(link).status_code == 200


def test_the_root_says_what_this_is(http: httpx.Client, shared: tuple[Engine, str]) -> None:
    root = shared[1].removesuffix("/v1") + "/"

    assert "stand-in" in http.get(root).json()["purpose"]
    assert http.head(root).status_code == 200


# --- refusals


@pytest.mark.parametrize(
    ("status", "method", "path", "body"),
    [
        (400, "POST", GENERATE, b"{"),
        (400, "POST", GENERATE, b"[1]"),
        (400, "POST", GENERATE, b"\xff\xfe"),
        (400, "POST", GENERATE, b"[" * 100_000),
        (400, "POST", GENERATE, b""),
        (400, "POST", GENERATE, b'{"model": "\\ud800", "prompt": "x"}'),
        (404, "POST", "/nothing", b"{}"),
        (405, "DELETE", GENERATE, b""),
        (404, "GET", "../nothing", b""),
    ],
)
def test_every_refusal_is_json_with_the_error_body(
    http: httpx.Client, status: int, method: str, path: str, body: bytes
) -> None:
    response = http.request(method, path, content=body)

    assert response.status_code == status
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"[1]", "application/json"),
        (b"--y", "multipart/form-data; boundary=x"),
        (b"x" * 2000, "application/json"),
    ],
)
def test_the_key_is_checked_before_the_body(
    key: str | None, body: bytes, content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "MAX_BODY", 1000)
    headers = {"content-type": content_type, **({} if key is None else {"authorization": f"Bearer {key}"})}
    with running(Engine(keys={"right"})) as url:
        response = httpx.post(f"{url}/images/edits", content=body, headers=headers, trust_env=False)

    assert response.status_code == 401
    assert response.json()["error"]["type"] == "invalid_api_key"
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-trace-id"]


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/models", 405), ("/images/edits", 400)])
def test_the_path_and_the_method_are_checked_before_the_body(http: httpx.Client, path: str, status: int) -> None:
    response = http.post(path, content=b"{")

    assert response.status_code == status
    assert response.headers["x-trace-id"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/images/generations", {"POST", "OPTIONS"}),
        ("/models", {"GET", "HEAD", "OPTIONS"}),
        ("/models/step-2x-large", {"GET", "HEAD", "OPTIONS"}),
        ("/accounts", {"GET", "HEAD", "OPTIONS"}),
        ("/files/a.png", {"GET", "HEAD", "OPTIONS"}),
        ("../openapi.json", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_is_not_allowed_is_405_with_those_that_are(
    http: httpx.Client, path: str, allowed: set[str]
) -> None:
    for method in {"GET", "POST", "PUT", "TRACE"} - allowed:
        response = http.request(method, path)
        assert response.status_code == 405
        assert set(response.headers["allow"].split(", ")) == allowed
        assert response.json()["error"]["type"] == "method_not_allowed"


def test_options_names_the_methods_of_a_path_and_needs_no_key(shared: tuple[Engine, str]) -> None:
    response = httpx.options(shared[1] + GENERATE, trust_env=False)

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_broken_form_is_400(http: httpx.Client, content_type: str) -> None:
    response = http.post("/images/edits", content=b"--y\r\nnonsense", headers={"content-type": content_type})

    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_two_images_are_one_too_many(http: httpx.Client) -> None:
    files = [("image[]", ("a.png", photo(), "image/png")), ("image[]", ("b.png", photo(), "image/png"))]
    response = http.post("/images/edits", data={"model": "step-image-edit-2", "prompt": "x"}, files=files)

    assert (response.status_code, "twice" in response.text) == (400, True)


def test_a_body_that_is_too_large_is_refused(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_BODY", 1000)

    response = http.post(GENERATE, json={**BODY, "prompt": "x" * 2000})

    assert (response.status_code, "larger" in response.text) == (413, True)


def test_a_missing_or_wrong_key_is_401() -> None:
    with running(Engine(keys={"right"})) as url:
        responses = [
            httpx.get(f"{url}/models", headers=headers, trust_env=False)
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer right"})
        ]

    assert [response.status_code for response in responses] == [401, 401, 200]


def test_a_caller_that_leaves_in_the_middle_of_its_request_harms_no_other(
    http: httpx.Client, shared: tuple[Engine, str]
) -> None:
    host, port = shared[1].removeprefix("http://").removesuffix("/v1").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/images/generations HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n{")

    assert http.post(GENERATE, json=BODY).status_code == 200


# --- faults on sockets


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "truncated"])
def test_a_lost_connection_is_one(http: httpx.Client, engine: Engine, key: str, fault: str) -> None:
    engine.scenario = Scenario(f"{fault}*1")

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        http.post(GENERATE, json=BODY)

    assert engine.bill(key).images == (0 if fault == "drop-before" else 1)
    assert http.post(GENERATE, json=BODY).status_code == 200


def test_a_truncated_response_announces_more_than_comes(http: httpx.Client, engine: Engine) -> None:
    engine.scenario = Scenario("truncated")
    chunks: list[bytes] = []

    with http.stream("POST", GENERATE, json=BODY) as response, pytest.raises(httpx.RemoteProtocolError):
        chunks.extend(response.iter_raw())

    assert 0 < sum(map(len, chunks)) < int(response.headers["content-length"])


def test_silence_lasts_until_the_caller_gives_up() -> None:
    engine = Engine(plain=True, log=Log())
    body = json.dumps(BODY).encode()

    with asking(engine, "hang*1", len(body), body) as connection:
        assert engine.log is not None
        while not engine.log.calls:
            threading.Event().wait(0.005)
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)


@pytest.mark.parametrize("fault", ["delay=0.03", "drip=0.001"])
def test_slow_responses_are_slow_and_whole(http: httpx.Client, engine: Engine, fault: str) -> None:
    engine.scenario = Scenario(fault)
    began = time.perf_counter()

    response = http.post(GENERATE, json={**BODY, "response_format": "b64_json"})

    assert time.perf_counter() - began >= 0.03
    assert decoded(base64.b64decode(response.json()["data"][0]["b64_json"])).size == (256, 256)


def test_a_dripping_response_outlasts_a_timeout_between_pieces(http: httpx.Client, engine: Engine) -> None:
    engine.scenario = Scenario("drip=0.03")

    assert http.post(GENERATE, json=BODY, timeout=1.2).status_code == 200  # 50 pieces take longer


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        *(("429=2", 429), ("500", 500), ("html", 502), ("redirect", 307), ("bad-json", 200), ("empty", 200)),
        *(("envoy-503", 503), ("litellm-408", 408), ("accepted", 202), ("error-in-200", 200), ("mid-upload", 413)),
    ],
)
def test_responses_of_faults_arrive(http: httpx.Client, engine: Engine, fault: str, status: int) -> None:
    engine.scenario = Scenario(fault)
    response = http.post(GENERATE, json=BODY)

    assert response.status_code == status
    assert response.headers.get("retry-after") == ("2" if fault == "429=2" else None)


LARGE = 8_000_000
"""Bytes of a body that is longer than what the kernels on the way take in while nothing is read."""


@contextmanager
def asking(engine: Engine, fault: str, length: int, begin: bytes) -> Iterator[socket.socket]:
    """A connection on which a request of `length` bytes has begun, which meets `fault`."""
    engine.scenario = Scenario(fault)
    with running(engine) as url:
        host, _, port = url.removeprefix("http://").removesuffix("/v1").partition(":")
        lines = f"POST /v1{GENERATE} HTTP/1.1", f"host: {host}", "authorization: Bearer x", f"content-length: {length}"
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + begin)
            yield connection


def read_response(connection: socket.socket) -> bytes:
    """A response, whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head


def test_a_refusal_in_mid_upload_comes_before_the_body_and_closes_the_connection() -> None:
    engine = Engine(plain=True)
    with asking(engine, "mid-upload:401", LARGE, b"x" * 1000) as connection:
        assert read_response(connection).startswith(b"HTTP/1.1 401 ")
        with suppress(ConnectionError):
            assert connection.recv(1) == b""
    assert engine.bill().images == 0
    assert engine.bill().calls == 1


def test_a_refusal_after_which_nothing_is_read_leaves_the_connection_open() -> None:
    engine = Engine(plain=True)
    with asking(engine, "stop-reading", LARGE, b"x" * 1000) as connection:
        assert read_response(connection).startswith(b"HTTP/1.1 413 ")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.sendall(b"x" * LARGE)
    assert engine.bill().images == 0


def test_a_connection_is_kept_for_as_long_as_the_response_says() -> None:
    engine = Engine(plain=True)
    body = json.dumps(BODY).encode()
    with asking(engine, "keep-alive=0.01", len(body), body) as connection:
        assert b"keep-alive: timeout=0.01" in read_response(connection)
        assert connection.recv(1) == b"", "closed by the server, which keeps others for 75 s"


def test_heartbeats_arrive_before_the_json(http: httpx.Client, engine: Engine) -> None:
    engine.scenario = Scenario("heartbeat")
    response = http.post(GENERATE, json=BODY)
    assert response.content.startswith(b"     {")
    assert response.json()["data"]


# --- coming and going


@pytest.mark.parametrize("fault", ["hang", "delay=60", "drip=60", "drop-before"])
def test_nothing_is_left_behind(fault: str) -> None:
    before = busy_threads()
    headers = {"authorization": "Bearer x"}
    with running(Engine(scenario=Scenario(fault))) as url, httpx.Client(trust_env=False) as http:
        port = int(url.split(":")[2].removesuffix("/v1"))
        waiting = threading.Thread(target=_give_up, args=(url, headers))
        waiting.start()
        assert http.get(f"{url}/models", headers=headers).status_code == 200

    waiting.join(5)
    assert eventually(before, busy_threads) == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def _give_up(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.post(url + GENERATE, json=BODY, headers=headers, timeout=10, trust_env=False)


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}.*choose another"):
            serve("127.0.0.1", port, Engine())


SERVE = """
from stepfun_async.embedded import Engine
from stepfun_async.embedded.server import serve
serve("127.0.0.1", 0, Engine(), lambda url: print(url, flush=True))
print("bye")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_serve_answers_until_ctrl_c_and_ends_quietly() -> None:
    import signal

    with subprocess.Popen(
        development_command(SERVE), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        models = httpx.get(f"{url}/models", headers={"authorization": "Bearer x"}, trust_env=False)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)

    assert json.loads(models.text)["object"] == "list"
    assert (process.returncode, out, err) == (0, "bye\n", "")
