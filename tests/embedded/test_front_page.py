"""The page at `/` of `serve`: what it says, what it may load, and its form in a real browser."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from stepfun_async import capabilities
from stepfun_async.embedded import Engine
from stepfun_async.embedded.asgi import app
from stepfun_async.embedded.backend import Drawing
from stepfun_async.embedded.front_page import page
from stepfun_async.embedded.server import running
from tests.support.browser import chromium

HTML = {"accept": "text/html,*/*;q=0.8"}
BODY = {"model": "step-2x-large", "prompt": "a lake", "size": "256x256"}


def test_browsers_get_a_page_that_may_load_nothing_but_its_own_script_and_style() -> None:
    response = TestClient(app(Engine())).get("/", headers=HTML)
    policy = response.headers["content-security-policy"]
    assert response.headers["content-type"].startswith("text/html")
    for element in ("script", "style"):
        (text,) = re.findall(rf"<{element}>(.*?)</{element}>", response.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", response.text)


class Hostile(Drawing):
    purpose = "a {{SCRIPT}} <script>alert(1)</script>"

    def rows(self) -> Any:
        return [replace(capabilities("step-2x-large", "text_to_image"), model="</script><img src=x>{{STYLE}}")]


def test_names_of_models_stay_text_on_the_page() -> None:
    text, _ = page(Engine(backend=Hostile(plain=True)))
    assert "<script>alert" not in text
    assert "<img" not in text
    assert html.escape("A {{SCRIPT}} <script>alert(1)</script>.") in text
    facts = re.findall(r'<script type="application/json" id="rows">(.*?)</script>', text)
    assert [row["model"] for row in json.loads(facts[0])] == ["</script><img src=x>{{STYLE}}"]


def test_programs_get_json_with_the_bill_of_their_key() -> None:
    engine = Engine(keys={"right"}, plain=True)
    client = TestClient(app(engine))
    right = {"authorization": "Bearer right"}
    client.post("/v1/images/generations", json=BODY, headers=right)
    bills = [client.get("/", headers=headers).json()["bill"] for headers in ({}, {"authorization": "Bearer x"}, right)]
    assert bills == [None, None, {"calls": 1, "images": 1, "spent": {"USD": "0.02"}, "seconds": 0.0}]


@pytest.mark.parametrize(
    ("cors", "origin", "allowed"),
    [
        (("http://localhost:3000",), "http://localhost:3000", "http://localhost:3000"),
        (("http://localhost:3000",), "http://evil.example", None),
        (("*",), "http://any.example", "*"),
        ((), "http://localhost:3000", None),
    ],
)
def test_pages_of_the_origins_given_may_call_and_no_others(
    cors: tuple[str, ...], origin: str, allowed: str | None
) -> None:
    client = TestClient(app(Engine(plain=True), cors))
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type"}
    before = client.options("/v1/images/generations", headers={"origin": origin, **asked})
    made = client.post("/v1/images/generations", json=BODY, headers={"origin": origin, "authorization": "Bearer x"})
    assert before.headers.get("access-control-allow-origin") == allowed
    assert made.status_code == 200
    assert made.headers.get("access-control-allow-origin") == allowed
    if allowed:
        assert made.headers["access-control-expose-headers"] == "x-trace-id, retry-after"


def test_the_form_makes_images_and_says_what_is_wrong(tmp_path: Path) -> None:
    engine = Engine()
    with running(engine) as url, chromium(tmp_path / "profile") as browser:
        browser.open(url.removesuffix("v1"))
        choose: Callable[[str], Any] = lambda label: browser.run(  # noqa: E731
            f"(() => {{ const box = document.getElementById('row'); box.value = [...box.options]"
            f".find(one => one.text === {json.dumps(label)}).value; box.dispatchEvent(new Event('change')); }})()"
        )
        browser.run("document.getElementById('field-prompt').focus()")
        browser.type("a lake")
        browser.run("document.getElementById('field-size').value = '768x1360'")
        browser.click("#make")
        browser.until("document.querySelector('figcaption')?.innerText.includes('pixels')")
        assert "1360 x 768 pixels" in browser.text("figcaption")
        browser.until("document.getElementById('bill').innerText.startsWith('1 request,')")
        assert browser.text("#bill") == "1 request, 1 image, 0.003 USD"

        choose("step-2x-large: image to image")
        assert browser.run("document.getElementById('field-prompt').value") == "a lake"
        assert browser.run("document.getElementById('field-source_url').type") == "file"
        browser.run("document.getElementById('form').noValidate = true")
        browser.click("#make")
        browser.until("document.querySelector('.wrong')")
        assert browser.text(".wrong").startswith("400: source_url")
        browser.look(400)
        assert browser.run("document.documentElement.scrollWidth") <= 400
        refused = [each for each in browser.complaints if "status of 400" not in each]
    assert refused == []
