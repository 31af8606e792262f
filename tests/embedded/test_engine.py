"""What the engine answers: images, refusals, bills, links, facts."""

from __future__ import annotations

import base64
import itertools
import json
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepfun_async._core.capabilities import Capability
from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.registry import rows
from stepfun_async._core.requests import REQUESTS, ImageEdit, ImageToImage, TextToImage
from stepfun_async._core.wire import HTTPRequest, Upload
from stepfun_async.embedded import Bill, Engine, Mount, Scenario, check_available, check_server_available
from stepfun_async.embedded.steps import Send

from .asking import content, decoded, get, message, photo, png, post

LAKE = TextToImage(prompt="a lake", model="step-2x-large", size="256x256")
CALL = LAKE.to_call()
LINKED = TextToImage(prompt="a lake", model="step-2x-large", size="256x256", response_format="url").to_call()


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def with_key(call: HTTPRequest, key: str) -> HTTPRequest:
    return replace(call, headers={"authorization": f"Bearer {key}"})


# --- responses


def test_a_response_has_what_the_service_documents() -> None:
    response = Engine(clock=Clock()).respond(CALL)

    parsed = content(response)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert parsed["created"] == 1_000_000
    assert isinstance(parsed["id"], str)
    (image,) = parsed["data"]
    assert set(image) == {"seed", "finish_reason", "b64_json"}
    assert image["finish_reason"] == "success"
    assert decoded(base64.b64decode(image["b64_json"])).size == (256, 256)


def test_image_to_image_has_neither_created_nor_id_as_documented() -> None:
    call = ImageToImage(image=photo(), prompt="a lake", source_weight=0.5, size="256x256").to_call()

    assert set(content(Engine().respond(call))) == {"data"}


def test_without_response_format_the_server_sends_a_link() -> None:
    response = Engine().respond(post("/images/generations", model="step-2x-large", prompt="a lake", size="256x256"))

    assert content(response)["data"][0]["url"].startswith("https://embedded.invalid/v1/files/")


def test_every_response_has_its_own_trace_id() -> None:
    engine = Engine()
    calls = [CALL, post("/images/generations"), get("/models"), get("/nothing")]

    traces = [engine.respond(call).headers["x-trace-id"] for call in calls]

    assert len(set(traces)) == len(calls)


def test_the_seed_is_the_one_asked_for_or_drawn() -> None:
    engine = Engine(draw_seed=itertools.count(7).__next__)

    def seed_of(model: str, seed: int | None) -> int:
        call = TextToImage(prompt="a lake", model=model, seed=seed, steps=1).to_call()
        return int(content(engine.respond(call))["data"][0]["seed"])

    assert seed_of("step-2x-large", 41) == 41
    assert seed_of("step-2x-large", None) == 7
    assert seed_of("step-2x-large", 0) == 8  # 0 is random there, by the tables
    assert seed_of("step-image-edit-2", 0) == 0


def test_a_seed_written_as_a_fraction_is_the_seed() -> None:
    call = post("/images/generations", model="step-2x-large", prompt="a lake", seed=41.0, steps=1.0)
    assert content(Engine().respond(call))["data"][0]["seed"] == 41


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: f"{row.model}-{row.operation}")
def test_every_row_of_the_tables_is_served(row: Capability) -> None:
    wanted: dict[str, object] = {"image": photo(), "source_weight": 0.5, "size": "1:1"}
    given = {name: value for name, value in wanted.items() if name in row.rules}
    request = REQUESTS[row.operation].model_validate({"model": row.model, "prompt": "a lake", **given})

    assert decoded(png(Engine(), request)).format == "PNG"


# --- refusals


