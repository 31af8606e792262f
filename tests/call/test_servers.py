"""What a client does for the server that `server=`, `STEP_SERVER` or its address names."""

import base64
import json
import warnings
from functools import partial
from typing import Any

import httpx
import pytest

from stepfun_async import (
    APIConnectionError,
    APIStatusError,
    AsyncClient,
    Client,
    ConfigurationError,
    InvalidRequestError,
    RetryPolicy,
    Size,
    TextToImage,
    register_model,
    register_server,
)
from stepfun_async._call.settings import resolve
from tests.support.responses import PIXEL

pytestmark = pytest.mark.anyio

KEY = "sk-secret-0123456789"
OMNI = "http://localhost:8091/v1"


class Recorder:
    """A server of which every response has an image and no seed; it keeps the requests."""

    def __init__(self, images: int = 1) -> None:
        self.requests: list[httpx.Request] = []
        item = {"b64_json": base64.b64encode(PIXEL).decode()}
        self.transport = httpx.MockTransport(self._response)
        self._body = {"created": 1, "data": [item] * images}

    def _response(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=self._body)


@pytest.mark.parametrize(
    ("server", "base_url", "profile", "url"),
    [
        (None, None, "stepfun", "https://api.stepfun.ai/v1"),
        (None, "https://api.stepfun.com/step_plan/v1", "stepfun", "https://api.stepfun.com/step_plan/v1"),
        (None, "embedded", "embedded", "embedded"),
        (None, "https://gateway.test/v1", "openai", "https://gateway.test/v1"),
        ("stepfun", None, "stepfun", "https://api.stepfun.ai/v1"),
        ("stepfun", "https://proxy.test/v1", "stepfun", "https://proxy.test/v1"),
        ("embedded", None, "embedded", "embedded"),
        ("embedded", "http://localhost:8000/v1", "embedded", "http://localhost:8000/v1"),
        ("vllm-omni", OMNI, "vllm-omni", OMNI),
    ],
)
def test_the_profile_is_the_one_named_or_that_of_the_address(
    server: str | None, base_url: str | None, profile: str, url: str
) -> None:
    config = resolve(KEY, base_url, server=server)
    assert (config.server.name, config.base_url) == (profile, url)


def test_the_profile_is_found_in_the_environment_unless_the_address_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_SERVER", "vllm-omni")
    monkeypatch.setenv("STEP_BASE_URL", OMNI)
    assert resolve(None, None).server.name == "vllm-omni"
    assert resolve(None, "http://localhost:1/v1", server="sglang").server.name == "sglang"
    assert resolve(None, "embedded").server.name == "embedded"
    monkeypatch.setenv("STEP_SERVER", "vlm")
    for base_url in (None, "embedded", "https://api.stepfun.ai/v1"):
        with pytest.raises(ConfigurationError, match="STEP_SERVER: no server profile 'vlm'"):
            resolve(KEY, base_url)


def test_the_base_url_of_a_registered_server_is_its_own() -> None:
    studio = register_server("studio", address="https://studio.test/v1", needs_key=False)
    assert resolve(None, None, server=studio).base_url == "https://studio.test/v1"


