"""What goes over the wire for each operation and model, as respx sees it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx
from PIL import Image as pillow

from stepfun_async import Client, ImageEdit, ImageToImage, Size, TextToImage
from tests.support.responses import PIXEL, image_response
from tests.support.services import parts_of

URI = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
RESPONSE = image_response().partition(b"\r\n\r\n")[2]
EDIT_2, LARGE, MEDIUM, EDIT_1X = "step-image-edit-2", "step-2x-large", "step-1x-medium", "step-1x-edit"


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url="https://gateway.test/v1") as router:
        yield router


def send(request: TextToImage | ImageEdit | ImageToImage) -> None:
    with Client("sk-shape", base_url="https://gateway.test/v1") as client:
        (outcome,) = client.images.map([request])
        assert not hasattr(outcome, "error"), outcome


JSON = [
    (
        TextToImage(prompt="a lake"),
        "/images/generations",
        {"model": EDIT_2, "prompt": "a lake", "response_format": "b64_json"},
    ),
    (
        TextToImage(
            prompt="湖",
            size=Size(width=1360, height=768),
            n=1,
            response_format="url",
            seed=0,
            steps=8,
            cfg_scale=2,
            negative_prompt="fog",
            text_mode=True,
            extra_body={"beta": [1]},
        ),
        "/images/generations",
        {
            "model": EDIT_2,
            "prompt": "湖",
            "size": "768x1360",
            "n": 1,
            "response_format": "url",
            "seed": 0,
            "steps": 8,
            "cfg_scale": 2.0,
            "negative_prompt": "fog",
            "text_mode": True,
            "beta": [1],
        },
    ),
    (
        TextToImage(prompt="a lake", model=LARGE, size=Size(width=1280, height=800)),
        "/images/generations",
        {"model": LARGE, "prompt": "a lake", "size": "1280x800", "response_format": "b64_json"},
    ),
    (
        TextToImage(prompt="a lake", model=MEDIUM, style_reference={"source_url": PIXEL, "weight": 2}),
        "/images/generations",
        {
            "model": MEDIUM,
            "prompt": "a lake",
            "response_format": "b64_json",
            "style_reference": {"source_url": URI, "weight": 2.0},
        },
    ),
    (
        ImageToImage(prompt="a lake", image=PIXEL, source_weight=0.25, size="16:10", steps=100),
        "/images/image2image",
        {
            "model": LARGE,
            "prompt": "a lake",
            "source_url": URI,
            "source_weight": 0.25,
            "size": "1280x800",
            "steps": 100,
            "response_format": "b64_json",
        },
    ),
    (
        ImageToImage(prompt="a lake", image="https://x.test/a.png", source_weight=1, model=MEDIUM),
        "/images/image2image",
        {
            "model": MEDIUM,
            "prompt": "a lake",
            "source_url": "https://x.test/a.png",
            "source_weight": 1.0,
            "response_format": "b64_json",
        },
    ),
]


@pytest.mark.parametrize(("request_", "path", "body"), JSON)
def test_json_bodies(router: respx.MockRouter, request_: Any, path: str, body: dict[str, object]) -> None:
    route = router.post(path).mock(httpx.Response(200, content=RESPONSE))
    send(request_)
    sent = route.calls.last.request
    assert json.loads(sent.content) == body
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["authorization"] == "Bearer sk-shape"
    assert int(sent.headers["content-length"]) == len(sent.content)


FORMS = [
    (
        ImageEdit(prompt="a hat", image=PIXEL),
        {"model": EDIT_2, "prompt": "a hat", "response_format": "b64_json"},
    ),
    (
        ImageEdit(prompt="帽", image=URI, seed=3, steps=50, cfg_scale=1.5, negative_prompt="fog", text_mode=False),
        {
            "model": EDIT_2,
            "prompt": "帽",
            "response_format": "b64_json",
            "seed": "3",
            "steps": "50",
            "cfg_scale": "1.5",
            "negative_prompt": "fog",
            "text_mode": "false",
        },
    ),
]


@pytest.mark.parametrize(("request_", "form"), FORMS)
def test_edits_are_multipart_forms(router: respx.MockRouter, request_: Any, form: dict[str, str]) -> None:
    route = router.post("/images/edits").mock(httpx.Response(200, content=RESPONSE))
    send(request_)
    sent = route.calls.last.request
    fields, files = parts_of(sent.headers["content-type"], sent.content)
    assert fields == form
    assert {name: (file.filename, file.content_type, file.data) for name, file in files.items()} == {
        "image": ("image.png", "image/png", PIXEL)
    }


def test_the_old_edit_model_takes_a_size(router: respx.MockRouter) -> None:
    square = io.BytesIO()
    pillow.new("RGB", (64, 64)).save(square, format="WEBP")
    route = router.post("/images/edits").mock(httpx.Response(200, content=RESPONSE))
    send(ImageEdit(prompt="a hat", image=square.getvalue(), model=EDIT_1X, size="768x768"))
    fields, files = parts_of(route.calls.last.request.headers["content-type"], route.calls.last.request.content)
    assert fields["size"] == "768x768"
    assert (files["image"].filename, files["image"].content_type) == ("image.webp", "image/webp")