def test_a_refusal_names_every_problem_at_once() -> None:
    response = Engine().respond(post("/images/generations", model="step-2x-large", prompt="", steps=99, foo=1))

    assert response.status == 400
    assert content(response)["error"]["type"] == "request_params_invalid"
    for field in ("prompt", "steps", "foo"):
        assert f"{field}: got" in message(response)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (post("/images/generations", prompt="x"), "model"),
        (post("/images/generations", model="dall-e-3", prompt="x"), "model"),
        (post("/images/generations", model="step-1x-edit", prompt="x"), "model"),
        (post("/images/generations", model="step-2x-large", prompt="x", extra_body={}), "extra_body"),
        (post("/images/image2image", model="step-2x-large", prompt="x", source_weight=1), "source_url"),
        (HTTPRequest("POST", "/images/generations", form={"model": "step-2x-large", "prompt": "x"}), "JSON"),
        (HTTPRequest("POST", "/images/generations"), "JSON"),
    ],
)
def test_what_the_tables_do_not_allow_is_refused(call: HTTPRequest, said: str) -> None:
    response = Engine().respond(call)

    assert response.status == 400
    assert said in message(response)


def test_a_refused_call_costs_nothing() -> None:
    engine = Engine()
    engine.respond(post("/images/generations", model="step-2x-large", prompt=""))

    assert engine.bill() == Bill(calls=1)


@pytest.mark.parametrize("path", ["/nothing", "/images/generations/", "/models/dall-e-3", "/files/x.png"])
def test_an_unknown_path_is_404_with_the_error_body(path: str) -> None:
    response = Engine().respond(get(path))

    assert response.status == 404
    assert message(response)


def test_the_wrong_method_is_said() -> None:
    response = Engine().respond(get("/images/generations"))

    assert response.status == 405
    assert "POST" in message(response)


def test_an_image_with_a_good_header_and_a_broken_inside_is_refused_and_not_charged() -> None:
    whole = photo(300, 300)
    broken = whole[:60] + bytes(len(whole) - 120) + whole[-60:]
    engine = Engine()

    response = engine.respond(ImageEdit(image=broken, prompt="x").to_call())

    assert response.status == 400
    assert "decoded" in message(response)
    assert engine.bill().images == 0
    assert engine.bill().amount() == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    [
        "model",
        "prompt",
        "size",
        "seed",
        "steps",
        "image",
        "source_url",
        "style_reference",
        "extra_body",
        "operation",
        "self",
        "_memo",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    path=st.sampled_from(["/images/generations", "/images/edits", "/images/image2image"]),
    model=st.sampled_from(["step-2x-large", "step-1x-medium", "step-image-edit-2", "step-1x-edit"]),
    body=st.dictionaries(names | st.text(max_size=10), json_values, max_size=5),
)
def test_no_json_whatever_makes_the_engine_raise(path: str, model: str, body: dict[str, object]) -> None:
    response = Engine().respond(HTTPRequest("POST", path, json={"model": model, "prompt": "", **body}))

    assert response.status in (200, 400)


# --- images that come in


