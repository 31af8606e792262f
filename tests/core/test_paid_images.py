"""An image that is paid for is kept, whichever way and in whichever format the response brings it, and judged alike."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from stepfun_async import APIStatusError, Image, MalformedResponseError
from stepfun_async._core.cutting import Base64StreamDecoder
from stepfun_async._core.responses import image_facts, parse_download, parse_images
from stepfun_async._core.wire import HTTPResponse
from tests.support.samples import FOREIGN, SAMPLES, noise, saved

IMAGES: dict[str, tuple[str | None, int | None, bytes]] = {
    "png": ("png", 37, SAMPLES["png-6-16"]),
    "large png": ("png", 400, saved(noise("RGB", 400, 300), "PNG")),
    "jpeg": ("jpeg", 37, SAMPLES["jpeg-RGB"]),
    "jpeg with a large head": ("jpeg", 37, SAMPLES["jpeg-large-segments"]),
    "webp": ("webp", 37, SAMPLES["webp-lossless-alpha"]),
    "gif": ("gif", 37, FOREIGN["gif"][1]),
    "avif": ("avif", None, FOREIGN["avif"][1]),
    "bmp": ("bmp", None, FOREIGN["bmp"][1]),
    "svg": ("svg", None, FOREIGN["svg"][1]),
    "tiff": ("tiff", None, FOREIGN["tiff, little end first"][1]),
    "no known format": (None, None, b"\x00\x01\x02 nobody knows this format \xff\xfe\xfd"),
}
"""Format and width as an `Image` has them, and the bytes."""


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


WAYS: dict[str, Callable[[bytes], dict[str, object]]] = {
    "base64": lambda data: {"b64_json": _b64(data)},
    "base64 under the old name": lambda data: {"image": _b64(data)},
    "URL-safe base64": lambda data: {"b64_json": base64.urlsafe_b64encode(data).decode()},
    "base64 without padding": lambda data: {"b64_json": _b64(data).rstrip("=")},
    "URL-safe base64 without padding": lambda data: {"b64_json": base64.urlsafe_b64encode(data).decode().rstrip("=")},
    "base64 in lines": lambda data: {"b64_json": base64.encodebytes(data).decode()},
    "a data URI": lambda data: {"b64_json": f"data:image/png;base64,{_b64(data)}"},
    "a data URI in capitals": lambda data: {"b64_json": f"DATA:IMAGE/PNG;BASE64,{_b64(data)}"},
    "a data URI with parameters": lambda data: {"b64_json": f"data:image/png;name=a.png;base64,{_b64(data)}"},
    "a link that is a data URI": lambda data: {"url": f"data:image/png;base64,{_b64(data)}"},
    "a link that is a data URI in capitals": lambda data: {"b64_json": None, "url": f"DATA:;BASE64,{_b64(data)}"},
    "a link that is a data URI with spaces": lambda data: {"url": f"data:image/png; base64, {_b64(data)}"},
    "a link that is a percent-encoded data URI": lambda data: {"url": "data:image/x," + quote(data)},
}
"""How a response says an image."""


def _parsed(item: dict[str, object]) -> Image:
    body = json.dumps({"created": 1, "data": [item]}).encode()
    whole = _read(HTTPResponse(200, {}, body))
    cutter = Base64StreamDecoder()
    for at in range(0, len(body), 5000):
        cutter.feed(body[at : at + 5000])
    found = cutter.finish()
    streamed = HTTPResponse(200, {}, body) if found is None else HTTPResponse(200, {}, found[0], found[1])
    assert _read(streamed) == whole
    return whole


def _read(response: HTTPResponse) -> Image:
    return parse_images(response, model="m", base_url="https://a.b/v1", now=0.0, link_lifetime=timedelta(hours=1)).data[
        0
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", IMAGES)
def test_every_image_is_kept_whichever_way_the_response_says_it(name: str, way: str) -> None:
    kind, width, data = IMAGES[name]
    image = _parsed(WAYS[way](data))
    assert image.data == data
    assert (image.format, image.width, image.url) == (kind, width, None)


@pytest.mark.parametrize("name", IMAGES)
def test_behind_a_link_the_same_is_seen(name: str) -> None:
    kind, width, data = IMAGES[name]
    facts = parse_download(HTTPResponse(200, {"content-type": "application/octet-stream"}, data), now=0.0)
    assert facts == image_facts(data)
    assert (facts["data"], facts.get("format"), facts.get("width")) == (data, kind, width)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>gone</html>",
        b"  <?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        b'{"error": "expired"}',
        b"Not found",
        "链接已过期".encode(),
        "链接已过期".encode() * 400,
        b"%PDF-1.7\n\xff\xfe",
        "<html><body>链接</body>".encode("gb18030"),
    ],
)
def test_behind_a_link_a_page_or_a_text_is_no_image(body: bytes) -> None:
    with pytest.raises(MalformedResponseError, match="not an image") as caught:
        parse_download(HTTPResponse(200, {}, body), now=0.0)
    assert caught.value.body == body


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://a.b/图片 1.png?sig=a%2Fb", "https://a.b/图片%201.png?sig=a%2Fb"),
        ("/files/a b.png", "https://a.b/files/a%20b.png"),
        (" https://a.b/1.png\n", "https://a.b/1.png"),
    ],
)
def test_a_link_with_spaces_is_one_that_can_be_fetched(url: str, link: str) -> None:
    assert _parsed({"url": url}).url == link


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_saved_has_the_ending_of_its_format(name: str, tmp_path: Any) -> None:
    kind, _, data = IMAGES[name]
    saved_at = Image(**image_facts(data)).save(tmp_path / "lake")
    endings = {"jpeg": ".jpg", "tiff": ".bin", None: ".bin"}
    assert saved_at.name == "lake" + endings.get(kind, f".{kind}")
    assert saved_at.read_bytes() == data


@pytest.mark.parametrize("name", ["png", "large png", "jpeg", "webp", "gif", "avif", "bmp"])
def test_a_link_that_is_base64_is_the_image(name: str) -> None:
    kind, width, data = IMAGES[name]
    image = _parsed({"url": _b64(data)})
    assert (image.data, image.format, image.width, image.url) == (data, kind, width, None)


@pytest.mark.parametrize("key", ["b64_json", "image", "url"])
def test_a_link_is_a_link_under_every_name(key: str) -> None:
    assert _parsed({key: "https://a.test/b c.png"}).url == "https://a.test/b%20c.png"


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_link_that_is_refused_is_not_blamed_on_key_or_base_url(status: int) -> None:
    with pytest.raises(APIStatusError, match="may have expired") as caught:
        parse_download(HTTPResponse(status, {}, b""), now=0.0)
    assert not re.search("base_url|key", str(caught.value))