@pytest.mark.parametrize(
    ("server", "base_url", "message"),
    [
        ("nobody", None, "no server profile 'nobody'; known: stepfun, embedded, "),
        (5, None, "no server profile 5"),
        ("sglang", None, "server='sglang' stands at an address of yours: pass base_url=.*localhost:30000"),
        ("sglang", "https://api.stepfun.ai/v1", "does not fit base_url .* StepFun's own host"),
        ("stepfun", "embedded", "does not fit base_url 'embedded', which is an engine in this process"),
        ("embedded", "https://api.stepfun.com/v1", "does not fit"),
    ],
)
def test_a_profile_that_is_not_known_or_does_not_fit_is_refused(
    server: Any, base_url: str | None, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Client(KEY, base_url=base_url, server=server)


def test_servers_of_ones_own_need_no_key_even_on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEP_API_KEY", "STEPFUN_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert resolve(None, "http://gpu.test:8091/v1", server="vllm-omni").key is None
    with pytest.raises(ConfigurationError, match="no API key"):
        resolve(None, "http://localhost:4000/v1", server="litellm")


@pytest.mark.parametrize(
    ("headers", "sent"), [(None, "0"), ({"X-LiteLLM-Num-Retries": "2"}, "2"), ({"x-team": "art"}, "0")]
)
async def test_the_headers_of_a_profile_are_sent_unless_the_client_has_its_own(
    headers: dict[str, str] | None, sent: str
) -> None:
    there = Recorder()
    async with AsyncClient(
        KEY, base_url="http://localhost:4000/v1", server="litellm", default_headers=headers, transport=there.transport
    ) as client:
        await client.images.generate("a lake")
    assert there.requests[0].headers.get_list("x-litellm-num-retries") == [sent]


async def test_a_drawn_seed_is_sent_and_reported() -> None:
    there = Recorder()
    seen: list[Any] = []
    async with AsyncClient(
        base_url="http://localhost:30000/v1", server="sglang", transport=there.transport, on_event=seen.append
    ) as client:
        images = [(await client.images.generate("a lake")).image for _ in range(3)]
        fixed = (await client.images.generate("a lake", seed=5)).image
        edited = (await client.images.edit(PIXEL, "make it blue")).image
    seeds = [json.loads(r.content)["seed"] for r in there.requests[:4]]
    assert [image.seed for image in images] == seeds[:3]
    assert len(set(seeds[:3])) == 3
    assert fixed.seed == seeds[3] == 5
    assert edited.seed is not None
    assert f'name="seed"\r\n\r\n{edited.seed}\r\n'.encode() in there.requests[4].content
    requests = [event.request for event in seen if type(event).__name__ == "CallStarted"]
    assert [request.seed for request in requests] == [*seeds, edited.seed]


async def test_the_seed_sent_is_not_that_of_every_image() -> None:
    there = Recorder(images=2)
    async with AsyncClient(
        base_url="http://localhost:30000/v1", server="sglang", transport=there.transport, validation="off"
    ) as client:
        images: Any = client.images  # of which type checkers know that the model makes one
        response = await images.generate("a lake", n=2, seed=5)
    assert [image.seed for image in response.data] == [None, None]


async def test_a_model_of_an_open_engine_can_be_tried_in_the_embedded_engine() -> None:
    model = register_model("tried", server="vllm-omni")
    async with AsyncClient(base_url="embedded") as client:
        made = await client.images.generate("a lake", model=model, size=Size(width=64, height=48), steps=3, seed=5)
        edited = await client.images.edit(made.image, "by night", model=model, cfg_scale=3.0)
        varied = await client.images.image_to_image(made.image, "in oil", model=model, source_weight=0.5)
    assert [(image.width, image.height) for image in (made.image, edited.image)] == [(64, 48), (64, 48)]
    assert varied.image.data is not None


@pytest.mark.parametrize(
    ("base_url", "operation", "status", "hint"),
    [
        ("http://localhost:1/v1", "image_to_image", 404, "no image-to-image; edit() takes"),
        ("http://localhost:1/v1", "text_to_image", 404, "client.server.inspect() shows what it has"),
        ("http://localhost:1", "text_to_image", 404, "check base_url, which usually ends in /v1"),
        ("https://api.stepfun.ai/v1", "text_to_image", 404, "the page 'Which server?'"),
        ("https://api.stepfun.com/v1", "image_to_image", 503, "the page 'Which server?'"),
        ("https://api.stepfun.ai/v1", "text_to_image", 401, "check STEP_API_KEY"),
        ("http://localhost:1/v1", "models", 404, "no such path, or no such model; client.server.inspect() shows"),
        ("http://localhost:1", "models", 404, "check base_url, which usually ends in /v1"),
        ("https://api.stepfun.ai/v1", "models", 404, "no such path, or no such model"),
    ],
)
async def test_an_error_says_what_can_be_done_at_this_address(
    base_url: str, operation: str, status: int, hint: str
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json={"detail": "Not Found"}))
    async with AsyncClient(KEY, base_url=base_url, transport=transport) as client:
        asked: dict[str, Any] = {
            "text_to_image": partial(client.images.generate, "a lake"),
            "image_to_image": partial(
                client.images.image_to_image, "https://a.test/a.png", "in oil", source_weight=0.5
            ),
            "models": partial(client.models.retrieve, "Qwen/Qwen-Image"),
        }
        with warnings.catch_warnings(action="ignore"), pytest.raises(APIStatusError) as caught:
            await asked[operation]()
    assert hint in caught.value.message