@pytest.mark.parametrize("path", ["/images/edits", "/images/image2image"])
@pytest.mark.parametrize("model", ["step-image-edit-2", "step-1x-edit", "step-2x-large"])
def test_text_from_the_wire_is_never_taken_for_a_path(path: str, model: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(photo())
    image = {"image": str(file), "source_url": str(file)}
    engine = Engine()

    as_json = engine.respond(post(path, model=model, prompt="x", source_weight=0.5, **image))
    as_form = engine.respond(HTTPRequest("POST", path, form={"model": model, "prompt": "x", "image": str(file)}))

    assert (as_json.status, as_form.status) == (400, 400)
    assert engine.bill().images == 0


@pytest.mark.parametrize(
    ("path", "parameters", "said"),
    [
        (
            "/images/edits",
            {"image": ["data:image/png;base64,AA=="]},
            'image: got ["data:image/png;base64,AA=="] (not a file',
        ),
        ("/images/edits", {"image": {"url": None}}, 'image: got {"url": null} (not a file, a data URI or base64)'),
        ("/images/edits", {"image": True}, "image: got true (not a file"),
        ("/images/generations", {"metadata": {"a": [True, None]}}, 'metadata: got {"a": [true, null]} ('),
        ("/images/generations", {"prompt": ["a lake"]}, 'prompt: got ["a lake"] (an array, not text)'),
        (
            "/images/generations",
            {"model": "step-1x-medium", "style_reference": {"source_url": ["a"], "weight": 1}},
            'style_reference.source_url: got ["a"] (not a link, a data URI or base64)',
        ),
    ],
)
def test_what_was_sent_is_shown_as_it_was_written(path: str, parameters: dict[str, Any], said: str) -> None:
    response = Engine().respond(post(path, **{"model": "step-image-edit-2", "prompt": "x", **parameters}))
    assert response.status == 400
    assert said in json.loads(response.body)["error"]["message"]


def test_a_path_object_in_a_call_is_not_read_either(tmp_path: Path) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(photo())

    assert Engine().respond(post("/images/edits", model="step-image-edit-2", prompt="x", image=file)).status == 400


def test_step_image_edit_2_takes_base64_text_and_data_uris() -> None:
    data = photo()
    text = base64.b64encode(data).decode()
    form = {"model": "step-image-edit-2", "prompt": "x", "seed": "1", "response_format": "b64_json"}
    upload = Upload("cat.png", "image/png", data)

    responses = [
        content(Engine().respond(HTTPRequest("POST", "/images/edits", form={**form, **more}, files=files)))["data"]
        for more, files in [
            ({}, {"image": upload}),
            ({"image": text}, {}),
            ({"image": f"data:image/png;base64,{text}"}, {}),
        ]
    ]

    assert responses[0] == responses[1] == responses[2]


def test_a_link_of_the_engines_own_is_fetched_and_no_other() -> None:
    engine = Engine()
    own = content(engine.respond(LINKED))["data"][0]["url"]

    def ask(link: str) -> tuple[int, str]:
        parameters = {"model": "step-2x-large", "prompt": "x", "source_weight": 0.5, "size": "256x256"}
        response = engine.respond(post("/images/image2image", source_url=link, **parameters))
        return response.status, message(response) if response.status != 200 else ""

    assert ask(own) == (200, "")
    status, said = ask("https://example.com/cat.png")
    assert status == 400
    assert "cannot be fetched" in said
    assert "source_url" in said


def test_an_edit_takes_no_links() -> None:
    form = {"model": "step-image-edit-2", "prompt": "x", "image": "https://example.com/cat.png"}

    assert "takes no links" in message(Engine().respond(HTTPRequest("POST", "/images/edits", form=form)))


# --- keys and money


def test_the_bill_counts_calls_images_and_prices_by_key() -> None:
    engine = Engine()
    engine.respond(with_key(CALL, "a"))
    engine.respond(with_key(CALL, "b"))
    engine.respond(with_key(TextToImage(prompt="a lake").to_call(), "b"))

    assert engine.bill("a") == Bill(1, 1, {"USD": Decimal("0.02")})
    assert engine.bill("b") == Bill(2, 2, {"USD": Decimal("0.023")})
    assert engine.bill() == Bill(3, 3, {"USD": Decimal("0.043")})
    assert engine.bill("nobody") == Bill()


def test_the_bill_is_right_when_many_threads_ask() -> None:
    engine = Engine()
    threads = [threading.Thread(target=engine.respond, args=(CALL,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert engine.bill() == Bill(12, 12, {"USD": Decimal("0.24")})


def test_beyond_the_credit_is_402_and_the_account_says_what_is_left() -> None:
    engine = Engine(credit=0.05)

    statuses = [engine.respond(with_key(CALL, "a")).status for _ in range(3)]

    assert statuses == [200, 200, 402]
    assert engine.bill("a").images == 2
    account = content(engine.respond(get("/accounts", "a")))
    assert account == {
        "object": "account",
        "type": "prepaid",
        "balance": 0.01,
        "total_cash_balance": 0.01,
        "total_voucher_balance": 0.0,
    }
    assert engine.respond(with_key(CALL, "b")).status == 200


def test_credit_holds_when_many_threads_ask() -> None:
    engine = Engine(credit=0.06)
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(engine.respond(CALL).status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] * 3 + [402] * 5


def test_only_the_keys_given_are_let_in() -> None:
    engine = Engine(keys={"right"})

    assert engine.respond(with_key(CALL, "right")).status == 200
    assert engine.respond(with_key(CALL, "wrong")).status == 401
    assert engine.respond(CALL).status == 200  # in-process, no key is needed
    assert engine.bill("wrong") == Bill()


def test_over_http_a_key_is_needed() -> None:
    outside = Mount(keyless=False)

    assert Engine().respond(CALL, outside).status == 401
    assert Engine(keys={"right"}).respond(with_key(CALL, "embedded"), outside).status == 401
    assert Engine().respond(with_key(CALL, "any"), outside).status == 200


def test_the_step_plan_serves_its_own_models_and_costs_no_money() -> None:
    engine = Engine(credit=0)
    plan = Mount(plan=True)

    assert engine.respond(TextToImage(prompt="a lake").to_call(), plan).status == 200
    refused = engine.respond(CALL, plan)
    assert (refused.status, "Step Plan" in message(refused)) == (400, True)
    assert engine.bill() == Bill(2, 1)
    assert [model["id"] for model in content(engine.respond(get("/models"), plan))["data"]] == ["step-image-edit-2"]


# --- links, models


def test_a_link_works_until_it_expires() -> None:
    clock = Clock()
    engine = Engine(clock=clock, link_lifetime=60)
    link = content(engine.respond(LINKED))["data"][0]["url"]

    fresh = engine.respond(get(link))
    clock.now += 59
    late = engine.respond(get(link))
    clock.now += 1
    gone = engine.respond(get(link))

    assert (fresh.status, fresh.headers["content-type"]) == (200, "image/png")
    assert decoded(fresh.body).size == (256, 256)
    assert late.body == fresh.body
    assert gone.status == 404
    assert "expired" in message(gone)


def test_a_link_needs_no_key() -> None:
    engine = Engine(keys={"right"})
    link = content(engine.respond(with_key(LINKED, "right")))["data"][0]["url"]

    assert engine.respond(get(link), Mount(keyless=False)).status == 200


def test_models_are_listed_and_found() -> None:
    engine = Engine()
    listed = content(engine.respond(get("/models")))

    assert listed["object"] == "list"
    assert {model["id"] for model in listed["data"]} >= {row.model for row in rows()}
    assert len({model["id"] for model in listed["data"]}) == len(listed["data"])
    one = content(engine.respond(get("/models/step-1x-edit")))
    assert one in listed["data"]
    assert set(one) == {"id", "object", "created", "owned_by"}


# --- faults and extras


def test_respond_is_the_plain_response_and_play_meets_the_scenario() -> None:
    engine = Engine(scenario=Scenario("429*1"))

    assert engine.respond(CALL).status == 200
    assert statuses(engine, CALL) == [429]
    assert statuses(engine, CALL) == [200]


def test_questions_that_are_not_for_images_meet_no_fault() -> None:
    engine = Engine(scenario=Scenario("500*1"))

    assert statuses(engine, get("/models")) == [200]
    assert statuses(engine, CALL) == [500]


def statuses(engine: Engine, call: HTTPRequest) -> list[int]:
    return [step.response.status for step in engine.play(call) if isinstance(step, Send)]


def test_missing_extras_are_named_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    check_available()
    check_server_available()
    monkeypatch.setattr("stepfun_async.embedded.find_spec", lambda name: None)

    with pytest.raises(ConfigurationError, match=r'PIL: pip install "stepfun-async\[embedded\]"'):
        check_available()
    with pytest.raises(ConfigurationError, match=r'uvicorn.*pip install "stepfun-async\[cli\]"'):
        check_server_available()


@pytest.mark.parametrize("credit", [None, -1, "100", float("nan"), True])
def test_a_credit_that_is_no_sum_of_money_is_refused(credit: object) -> None:
    with pytest.raises(ConfigurationError, match="credit"):
        Engine(credit=credit)  # type: ignore[arg-type]
