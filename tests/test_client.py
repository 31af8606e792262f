"""What an `AsyncClient` refuses, warns about, counts and hides, whatever carries its calls."""

from __future__ import annotations

import base64
import math
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest
from PIL import Image as pillow

import stepfun_async._call.caller as caller_module
from stepfun_async import (
    APIError,
    AsyncClient,
    Client,
    ConfigurationError,
    Image,
    IneffectiveParameterWarning,
    InvalidRequestError,
    Limits,
    ModelRetiredWarning,
    OrientationWarning,
    RateLimitError,
    RetryPolicy,
    Size,
    TextToImage,
    register_model,
)
from stepfun_async._core import registry as tables
from stepfun_async._core.headers import read_header
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from tests.support.responses import PIXEL, image_response
from tests.support.samples import SAMPLES

pytestmark = pytest.mark.anyio

LARGE: Final = "step-2x-large"
BODY = image_response().partition(b"\r\n\r\n")[2]


class Post:
    """A transport that keeps its requests and sends the responses that it was given."""

    def __init__(self, *responses: HTTPResponse) -> None:
        self.calls: list[HTTPRequest] = []
        self.responses = list(responses)

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        self.calls.append(call)
        progress.sent = True
        await anyio.lowlevel.checkpoint()
        return self.responses.pop(0) if self.responses else HTTPResponse(200, {"x-trace-id": "t-1"}, BODY)

    async def aclose(self) -> None:
        pass


def client_over(post: Post, **more: Any) -> AsyncClient:
    return AsyncClient("sk-secret", **{"base_url": "https://gateway.test/v1", "transport": post, **more})


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timeout": 0}, "timeout is above 0"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": math.nan}, "timeout is a number"),
        ({"timeout": True}, "timeout is a number"),
        ({"timeout": "10"}, "timeout is a number"),
        ({"queue_timeout": -1}, "queue_timeout is 0 or more"),
        ({"validation": "lax"}, "'strict' or 'off', not 'lax'"),
        ({"default_headers": {"a b": "c"}}, "'a b' is not the name of a header"),
        ({"default_headers": {"x-secret": "line\r\nbreak"}}, "'x-secret'"),
        ({"default_headers": "x: y"}, "mapping"),
        ({"base_url": "gateway.test/v1"}, "https://host/v1"),
        ({"base_url": "ftp://gateway.test"}, "https://host/v1"),
        ({"base_url": "https://user:pw@gateway.test/v1"}, "user name or password"),
        ({"base_url": "https://gateway.test/v1?x=1"}, "query"),
        ({"api_key": ""}, "empty"),
        ({"api_key": "two words"}, "visible ASCII"),
        ({"api_key": 5}, "not a int"),
    ],
)
def test_settings_that_cannot_be_right_are_refused_at_once(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        AsyncClient(**{"api_key": "sk-secret", **settings})
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", None])
def test_a_limit_is_a_whole_number_above_zero(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_concurrency"):
        Limits(max_concurrency=value)


@pytest.mark.parametrize("make", [AsyncClient, Client])
def test_without_a_key_it_says_how_to_give_one(make: type[AsyncClient | Client]) -> None:
    with pytest.raises(ConfigurationError, match=r"STEP_API_KEY or STEPFUN_API_KEY.*embedded"):
        make()


@pytest.mark.parametrize("name", ["STEP_API_KEY", "STEPFUN_API_KEY"])
def test_key_and_address_come_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "sk-from-environment\n")
    monkeypatch.setenv("STEP_BASE_URL", "https://gateway.test/v1/")
    client = AsyncClient()
    assert client.base_url == "https://gateway.test/v1"
    assert "sk-from" not in repr(client)


def test_a_transport_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="transport"):
        AsyncClient("sk-secret", transport="https")  # type: ignore[arg-type]


# --- requests -----------------------------------------------------------------------------------


async def test_all_problems_are_named_at_once_and_nothing_is_sent(tmp_path: Path) -> None:
    post = Post()
    async with client_over(post) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.images.edit(
                tmp_path / "missing.png",
                "",
                seed=-1,
                steps=99,
                cfg_scale=math.nan,
                text_mode=1,  # type: ignore[arg-type]
                save_to=tmp_path,
                timeout=-5,
                queue_timeout=math.nan,
                extra_headers={"bad name": "x"},
                extra_body={"x": object()},
            )
        assert client.usage.requests == 0
    fields = [problem.field for problem in caught.value.problems]
    assert fields == [
        "image",
        "prompt",
        "seed",
        "steps",
        "cfg_scale",
        "text_mode",
        "extra_body",
        "timeout",
        "queue_timeout",
        "extra_headers",
        "save_to",
    ]
    assert isinstance(caught.value, ValueError)
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message
    assert post.calls == []


