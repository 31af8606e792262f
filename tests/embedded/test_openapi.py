"""The OpenAPI description of a served engine, against what the engine does, and the page made from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from stepfun_async import register_model
from stepfun_async._core.capabilities import BUILT_IN
from stepfun_async.embedded import Engine
from stepfun_async.embedded.server import app

SERVED = app(Engine(plain=True, strict=False, credit=1e9))
KEY = {"authorization": "Bearer a-key"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
described = schemathesis.openapi.from_asgi("/openapi.json", SERVED).include(path_regex="^/v1/")


@described.parametrize()
@settings(max_examples=5, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_engine_does_what_its_description_says(case: schemathesis.Case[Any]) -> None:
    """No failure of the server, no status or body that is not described, nothing taken that is not described."""
    response = case.call(headers=KEY)
    case.validate_response(response, checks=CHECKS, headers=KEY)
    if case.meta is not None and case.meta.generation.mode.is_positive and not has_image(case.body):
        assert response.status_code in (200, 404), response.text


def has_image(body: object) -> bool:
    """Whether a call has an image, whose content no schema can say."""
    return isinstance(body, Mapping) and bool({"image", "source_url", "style_reference"} & body.keys())


@pytest.fixture(name="client")
def _client() -> TestClient:
    return TestClient(SERVED)


def description(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_the_description_is_valid_and_has_every_row(client: TestClient) -> None:
    schemas = description(client)["components"]["schemas"]
    for row in BUILT_IN:
        properties = schemas[f"{row.model}.{row.operation}"]["properties"]
        wire = {"image": "source_url"} if row.operation == "image_to_image" else {}
        assert {"model", *(wire.get(name, name) for name in row.rules)} <= properties.keys()
    assert "/step_plan/v1/images/image2image" not in description(client)["paths"]


def test_what_other_clients_always_send_is_described_unless_the_engine_is_strict() -> None:
    for strict in (False, True):
        client = TestClient(app(Engine(plain=True, strict=strict)))
        properties = description(client)["components"]["schemas"]["step-2x-large.text_to_image"]["properties"]
        response = client.post(
            "/v1/images/generations",
            json={"model": "step-2x-large", "prompt": "a", "quality": "auto"},
            headers=KEY,
        )
        assert (("quality" in properties), response.status_code) == ((True, 200), (False, 400))[strict]


@pytest.mark.parametrize("size", ["16:10", {"width": 1280, "height": 800}, "1280*800", 7])
def test_only_documented_strings_are_sizes_on_the_wire(client: TestClient, size: object) -> None:
    body = {"model": "step-2x-large", "prompt": "a", "size": size}
    response = client.post("/v1/images/generations", json=body, headers=KEY)
    assert response.status_code == 400
    assert "1280x800" in response.json()["error"]["message"]


@pytest.mark.parametrize("odd", [{"partial_images": False}, {"stream": 0}, {"n": True}])
def test_true_and_false_are_no_numbers(client: TestClient, odd: dict[str, object]) -> None:
    response = client.post("/v1/images/generations", json={"model": "step-2x-large", "prompt": "a", **odd}, headers=KEY)
    assert response.status_code == 400


def test_a_model_registered_a_moment_ago_is_described(client: TestClient) -> None:
    register_model("acme/<b>1", like="step-2x-large", ranges={"steps": (1, 4)})
    schema = description(client)["components"]["schemas"]["acme--b-1.text_to_image"]
    assert schema["properties"]["steps"]["maximum"] == 4
    page = client.get("/docs").text
    assert "acme/&lt;b&gt;1" in page
    assert "<b>" not in page


def test_the_page_has_everything_and_needs_nothing_else(client: TestClient) -> None:
    response = client.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = response.text
    assert not re.search(r"<script|<link|<img|(src|url\()|https?://", page)
    for path in description(client)["paths"]:
        assert not path.startswith("/v1/") or f"<code>{path}</code>" in page
    for row in BUILT_IN:
        assert f"<summary>{row.model}</summary>" in page
    assert "HEIGHTxWIDTH" in page
