"""Requests as the body of an endpoint of FastAPI."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from stepfun_async import ImageEdit, TextToImage, request_type

from .values import DATA_URI

Large = request_type("step-2x-large", "text_to_image")
app = FastAPI()


@app.post("/draw")
def draw(request: TextToImage) -> dict[str, Any]:
    return {"model": request.model, "given": request.model_dump(exclude_unset=True), "price": str(request.price())}


@app.post("/edit")
def edit(request: ImageEdit) -> int:
    return len(request.read().to_call().files["image"].data)


@app.post("/large")
def large(request: Large) -> TextToImage:  # type: ignore[valid-type]
    return request


client = TestClient(app)


def test_a_valid_body_becomes_a_request() -> None:
    body = {"prompt": "a lake", "size": {"width": 1360, "height": 768}, "steps": 8}
    response = client.post("/draw", json=body)
    assert (response.status_code, response.json()) == (
        200,
        {"model": "step-image-edit-2", "given": body, "price": "0.003 USD"},
    )
    assert client.post("/edit", json={"prompt": "a", "image": DATA_URI}).json() > 0
    assert client.post("/large", json={"prompt": "a"}).json()["model"] == "step-2x-large"


def test_a_bad_body_is_answered_with_all_problems() -> None:
    body = {"model": "step-2x-large", "prompt": "", "steps": 99, "size": "768x1360", "sparkle": 1}
    response = client.post("/draw", json=body)
    assert response.status_code == 422
    found = {error["loc"][-1]: error for error in response.json()["detail"]}
    assert found.keys() == {"prompt", "steps", "size", "sparkle"}
    assert found["steps"]["loc"] == ["body", "steps"]
    assert found["steps"]["ctx"]["nearest"] == 50
    assert found["size"]["ctx"]["nearest"] == "800x1280"


@pytest.mark.parametrize("body", [[], "a lake", 7, {"model": "nope", "prompt": "a"}])
@pytest.mark.parametrize("path", ["/draw", "/large"])
def test_what_is_no_request_is_a_422(path: str, body: object) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 422
    [error] = response.json()["detail"]
    assert error["loc"] == (["body", "model"] if isinstance(body, dict) else ["body"])


def test_a_path_of_the_server_is_not_read() -> None:
    response = client.post("/edit", json={"prompt": "a", "image": __file__})
    assert "names no file here" in response.json()["detail"][0]["msg"]


def test_the_application_s_own_schema_has_the_rows() -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("TextToImage", "ImageEdit", "Step2xLargeTextToImage"):
        Draft202012Validator.check_schema(schemas[name])
    assert Draft202012Validator(schemas["TextToImage"]).is_valid({"model": "step-2x-large", "prompt": "a", "steps": 50})
    assert schemas["Step2xLargeTextToImage"]["properties"]["steps"]["maximum"] == 50