async def test_a_mistyped_keyword_is_a_type_error() -> None:
    async with client_over(Post()) as client:
        with pytest.raises(TypeError, match="stpes"):
            await client.images.generate("a lake", stpes=5)  # type: ignore[call-arg]


def _existing(folder: Path) -> Path:
    (folder / "there.png").write_bytes(b"old")
    return folder / "there.png"


def _existing_without_extension(folder: Path) -> Path:
    _existing(folder)
    return folder / "there"


def _below_a_file(folder: Path) -> Path:
    return _existing(folder) / "deeper.png"


def _directory(folder: Path) -> str:
    return f"{folder}{os.sep}"


@pytest.mark.parametrize(
    "target",
    [
        _existing,
        _existing_without_extension,
        _below_a_file,
        _directory,
        lambda _: "",
        lambda _: 5,
        lambda _: "\0",
        lambda _: "x" * 252,
    ],
)
async def test_an_image_is_not_bought_for_a_place_it_cannot_go(target: Callable[[Path], Any], tmp_path: Path) -> None:
    post = Post()
    async with client_over(post) as client:
        with pytest.raises(InvalidRequestError, match="save_to"):
            await client.images.generate("a lake", save_to=target(tmp_path))
    assert post.calls == []
    assert all(path.read_bytes() == b"old" for path in tmp_path.iterdir())


async def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = _existing(tmp_path)
    async with client_over(Post()) as client:
        response = await client.images.generate("a lake", save_to=target, overwrite=True)
    assert target.read_bytes() == PIXEL == response.image.to_bytes()
    assert (response.image.path, response.image.data) == (target, None), "what is on disk is not kept in memory"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (b"", "0 bytes"),
        (b"GIF89a but not really", "decompression bomb"),
        (b"%PDF-1.7 and so on, for a while", "a PDF, not an image"),
        (PIXEL[:-4], "cut off"),
        ("no-such-file.png", "No such file"),
        (os.curdir, "directory"),
        ("data:image/png;base64,????", "base64"),
        ("data:image/png,plain", "not an image"),
        ("data:image/png", "data URI"),
        ("https://images.test/cat.png", "links"),
        ("https://", "no host"),
        (None, "required"),
        (5, "not an image"),
    ],
)
async def test_what_is_no_image_is_refused_before_anything_is_sent(image: Any, said: str) -> None:
    post = Post()
    async with client_over(post) as client:
        with pytest.raises(InvalidRequestError, match=said) as caught:
            await client.images.edit(image, "a hat")
    assert [problem.field for problem in caught.value.problems] == ["image"]
    assert post.calls == []


async def test_an_image_too_large_is_refused_by_its_header() -> None:
    """An image bomb is measured, not decoded."""
    bomb = PIXEL[:16] + (60_000).to_bytes(4, "big") * 2 + PIXEL[24:]
    async with client_over(Post()) as client:
        with pytest.raises(InvalidRequestError, match="60000x60000 pixels"):
            await client.images.edit(bomb, "a hat")


async def test_a_link_goes_to_the_server_as_it_is() -> None:
    post = Post()
    async with client_over(post) as client:
        await client.images.image_to_image("https://images.test/cat.png", "a hat", source_weight=0.5)
    assert post.calls[0].json is not None
    assert post.calls[0].json["source_url"] == "https://images.test/cat.png"


@pytest.mark.parametrize("image", ["", "ftp://x.test/a.png", 5, None])
async def test_a_download_needs_a_link(image: Any) -> None:
    async with client_over(Post()) as client:
        with pytest.raises(InvalidRequestError, match="link"):
            await client.images.download(image)


async def test_a_download_that_cannot_be_saved_is_refused_first(tmp_path: Path) -> None:
    post = Post(HTTPResponse(200, {}, PIXEL))
    async with client_over(post) as client:
        for image in ("https://images.test/a.png", Image(data=PIXEL, format="png")):
            with pytest.raises(InvalidRequestError, match="save_to"):
                await client.images.download(image, save_to=_existing(tmp_path))
        assert post.calls == []
        saved = await client.images.download("https://images.test/a.png", save_to=tmp_path / "new")
        again = await client.images.download(saved, save_to=tmp_path / "again")
    assert saved.path == tmp_path / "new.png"
    assert again.path == tmp_path / "again.png"
    assert len(post.calls) == 1