@pytest.mark.parametrize(
    ("base_url", "error", "named"),
    [
        ("https://api.stepfun.ai/v1", httpx.ConnectError, True),
        ("https://api.stepfun.ai/v1", httpx.ReadError, False),
        ("https://gateway.test/v1", httpx.ConnectError, False),
    ],
)
async def test_where_stepfuns_hosts_cannot_be_reached_other_servers_are_named(
    base_url: str, error: type[httpx.TransportError], named: bool
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        request.read()
        raise error("no", request=request)

    retry = RetryPolicy(max_attempts=1)
    async with AsyncClient(KEY, base_url=base_url, transport=httpx.MockTransport(fail), retry=retry) as client:
        with warnings.catch_warnings(action="ignore"), pytest.raises(APIConnectionError) as caught:
            await client.images.generate("a lake")
        with pytest.raises(APIConnectionError) as free:
            await client.models.list()
    assert ("the page 'Which server?'" in caught.value.message) == named
    assert "Which server" not in free.value.message


async def test_map_yields_the_request_that_was_given_and_each_image_has_its_seed() -> None:
    there = Recorder()
    request = TextToImage(prompt="a lake")
    async with AsyncClient(base_url="http://localhost:30000/v1", server="sglang", transport=there.transport) as client:
        outcomes = [outcome async for outcome in client.images.map([request] * 4)]
    assert all(outcome.request is request for outcome in outcomes)
    assert len({json.loads(r.content)["seed"] for r in there.requests}) == 4


async def test_what_a_server_does_not_have_is_refused_before_anything_is_sent() -> None:
    there = Recorder()
    async with AsyncClient(base_url="http://localhost:30000/v1", server="sglang", transport=there.transport) as client:
        with pytest.raises(InvalidRequestError, match="text_mode"):
            await client.images.generate("a lake", text_mode=True)
        with pytest.raises(InvalidRequestError, match="edit\\(\\) takes an image and a prompt"):
            await client.images.image_to_image(PIXEL, "in oil", source_weight=0.5)
    assert there.requests == []


@pytest.mark.parametrize(("name", "value"), [("x-team", 3), ("x-team", "art\r\nx-other: 1"), ("host", "studio.test")])
def test_headers_of_a_profile_are_held_to_the_rules_of_the_clients_own(name: str, value: Any) -> None:
    register_server("studio", headers={name: value})
    with pytest.raises(ConfigurationError, match=name):
        Client(KEY, base_url="http://localhost:8000/v1", server="studio")


def omni_error(status: int, message: str, type: str, param: str | None = None, **others: object) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": type, "param": param, "code": status, **others}}


BAD_SIZE = (
    "1 validation error:\n  {'type': 'value_error', 'loc': 'body.size', 'msg': 'Value error', 'input': '1024*1024'}"
)
OTHER_MODEL = "Model mismatch: request specifies 'b' but server is running 'a'."
BROKEN = {"request_id": "img_gen-aa6baccd8e845a2a", "error_stage_id": None}


@pytest.mark.parametrize(
    ("recorded", "message", "billing"),
    [
        (omni_error(400, BAD_SIZE, "Bad Request", "body.size"), "400: 1 validation error:", "rejected"),
        (omni_error(400, OTHER_MODEL, "Bad Request"), f"400: {OTHER_MODEL}", "rejected"),
        (
            omni_error(422, "Field 'image' or 'url' is required", "Unprocessable Entity"),
            "422: Field 'image'",
            "rejected",
        ),
        (
            omni_error(500, "Image generation failed: out of memory", "Internal Server Error"),
            "500: Image gen",
            "unknown",
        ),
        (omni_error(500, "the stage broke", "InternalServerError", **BROKEN), "500: the stage broke;", "unknown"),
        ((401, {"error": "Unauthorized"}), "401: Unauthorized (check STEP_API_KEY", "rejected"),
    ],
)
async def test_errors_recorded_from_vllm_omni_keep_its_words(
    recorded: tuple[int, Any], message: str, billing: str
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(recorded[0], json=recorded[1]))
    model = register_model("a", server="vllm-omni")
    async with AsyncClient(base_url=OMNI, server="vllm-omni", transport=transport) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.images.generate("a lake", model=model)
    assert caught.value.message.startswith(message)
    assert caught.value.billing == billing


async def test_a_response_recorded_from_vllm_omni_is_read() -> None:
    item = {"b64_json": base64.b64encode(PIXEL).decode(), "url": None, "revised_prompt": None}
    metrics = {"stage_durations": None, "peak_memory_mb": None}
    body = {"created": 1796037074, "data": [item], "output_format": "png", "size": "1x1", "cot_output": None}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={**body, "metrics": metrics}))
    model = register_model("a", server="vllm-omni")
    async with AsyncClient(base_url=OMNI, server="vllm-omni", transport=transport) as client:
        response = await client.images.generate("a lake", model=model, seed=2**63 - 1)
    assert (response.image.data, response.image.seed, response.created) == (PIXEL, 2**63 - 1, 1796037074)
    assert (response.id, response.image.finish_reason, response.image.url) == (None, None, None)
