"""What clients of OpenAI's API send with every call, and what clients in any language get."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from stepfun_async._core.registry import rows
from stepfun_async.embedded import Engine
from stepfun_async.embedded.server import running

from .asking import photo

JSON = {"model": "step-2x-large", "prompt": "a lake", "size": "256x256"}
FORM = {"model": "step-image-edit-2", "prompt": "make it night"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(Engine(strict=False, credit=1e6, plain=True)) as url:
        yield url


@pytest.fixture(scope="module")
def strict() -> Iterator[str]:
    with running(Engine(plain=True)) as url:
        yield url


def generate(url: str, **more: Any) -> httpx.Response:
    headers = {"authorization": "Bearer any"}
    return httpx.post(f"{url}/images/generations", json={**JSON, **more}, headers=headers, trust_env=False)


def edit(url: str, **more: Any) -> httpx.Response:
    files = {"image": ("a.png", photo(), "image/png")}
    headers = {"authorization": "Bearer any"}
    return httpx.post(f"{url}/images/edits", data={**FORM, **more}, files=files, headers=headers, trust_env=False)


ALWAYS_SENT: dict[str, Any] = {
    "quality": "auto",
    "style": "vivid",
    "user": "user-1234",
    "background": "auto",
    "moderation": "auto",
    "output_format": "png",
    "output_compression": 100,
    "stream": False,
    "partial_images": 0,
}


@pytest.mark.parametrize("name", ALWAYS_SENT)
def test_what_clients_always_send_is_left_out(url: str, strict: str, name: str) -> None:
    given = ALWAYS_SENT[name]
    text = str(given).replace("False", "false")
    assert generate(url, **{name: given}).status_code == 200
    assert edit(url, **{name: text}).status_code == 200
    for refused in (generate(strict, **{name: given}), edit(strict, **{name: text})):
        assert refused.status_code == 400
        assert f"{name}: got" in refused.json()["error"]["message"]


def test_n_of_one_means_nothing_on_edits(url: str, strict: str) -> None:
    assert edit(url, n="1").status_code == 200
    assert "n: got" in edit(url, n="2").text
    assert "n: got" in edit(strict, n="1").text


@pytest.mark.parametrize("name", ["response_format", "size", "seed", "n", "quality", "user", "style"])
def test_null_is_not_given(url: str, strict: str, name: str) -> None:
    assert generate(url, **{name: None}).status_code == 200
    assert generate(strict, **{name: None}).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"), [("stream", True), ("partial_images", 2), ("mask", "x"), ("steps", 99), ("qualty", "auto")]
)
def test_what_means_something_is_refused(url: str, name: str, value: object) -> None:
    assert f"{name}: got" in generate(url, **{name: value}).json()["error"]["message"]


def test_what_is_left_out_is_logged_once_for_each_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    with running(Engine(strict=False, plain=True)) as url, caplog.at_level(logging.WARNING, "stepfun_async"):
        for _ in range(2):
            generate(url, quality="hd", user="somebody\n")
            edit(url, quality="low")
    assert sorted(record.message for record in caplog.records if record.name == "stepfun_async") == [
        "POST /images/edits: quality='low' is ignored, since step-image-edit-2 has no such parameter",
        "POST /images/generations: quality='hd' is ignored, since step-2x-large has no such parameter",
        "POST /images/generations: user='somebody\\n' is ignored, since step-2x-large has no such parameter",
    ]


def test_the_openai_package_works_with_all_that_it_can_send(url: str) -> None:
    with openai.OpenAI(api_key="any", base_url=url, max_retries=0) as client:
        made = client.images.generate(
            model="step-2x-large",
            prompt="a lake",
            n=1,
            size="256x256",
            response_format=None,
            quality="hd",
            style="vivid",
            user="user-1",
            background="transparent",
            moderation="low",
            output_format="png",
            output_compression=100,
        )
        edited = client.images.edit(
            model="step-image-edit-2",
            image=("a.png", photo(), "image/png"),
            prompt="make it night",
            n=1,
            quality="high",
            background="auto",
            input_fidelity="high",
            output_format="png",
            user="user-1",
            response_format="b64_json",
        )
        with pytest.raises(openai.BadRequestError, match="n: got 2"):
            client.images.generate(model="step-2x-large", prompt="a lake", n=2, quality="hd")
    assert made.data is not None
    assert made.data[0].url is not None
    assert edited.data is not None
    assert edited.data[0].b64_json is not None


# --- words --------------------------------------------------------------------------------------

OF_PYTHON = re.compile(r"Size\(|register_model|validation=|True|False|None|dict|mapping|\b(str|list|int|float)\b|b'")

WRONG: list[dict[str, Any]] = [
    {"size": "1000x1000"},
    {"size": "768x769", "model": "step-image-edit-2"},
    {"size": {"width": 1024}},
    {"model": "gpt-image-1"},
    {"model": "step-1x-edit"},
    {"model": None},
    {"model": 5},
    {"prompt": None},
    {"prompt": 5},
    {"prompt": ["a"]},
    {"prompt": {"a": 1}},
    {"prompt": "x" * 600},
    {"prompt": True},
    {"text_mode": "yes", "model": "step-image-edit-2", "size": "1024x1024"},
    {"text_mode": 1, "model": "step-image-edit-2", "size": "1024x1024"},
    {"steps": "many"},
    {"steps": True},
    {"steps": 1.5},
    {"steps": [1]},
    {"cfg_scale": "high"},
    {"cfg_scale": {}},
    {"seed": -1},
    {"response_format": "base64"},
    {"extra_body": {"steps": 1}},
    {"style_reference": {"weight": 9}, "model": "step-1x-medium"},
    {"style_reference": "cat.png", "model": "step-1x-medium"},
]


@pytest.mark.parametrize("more", WRONG, ids=str)
def test_refusals_speak_of_the_wire(strict: str, more: dict[str, Any]) -> None:
    response = generate(strict, **more)
    message = response.json()["error"]["message"]
    assert response.status_code == 400
    assert message.startswith(f"{next(iter(more))}")
    assert not OF_PYTHON.search(message), message


def test_a_size_that_is_nearly_one_names_the_string_to_send(strict: str) -> None:
    message = generate(strict, model="step-image-edit-2", size="768x1361").json()["error"]["message"]
    assert message.endswith('(height x width). Did you mean "768x1360"?')


def test_every_rule_of_every_row_is_said_without_python() -> None:
    for row in rows():
        for name, rule in row.rules.items():
            assert not OF_PYTHON.search(rule.wire_allowed), (row.model, name)


@pytest.mark.parametrize("text", ["/pictures/cat.png", "cat.png", "C:\\cat.png", "not base64!"])
def test_text_in_the_place_of_an_image_is_said_to_be_text(strict: str, text: str) -> None:
    headers = {"authorization": "Bearer any"}
    body = {"model": "step-2x-large", "prompt": "a", "source_url": text, "source_weight": 0.5}
    response = httpx.post(f"{strict}/images/image2image", json=body, headers=headers, trust_env=False)
    message = response.json()["error"]["message"]
    assert message.startswith("source_url: got ")
    assert "neither" in message or "not a link, a data URI or base64" in message
    form = httpx.post(
        f"{strict}/images/edits", data={**FORM, "image": text}, files={"x": b""}, headers=headers, trust_env=False
    )
    assert "not a file, a data URI or base64" in form.json()["error"]["message"]