@pytest.mark.parametrize("name", ["", "..", None, 5])
async def test_a_model_to_retrieve_needs_a_name(name: Any) -> None:
    async with client_over(Post()) as client:
        with pytest.raises(InvalidRequestError, match="name of a model"):
            await client.models.retrieve(name)


async def test_a_closed_client_refuses_every_call_and_closes_again() -> None:
    client = client_over(Post())
    await client.aclose()
    await client.aclose()
    calls: list[Callable[[], Any]] = [
        lambda: client.images.generate("a lake"),
        lambda: client.images.download("https://images.test/a.png"),
        client.models.list,
        client.account.retrieve,
        client.__aenter__,
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match="closed: make a new one"):
            await call()


async def test_validation_off_sends_what_the_tables_do_not_know() -> None:
    post = Post()
    async with client_over(post, validation="off") as client:
        await client.images.generate(
            "x" * 2000,
            model="dall-e-9",  # type: ignore[arg-type]
            size=Size(width=3, height=5),
            steps=999,
            n=4,
        )
        with pytest.raises(InvalidRequestError, match="JSON"):
            await client.images.generate("a lake", cfg_scale=math.nan)
        with pytest.raises(InvalidRequestError, match="No such file"):
            await client.images.edit("no-such-file.png", "a hat")
    assert len(post.calls) == 1
    sent = post.calls[0].json or {}
    assert (sent["model"], sent["size"], sent["steps"], sent["n"]) == ("dall-e-9", "3x5", 999, 4)


async def test_a_registered_model_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_table", dict(tables._table))
    turbo = register_model("acme-turbo", like="step-2x-large", sizes=["640x640"], ranges={"steps": (1, 4)})
    post = Post()
    async with client_over(post) as client:
        await client.images.generate("a lake", model=turbo, size=Size(width=640, height=640), steps=4)
        with pytest.raises(InvalidRequestError, match="1 to 4"):
            await client.images.generate("a lake", model=turbo, steps=5)
    assert (post.calls[0].json or {})["model"] == "acme-turbo"


@pytest.mark.parametrize(
    "settings",
    [{"limits": 5}, {"limits": None}, {"retry": 3}, {"retry": None}, {"proxy": 5, "transport": None}],
)
def test_settings_of_another_type_are_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        client_over(Post(), **settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": "3"},
        {"max_attempts": True},
        {"base": -1},
        {"cap": math.nan},
        {"base": "1"},
    ],
)
def test_a_retry_policy_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


@pytest.mark.parametrize("name", ["content-length", "Content-Type", "host", "Transfer-Encoding"])
async def test_headers_of_the_body_are_not_the_users(name: str) -> None:
    with pytest.raises(ConfigurationError, match="belongs to the body"):
        client_over(Post(), default_headers={name: "5"})
    async with client_over(Post()) as client:
        with pytest.raises(InvalidRequestError, match="belongs to the body"):
            await client.images.generate("a lake", extra_headers={name: "5"})


@pytest.mark.parametrize(
    "arguments", [{"model": ["a"]}, {"model": 5}, {"extra_body": 5}, {"extra_body": "abc"}, {"extra_body": {5: "x"}}]
)
async def test_validation_off_still_refuses_what_cannot_be_said(arguments: dict[str, Any]) -> None:
    post = Post()
    async with client_over(post, validation="off") as client:
        with pytest.raises(InvalidRequestError):
            await client.images.generate("x", **arguments)
        with pytest.raises(InvalidRequestError):
            await client.images.edit(PIXEL, "x", **arguments)
        assert client.usage.requests == 0
    assert post.calls == []


async def test_a_name_that_cannot_be_written_is_found_out_before_paying() -> None:
    post = Post()
    async with client_over(post) as client:
        with pytest.raises(InvalidRequestError, match="encoding"):
            await client.images.generate("a lake", save_to="a\ud800.png")
        with pytest.raises(InvalidRequestError, match="name of a model"):
            await client.models.retrieve("\ud800")
    assert post.calls == []


async def test_calls_that_wait_for_a_slot_are_not_sent_after_the_client_was_closed() -> None:
    go_on = anyio.Event()

    class Slow(Post):
        async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
            self.calls.append(call)
            await go_on.wait()
            return HTTPResponse(200, {}, BODY)

    post, errors = Slow(), []
    client = client_over(post, limits=Limits(1))

    async def call() -> None:
        try:
            await client.images.generate("a lake")
        except ConfigurationError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        await client.aclose()
        go_on.set()
    assert (len(post.calls), len(errors), client.usage.billed) == (1, 2, 1)


