"""Requests and responses on the wire: round trips, every shape a response has, and every error it can be."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as pillow

from stepfun_async import (
    Account,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentRejectedError,
    Image,
    ImageEdit,
    ImagesResponse,
    ImageToImage,
    InsufficientBalanceError,
    InternalServerError,
    InvalidRequestError,
    MalformedResponseError,
    Model,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    Size,
    TextToImage,
    capabilities,
)
from stepfun_async._core.capabilities import BUILT_IN, Operation
from stepfun_async._core.input_images import of_data_uri
from stepfun_async._core.outcomes import status_outcome
from stepfun_async._core.requests import REQUESTS
from stepfun_async._core.responses import (
    parse_account,
    parse_download,
    parse_images,
    parse_model,
    parse_models,
    raise_for_status,
    retry_after,
)
from stepfun_async._core.rules import Boolean, Choice, Integer, Number, Text
from stepfun_async._core.size_rules import Sizes
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, Upload, encode_json, from_call

NOW = 1_600_000_000.0


def _png() -> bytes:
    buffer = io.BytesIO()
    pillow.new("RGB", (8, 6)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()
B64 = base64.b64encode(PNG).decode()


# --- requests out and in again ---------------------------------------------------------------------------


def _valid(rule: object) -> st.SearchStrategy[Any] | None:
    match rule:
        case Text():
            return st.text(st.characters(exclude_categories=["Cs"]), min_size=rule.minimum, max_size=rule.maximum)
        case Choice():
            return st.sampled_from(rule.options)
        case Boolean():
            return st.booleans()
        case Integer():
            return st.integers(rule.minimum, rule.maximum)
        case Number():
            return st.floats(rule.minimum, rule.maximum, exclude_min=rule.above)
        case Sizes():
            return st.sampled_from(rule.options)
        case _:
            return None


@pytest.mark.parametrize(("model", "operation"), [(row.model, row.operation) for row in BUILT_IN])
@given(data=st.data())
def test_what_is_asked_is_what_is_understood(model: str, operation: Operation, data: st.DataObject) -> None:
    row = capabilities(model, operation)
    asked: dict[str, Any] = {}
    for name, rule in row.rules.items():
        strategy = _valid(rule)
        if strategy is not None and (rule.required or data.draw(st.booleans())):
            asked[name] = data.draw(strategy)
    given_ = {**asked, **({"image": PNG} if "image" in row.rules else {})}
    call = REQUESTS[operation](model=model, **given_).to_call()
    understood = from_call(call)
    assert understood is not None
    found, values = understood
    image = values.pop("image", None)
    if image is not None:
        assert (of_data_uri(image).data if isinstance(image, str) else image) == PNG  # type: ignore[union-attr]
    if isinstance(asked.get("size"), Size):
        assert row.sizes is not None
        asked["size"] = asked["size"].to_wire(row.sizes.order)
    asked.setdefault("response_format", "b64_json")
    assert (found, values) == (operation, {"model": model, **asked})


def test_text_to_image_is_json() -> None:
    call = TextToImage(prompt="湖", seed=1, cfg_scale=1, text_mode=True, size="16:9").to_call()
    assert call == HTTPRequest(
        "POST",
        "/images/generations",
        json={
            "model": "step-image-edit-2",
            "prompt": "湖",
            "size": "768x1360",
            "response_format": "b64_json",
            "seed": 1,
            "cfg_scale": 1.0,
            "text_mode": True,
        },
    )


def test_an_edit_is_a_form_with_a_file() -> None:
    call = ImageEdit(image=PNG, prompt="湖", steps=8, cfg_scale=2, text_mode=False).to_call()
    assert (call.method, call.path, call.json) == ("POST", "/images/edits", None)
    assert call.files == {"image": Upload("image.png", "image/png", PNG)}
    assert call.form == {
        "model": "step-image-edit-2",
        "prompt": "湖",
        "response_format": "b64_json",
        "steps": "8",
        "cfg_scale": "2.0",
        "text_mode": "false",
    }


@pytest.mark.parametrize(
    ("image", "source"), [(PNG, f"data:image/png;base64,{B64}"), ("https://a.b/c.png", "https://a.b/c.png")]
)
def test_image_to_image_names_its_source_source_url(image: Any, source: str) -> None:
    call = ImageToImage(image=image, prompt="a", source_weight=1).to_call()
    assert (call.path, call.json) == (
        "/images/image2image",
        {
            "model": "step-2x-large",
            "prompt": "a",
            "response_format": "b64_json",
            "source_url": source,
            "source_weight": 1.0,
        },
    )


def test_a_style_goes_as_data_uri_inside_its_object() -> None:
    style = {"source_url": PNG, "weight": 2}
    call = TextToImage(model="step-1x-medium", prompt="a", style_reference=style).to_call()
    assert (call.json or {})["style_reference"] == {"source_url": f"data:image/png;base64,{B64}", "weight": 2.0}


def test_extra_parameters_go_as_they_are_and_win() -> None:
    extra = {"quality": "high", "steps": 99, "nested": {"a": [1]}}
    assert (TextToImage(prompt="a", steps=5, extra_body=extra).to_call().json or {}).items() >= extra.items()
    form = ImageEdit(image=PNG, prompt="a", extra_body={"n": 1, "flag": True, "list": [1, "x"]}).to_call().form
    assert (form["n"], form["flag"], form["list"]) == ("1", "true", '[1, "x"]')


def test_what_the_tables_do_not_know_is_sent_as_given() -> None:
    request = TextToImage(model="acme", prompt="a", size=Size(width=10, height=20), steps=99, sparkle=1)  # type: ignore[call-arg]
    assert request.to_call().json == {
        "model": "acme",
        "prompt": "a",
        "size": "10x20",
        "response_format": "b64_json",
        "steps": 99,
        "sparkle": 1,
    }


@pytest.mark.parametrize(
    "call",
    [
        HTTPRequest("GET", "/images/generations"),
        HTTPRequest("POST", "/images"),
        HTTPRequest("POST", "/v1/images/generations", json={}),
        HTTPRequest("GET", "/models"),
    ],
)
def test_another_call_is_no_request_for_an_image(call: HTTPRequest) -> None:
    assert from_call(call) is None


def test_form_fields_that_say_nothing_stay_text() -> None:
    form = {"model": "step-1x-edit", "steps": "many", "sparkle": "5", "cfg_scale": "2"}
    assert from_call(HTTPRequest("POST", "/images/edits", form=form)) == (
        "edit",
        {"model": "step-1x-edit", "steps": "many", "sparkle": "5", "cfg_scale": 2.0},
    )
    assert from_call(HTTPRequest("POST", "/images/edits", form={"steps": "5"})) == ("edit", {"steps": "5"})


def test_a_call_does_not_print_images_or_headers() -> None:
    call = HTTPRequest("POST", "/x", files={"image": Upload("a.png", "image/png", b"secret")}, headers={"x": "secret"})
    assert "secret" not in repr(call)
    assert "secret" not in repr(HTTPResponse(200, {}, b"secret"))


@given(
    value=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers() | st.none() | st.booleans())
)
def test_json_bodies_round_trip(value: dict[str, Any]) -> None:
    assert json.loads(encode_json(value)) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", object(), b"x"])
def test_what_json_cannot_say_is_an_invalid_request(value: object) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        encode_json({"a": value})
    assert [problem.field for problem in caught.value.problems] == ["body"]


# --- responses --------------------------------------------------------------------------------------------------


def _response(content: object, status: int = 200, **headers: str) -> HTTPResponse:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return HTTPResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def _parse(
    response: HTTPResponse, *, base_url: str = "https://api.stepfun.ai/v1", hours: int | None = 2
) -> ImagesResponse:
    lifetime = None if hours is None else timedelta(hours=hours)
    return parse_images(response, model="step-2x-large", base_url=base_url, now=NOW, link_lifetime=lifetime)


def test_the_documented_response() -> None:
    content = {"created": 1589478378, "data": [{"b64_json": B64, "finish_reason": "success", "seed": 123838}]}
    response = _parse(_response(content, x_trace_id="t-1"))
    image = Image(data=PNG, format="png", width=8, height=6, seed=123838, finish_reason="success")
    assert response == ImagesResponse((image,), 1589478378, None, "t-1", "step-2x-large")
    assert response.image is response.data[0]


WRAPPED = "\n".join(B64[at : at + 76] for at in range(0, len(B64), 76))


@pytest.mark.parametrize("name", ["b64_json", "image"])
@pytest.mark.parametrize(
    "text", [B64, f"data:image/png;base64,{B64}", WRAPPED, WRAPPED.replace("\n", "\r\n") + "\r\n", f" {B64}"]
)
def test_the_image_under_both_names_and_in_every_writing(name: str, text: str) -> None:
    assert _parse(_response({"data": [{name: text}]})).image.data == PNG


def test_what_may_be_missing_is_none() -> None:
    response = _parse(_response({"data": [{"b64_json": B64}]}))
    assert (response.created, response.id, response.trace_id) == (None, None, None)
    assert (response.image.seed, response.image.finish_reason) == (None, None)


def test_unknown_keys_are_passed_over() -> None:
    content = {"data": [{"b64_json": B64, "revised_prompt": "x"}], "usage": {"tokens": 1}, "id": "r-1"}
    assert _parse(_response(content)).id == "r-1"


@pytest.mark.parametrize("wrong", ["text", [1], {"a": 1}, True, None, 1e400])
def test_unimportant_fields_of_a_wrong_type_do_not_cost_the_image(wrong: object) -> None:
    content = {"created": wrong, "id": [wrong], "data": [{"b64_json": B64, "seed": wrong, "finish_reason": [wrong]}]}
    response = _parse(_response(content))
    assert (response.created, response.id, response.image.seed) == (None, None, None)
    assert response.image.data == PNG


@pytest.mark.parametrize("created", [1589478378000, 10**18, -(10**15), 253402300799, 10**40])
def test_an_impossible_time_does_not_cost_the_link(created: int) -> None:
    image = _parse(_response({"created": created, "data": [{"url": "https://a.b/c.png"}]})).image
    assert image.url == "https://a.b/c.png"
    assert image.expires_at == datetime.fromtimestamp(NOW, UTC) + timedelta(hours=2)


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("https://cdn.example/a.png?sig=1", "https://cdn.example/a.png?sig=1"),
        ("/files/a.png", "https://api.stepfun.ai/files/a.png"),
        ("files/a.png", "https://api.stepfun.ai/v1/files/a.png"),
        ("//cdn.example/a.png", "https://cdn.example/a.png"),
    ],
)
@pytest.mark.parametrize("base_url", ["https://api.stepfun.ai/v1", "https://api.stepfun.ai/v1/"])
def test_links_are_made_whole(url: str, absolute: str, base_url: str) -> None:
    assert _parse(_response({"data": [{"url": url}]}), base_url=base_url).image.url == absolute


def test_a_link_expires_a_while_after_the_image_was_made() -> None:
    response = _response({"created": 1000, "data": [{"url": "https://a.b/c.png"}]})
    assert _parse(response).image.expires_at == datetime.fromtimestamp(1000, UTC) + timedelta(hours=2)
    assert _parse(response, hours=None).image.expires_at is None


def test_a_filtered_image_is_a_response_without_bytes() -> None:
    content = {"data": [{"finish_reason": "content_filtered", "seed": 5, "b64_json": B64, "url": "https://a.b"}]}
    (image,) = _parse(_response(content)).data
    assert image == Image(seed=5, finish_reason="content_filtered")
    assert image.filtered


def test_bytes_of_no_known_format_are_kept() -> None:
    image = _parse(_response({"data": [{"b64_json": "AAAAIGZ0eXBpc29t"}]})).image
    assert (image.format, image.width, image.height) == (None, None, None)
    assert image.data == base64.b64decode("AAAAIGZ0eXBpc29t")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"\xff\xfe\x00",
        b'{"data": [',
        b"[" * 100_000,
        b"null",
        [],
        "text",
        {},
        {"data": None},
        {"data": []},
        {"data": {"b64_json": B64}},
        {"data": ["text"]},
        {"data": [None]},
        {"data": [{}]},
        {"data": [{"b64_json": ""}]},
        {"data": [{"b64_json": None, "url": ""}]},
        {"data": [{"b64_json": 5}]},
        {"data": [{"b64_json": "****"}]},
        {"data": [{"b64_json": "湖"}]},
        {"data": [{"b64_json": "AAAAA"}]},
        {"data": [{"b64_json": " "}]},
        {"data": [{"b64_json": "data:image/png;base64,"}]},
        {"data": [{"url": 5}]},
        {"data": [{"url": "http://[bad"}]},
        {"data": [{"b64_json": B64}, {}]},
    ],
    ids=lambda content: repr(content)[:40],
)
def test_a_response_that_cannot_be_read_keeps_its_body_since_it_may_be_paid_for(content: object) -> None:
    response = _response(content, x_trace_id="t-1")
    with pytest.raises(MalformedResponseError, match=r"error\.body") as caught:
        _parse(response)
    error = caught.value
    assert (error.body, error.billing, error.trace_id) == (response.body, "unknown", "t-1")


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (({"error": {"message": "no quota", "type": "quota"}},), "no image in it: no quota;"),
        (({"error": "no quota"},), ": no quota;"),
        (({"code": 1001, "message": "no quota"},), r": no quota \(code 1001\);"),
        (({"code": 0, "msg": "no quota", "data": None},), ": no quota;"),
        (({"detail": "no quota"},), ": no quota;"),
        (({"detail": [{"loc": ["body", "n"], "msg": "too many"}, {"msg": "x"}]},), ": body.n: too many; x;"),
        (({"task_id": "t-1", "message": "queued"}, 202), "202, accepted as the task 't-1'.*(queued)"),
        (({"id": 7}, 202), "202, accepted as the task '7'"),
        (({"data": []},), "perhaps the content filter withheld it.*or a gateway did not ask the server"),
        (({"data": [{"b64_json": None, "url": None}]},), "perhaps the content filter withheld it"),
        (({"data": [{"finish_reason": "odd"}]},), "its finish_reason is 'odd'"),
        ((b"<html><title>Sign in</title></html>",), 'not JSON .*: an HTML page, "Sign in"'),
        ((b"<html><script src='/app.js'></script></html>",), "not JSON .*: an HTML page;"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_reason_inside_a_success_is_in_the_error(response: tuple[Any, ...], said: str) -> None:
    with pytest.raises(MalformedResponseError, match=said) as caught:
        _parse(_response(*response))
    assert caught.value.billing == "unknown"


def test_the_error_for_an_unreadable_success_says_that_a_gateway_resends() -> None:
    with pytest.raises(MalformedResponseError) as caught:
        _parse(_response({"data": []}, x_litellm_call_id="c-1"))
    assert (caught.value.resent_by, caught.value.trace_id) == ("LiteLLM", "c-1")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(B64),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
items = st.dictionaries(st.sampled_from(["b64_json", "image", "url", "seed", "finish_reason", "x"]), json_values)


@given(
    content=st.fixed_dictionaries(
        {}, optional={"created": json_values, "id": json_values, "data": st.lists(items, max_size=3) | json_values}
    )
    | json_values
)
def test_any_json_is_a_response_or_malformed(content: object) -> None:
    with contextlib.suppress(MalformedResponseError):
        assert _parse(_response(content)).data


@given(body=st.binary())
def test_any_bytes_are_a_response_or_malformed(body: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        _parse(_response(body))


# --- the other responses ------------------------------------------------------------------------------------------


def test_models() -> None:
    content = {"data": [{"id": "a", "created": 5, "owned_by": "stepfun", "object": "model"}, {"id": "b"}]}
    assert parse_models(_response(content), now=NOW) == (Model("a", 5, "stepfun"), Model("b"))
    assert parse_models(_response({"data": []}), now=NOW) == ()
    assert parse_model(_response({"id": "a", "created": "x"}), now=NOW) == Model("a")


def test_account() -> None:
    content = {"type": "prepaid", "balance": 1, "total_cash_balance": 0.5, "total_voucher_balance": 0.25}
    assert parse_account(_response(content), now=NOW) == Account("prepaid", 1.0, 0.5, 0.25)
    assert parse_account(_response({"balance": -2.5}), now=NOW) == Account(None, -2.5)


@pytest.mark.parametrize(
    ("parse", "content"),
    [
        (parse_models, {"data": None}),
        (parse_models, {"data": [{"id": 5}]}),
        (parse_models, {"data": ["a"]}),
        (parse_model, {}),
        (parse_account, {}),
        (parse_account, {"balance": "5"}),
        (parse_account, {"balance": True}),
        (parse_download, b"<html>expired</html>"),
        (parse_download, b""),
    ],
)
def test_other_responses_that_cannot_be_read(parse: Callable[..., object], content: object) -> None:
    with pytest.raises(MalformedResponseError):
        parse(_response(content), now=NOW)
    with pytest.raises(NotFoundError):
        parse(_response(content, 404), now=NOW)


def test_a_download_is_the_bytes_of_the_image() -> None:
    assert parse_download(_response(PNG), now=NOW) == {"data": PNG, "format": "png", "width": 8, "height": 6}


# --- errors ---------------------------------------------------------------------------------------------------


def _raised(response: HTTPResponse) -> APIStatusError:
    with pytest.raises(APIStatusError) as caught:
        raise_for_status(response, NOW)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "billing", "hint"),
    [
        (400, BadRequestError, "rejected", ""),
        (401, AuthenticationError, "rejected", "STEP_API_KEY"),
        (402, InsufficientBalanceError, "rejected", "top the account up"),
        (403, PermissionDeniedError, "rejected", "this key may not do that"),
        (404, NotFoundError, "rejected", "base_url"),
        (429, RateLimitError, "rejected", "max_concurrency"),
        (451, ContentRejectedError, "rejected", "prompt"),
        (500, InternalServerError, "unknown", "no"),
        (502, InternalServerError, "unknown", "no"),
        (503, InternalServerError, "rejected", "no"),
        (504, InternalServerError, "unknown", "no"),
        (529, InternalServerError, "unknown", "no"),
        (301, APIStatusError, "rejected", "base_url"),
        (303, APIStatusError, "unknown", "base_url"),
        (304, APIStatusError, "rejected", "redirect"),
        (405, APIStatusError, "rejected", ""),
        (408, APIStatusError, "unknown", ""),
        (409, APIStatusError, "unknown", ""),
        (413, APIStatusError, "rejected", ""),
        (418, APIStatusError, "unknown", ""),
        (422, APIStatusError, "rejected", ""),
        (424, APIStatusError, "unknown", ""),
        (499, APIStatusError, "unknown", ""),
    ],
)
def test_what_a_status_means_in_the_words_of_the_api(
    status: int, kind: type[APIStatusError], billing: str, hint: str
) -> None:
    error = _raised(_response({"error": {"message": "no", "type": "request_params_invalid"}}, status, x_trace_id="t"))
    assert type(error) is kind
    assert (error.status, error.billing, error.type, error.trace_id) == (
        status,
        billing,
        "request_params_invalid",
        "t",
    )
    assert str(error).startswith(f"{status}: no")
    assert hint in str(error)


ENVOY = "upstream connect error or disconnect/reset before headers. "
REFUSED = f"{ENVOY}reset reason: remote connection failure"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        {},
        b"<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>",
        b"no healthy upstream",
        {"error": "Service Unavailable", "status": 503},
        {"error": {"type": "busy"}},
        {"detail": "busy"},
        {"message": "API rate limit exceeded"},
        [{"error": {"message": "busy"}}],
        f"{ENVOY}reset reason: connection termination".encode(),
        f"{ENVOY}retried and the latest reset reason: remote connection failure".encode(),
        f"{REFUSED} and more".encode(),
        f'{{"error": "{REFUSED}"}}'.encode(),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_status_in_other_words_than_the_api_s_proves_nothing(status: int, body: object) -> None:
    assert _raised(_response(body, status)).billing == "unknown"


@pytest.mark.parametrize("reason", ["remote connection failure", "local connection failure", "connection timeout"])
@pytest.mark.parametrize("more", ["", "\n", ", transport failure reason: delayed connect error: Connection refused"])
def test_a_gateway_s_text_from_before_sending_is_a_refusal(reason: str, more: str) -> None:
    body = f"{ENVOY}reset reason: {reason}{more}".encode()
    assert _raised(HTTPResponse(503, {"server": "envoy"}, body)).billing == "rejected"
    assert _raised(HTTPResponse(429, {}, body)).billing == "unknown"
    assert _raised(HTTPResponse(502, {}, body)).billing == "unknown"
    through_another = {"server": "envoy", "x-envoy-upstream-service-time": "3"}
    assert _raised(HTTPResponse(503, through_another, body)).billing == "unknown", "that one may have sent it before"


def test_the_error_for_a_response_of_a_gateway_that_resends_says_so() -> None:
    body = {"error": {"message": "timeout", "code": "408"}}
    assert _raised(_response(body, 408, x_litellm_call_id="c")).resent_by == "LiteLLM"
    assert _raised(_response(body, 429, x_litellm_call_id="c")).resent_by == "LiteLLM"
    assert _raised(_response(body, 400, x_litellm_call_id="c")).resent_by is None, "it did not even begin"
    assert _raised(_response(body, 408)).resent_by is None


@pytest.mark.parametrize("status", [429, 503])
def test_the_response_of_a_gateway_that_resends_is_about_its_last_request_only(status: int) -> None:
    words = {"error": {"message": "litellm.RateLimitError: RateLimitError: OpenAIException - slow", "code": "429"}}
    body = {"error": {"message": "slow down", "code": "429"}}
    assert _raised(_response(body, status)).billing == "rejected"
    assert _raised(_response(body, status, x_litellm_call_id="c")).billing == "unknown", (
        "the first may have been billed"
    )
    assert (error := _raised(_response(words, status))).billing == "unknown", "something on the way kept the headers"
    assert error.resent_by == "LiteLLM"
    assert _raised(_response(body, 401, x_litellm_call_id="c")).billing == "rejected", "so was the first one"


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_success_is_no_error(status: int) -> None:
    raise_for_status(_response(b"", status), NOW)


@pytest.mark.parametrize(
    ("body", "said", "kind", "kept"),
    [
        (
            {"error": {"message": "too long", "type": "t"}},
            "too long",
            "t",
            {"error": {"message": "too long", "type": "t"}},
        ),
        ({"error": "too long"}, "too long", None, {"error": "too long"}),
        ({"message": "too long"}, "too long", None, {"message": "too long"}),
        ({"error": None, "message": "too long"}, "too long", None, {"error": None, "message": "too long"}),
        ({"detail": "Not Found"}, "Not Found", None, {"detail": "Not Found"}),
        (
            {"error": {"message": 5, "type": 5}},
            '{"error": {"message": 5, "type": 5}}',
            None,
            {"error": {"message": 5, "type": 5}},
        ),
        ({}, "the server gave no reason", None, {}),
        (b"", "the server gave no reason", None, ""),
        (b"  <html>Bad Gateway</html>", "an HTML page", None, "<html>Bad Gateway</html>"),
        (b"upstream timed out\n", "upstream timed out", None, "upstream timed out"),
        (b"\xff\xfe", "\ufffd\ufffd", None, "\ufffd\ufffd"),
        (["a"], '["a"]', None, '["a"]'),
        (b"[" * 100_000, "[" * 500, None, "[" * 500),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_the_message_of_every_kind_of_body(body: object, said: str, kind: str | None, kept: object) -> None:
    error = _raised(_response(body, 400))
    assert str(error) == f"400: {said}"
    assert (error.type, error.body) == (kind, kept)


@pytest.mark.parametrize(
    "body", [b"x" * 10**6, {"error": {"message": "x" * 10**6}}, {"error": "x" * 10**6}, {"a": "x" * 10**6}]
)
def test_a_long_message_is_cut(body: object) -> None:
    assert len(str(_raised(_response(body, 400)))) < 600


@given(status=st.integers(300, 599), body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_error_response_is_an_error_of_its_status(status: int, body: bytes) -> None:
    error = _raised(HTTPResponse(status, {}, body))
    assert error.status == status
    assert type(error) is status_outcome(status).error


# --- Retry-After ------------------------------------------------------------------------------------------------

DATE = "Sun, 13 Sep 2020 12:26:40 GMT"
"""`NOW` as a date."""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "  "}, None),
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": " 5 "}, 5.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": DATE}, 0.0),
        ({"retry-after": "Sun, 13 Sep 2020 12:27:10 GMT"}, 30.0),
        ({"retry-after": "Sun, 13 Sep 2020 12:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 13 Sep 2020 14:27:10 +0200"}, 30.0),
        ({"retry-after": "Sun, 13 Sep 2020 12:27:10"}, 30.0),
        ({"retry-after": "Sun, 99 Sep 2020 12:27:10 GMT"}, None),
        ({"retry-after": "Sun, 13 Sep 2020 13:00:30 GMT", "date": "Sun, 13 Sep 2020 13:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 13 Sep 2020 12:27:10 GMT", "date": "garbage"}, 30.0),
        ({"retry-after": "5", "date": "Sun, 13 Sep 2020 13:00:00 GMT"}, 5.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after-ms": "inf"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds
    assert _raised(HTTPResponse(429, headers, b"")).retry_after == seconds


def test_words_say_how_long_to_wait_where_no_header_does() -> None:
    body = b'{"error": {"message": "No deployments available, Try again in 5 seconds."}}'
    assert _raised(HTTPResponse(429, {}, body)).retry_after == 5.0
    assert _raised(HTTPResponse(429, {"retry-after": "2"}, body)).retry_after == 2.0
    assert _raised(HTTPResponse(429, {"retry-after": "soon"}, body)).retry_after == 5.0
    assert _raised(HTTPResponse(503, {}, b"Overloaded. Please retry after 3")).retry_after == 3.0


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process is set on POSIX only")
def test_a_date_without_zone_is_utc_wherever_the_client_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert retry_after({"retry-after": "Sun, 13 Sep 2020 12:27:10 -0000"}, NOW) == 30.0
    finally:
        monkeypatch.undo()
        time.tzset()


@given(text=st.text(), date=st.text())
def test_any_retry_after_is_seconds_or_none(text: str, date: str) -> None:
    seconds = retry_after({"retry-after": text, "date": date}, NOW)
    assert seconds is None or 0 <= seconds < math.inf