async def test_an_image_is_kept_as_it_came_even_where_it_spells_the_key() -> None:
    text = base64.b64encode(PIXEL).decode()
    async with AsyncClient(text[10:22], base_url="https://gateway.test/v1", transport=Post()) as client:
        assert (await client.images.generate("a lake")).image.data == PIXEL


# --- warnings -----------------------------------------------------------------------------------


@pytest.fixture
def _fresh_warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(caller_module, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield


@pytest.mark.usefixtures("_fresh_warnings")
@pytest.mark.parametrize("host", ["https://api.stepfun.ai/v1", "https://api.stepfun.com/step_plan/v1"])
async def test_an_ended_model_warns_once_on_stepfuns_hosts_and_is_sent(host: str) -> None:
    post = Post()
    async with client_over(post, base_url=host) as client:
        with pytest.warns(ModelRetiredWarning, match=r"step-image-edit-2 on 2026-10-10"):
            await client.images.generate("a lake")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await client.images.generate("a lake")
    assert len(post.calls) == 2


@pytest.mark.usefixtures("_fresh_warnings")
async def test_an_ended_model_names_its_successor() -> None:
    async with client_over(Post(), base_url="https://api.stepfun.ai/v1") as client:
        with pytest.warns(ModelRetiredWarning, match="step-2x-large as its successor"):
            await client.images.generate("a lake", model="step-1x-medium")
        with pytest.warns(ModelRetiredWarning, match="a day not known"):
            await client.images.edit(pillow.new("RGB", (64, 64)), "a hat", model="step-1x-edit")


@pytest.mark.usefixtures("_fresh_warnings")
async def test_a_retired_model_is_not_warned_of_on_other_servers(recwarn: pytest.WarningsRecorder) -> None:
    for settings in ({}, {"base_url": "embedded"}, {"base_url": "http://127.0.0.1:9/v1"}):
        async with client_over(Post(), **settings) as client:
            await client.images.generate("a lake", model="step-1x-medium")
    assert not [warning for warning in recwarn if issubclass(warning.category, ModelRetiredWarning)]


@pytest.mark.parametrize("kind", ["link", "image"])
async def test_a_link_that_is_a_data_uri_is_its_own_download(kind: str, tmp_path: Path) -> None:
    uri = "data:image/png;base64," + base64.urlsafe_b64encode(SAMPLES["png-6-16"]).decode().rstrip("=")
    post = Post()
    async with client_over(post) as client:
        image = await client.images.download(uri if kind == "link" else Image(url=uri, seed=4))
        saved = await client.images.download(uri, save_to=tmp_path / "a")
        with pytest.raises(InvalidRequestError, match="base64 is broken"):
            await client.images.download("data:image/png;base64,*")
    assert (image.data, image.width, image.url) == (SAMPLES["png-6-16"], 37, None)
    assert saved.path == tmp_path / "a.png"
    assert post.calls == []


async def test_an_image_that_its_metadata_turns_is_warned_of_and_sent_as_it_is_stored(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(SAMPLES["jpeg-exif-6"])
    post = Post()
    async with client_over(post) as client:
        with pytest.warns(OrientationWarning, match=r"turned by 90 degrees to the right .* Image\.open\(path\)"):
            await client.images.edit(tmp_path / "photo.jpg", "a hat")
        with pillow.open(tmp_path / "photo.jpg") as image:
            await client.images.edit(image, "a hat")
    stored, upright = (read_header(call.files["image"].data) for call in post.calls)
    assert stored == ("jpeg", 37, 21)
    assert upright == ("jpeg", 21, 37)


async def test_a_seed_that_means_random_is_warned_about() -> None:
    async with client_over(Post()) as client:
        with pytest.warns(IneffectiveParameterWarning, match="seed 0 means a random one for step-2x-large"):
            await client.images.generate("a lake", model=LARGE, seed=0)
        await client.images.generate("a lake", seed=0)


async def test_what_has_no_effect_is_warned_about() -> None:
    post = Post()
    async with client_over(post) as client:
        with pytest.warns(IneffectiveParameterWarning, match="negative_prompt has no effect while cfg_scale"):
            await client.images.generate("a lake", negative_prompt="fog")
        with pytest.warns(IneffectiveParameterWarning, match="size has no effect"):
            await client.images.edit(PIXEL, "a hat", size="1:1")
        await client.images.generate("a lake", negative_prompt="fog", cfg_scale=2.0)
    assert (post.calls[0].json or {})["negative_prompt"] == "fog"
    assert "size" not in post.calls[1].form


async def test_the_step_plan_has_one_model() -> None:
    post = Post()
    async with client_over(post, base_url="https://gateway.test/step_plan/v1") as client:
        with pytest.raises(InvalidRequestError, match="Step Plan"):
            await client.images.generate("a lake", model=LARGE)
        await client.images.generate("a lake")
    assert len(post.calls) == 1


# --- counting -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_fresh_warnings")
@pytest.mark.filterwarnings("ignore::stepfun_async.ModelRetiredWarning")
@pytest.mark.parametrize(
    ("host", "spent", "unpriced"),
    [
        ("https://api.stepfun.ai/v1", {"USD": Decimal("0.026")}, 0),
        ("https://api.stepfun.com/v1", {"CNY": Decimal("0.14")}, 0),
        ("https://gateway.test/v1", {}, 3),
        ("https://api.stepfun.ai/step_plan/v1", {}, 3),
    ],
)
async def test_usage_sums_what_was_billed_at_the_prices_of_the_host(
    host: str, spent: dict[str, Decimal], unpriced: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelRetiredWarning)
        async with client_over(Post(), base_url=host, validation="off") as client:
            await client.images.generate("a lake")
            await client.images.generate("a lake")
            await client.images.generate("a lake", model=LARGE)
            usage = client.usage
    assert (usage.requests, usage.billed, usage.unpriced) == (3, 3, unpriced)
    assert usage.spent == spent
    assert {model: each.billed for model, each in usage.by_model.items()} == {"step-image-edit-2": 2, LARGE: 1}


async def test_a_response_with_several_images_is_one_attempt() -> None:
    """Servers that make more than one are reached with `validation="off"`."""
    two = b'{"data": [{"url": "https://x.test/1.png"}, {"url": "https://x.test/2.png"}]}'
    post = Post(HTTPResponse(500, {}, b""), HTTPResponse(200, {}, two))
    retry = RetryPolicy(retry_unknown=True, base=0.001)
    async with client_over(post, validation="off", retry=retry) as client:
        response = await client.images.generate("a lake", n=2)
        usage = client.usage
    assert (len(response.data), response.maybe_billed) == (2, 2)
    assert (usage.attempts, usage.billed, usage.maybe_billed) == (2, 2, 1)


async def test_a_wait_the_server_asks_for_is_not_begun_past_the_deadline() -> None:
    post = Post(HTTPResponse(429, {"retry-after": "3600"}, b""))
    async with client_over(post, timeout=5) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.images.generate("a lake")
    assert (caught.value.retry_after, caught.value.attempts) == (3600, 1)


async def test_errors_of_the_service_pickle_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"error": {"message": "slow down", "type": "rate_limit"}}'
    async with client_over(
        Post(HTTPResponse(429, {"x-trace-id": "t-9"}, body)), retry=RetryPolicy(max_attempts=1)
    ) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.images.generate("a lake")
    copy: APIError = pickle.loads(pickle.dumps(caught.value))
    assert copy.__dict__ == caught.value.__dict__
    assert (copy.trace_id, copy.attempts, copy.maybe_billed, copy.billing) == ("t-9", 1, 0, "rejected")
    assert "slow down" in str(copy)


async def test_the_key_is_hidden_where_a_server_repeats_it() -> None:
    async with client_over(Post(HTTPResponse(401, {}, b'{"error": {"message": "bad key sk-secret"}}'))) as client:
        with pytest.raises(APIError, match=r"bad key \*\*\*") as caught:
            await client.images.generate("a lake")
    assert "sk-secret" not in f"{caught.value!r}{caught.value.__dict__}"


def test_a_request_value_and_the_method_send_the_same() -> None:
    post = Post()

    async def both() -> None:
        async with client_over(post) as client:
            await client.images.generate("a lake", size="16:9", seed=3)
            async for _ in client.images.map([TextToImage(prompt="a lake", size="16:9", seed=3)]):
                pass

    anyio.run(both)
    assert post.calls[0] == post.calls[1]


def test_the_transport_module_is_the_only_one_that_loads_httpx() -> None:
    """The embedded engine needs no HTTP library."""
    import subprocess
    import sys

    source = "import sys; from stepfun_async import Client; Client(base_url='embedded'); print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert httpx is not None
