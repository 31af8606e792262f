"""Faults as values: how they are written, which one a call meets, and what each does."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.requests import TextToImage
from stepfun_async._core.wire import HTTPResponse
from stepfun_async.embedded import Engine, Fault, Scenario
from stepfun_async.embedded.faults import KINDS
from stepfun_async.embedded.steps import Drop, Hang, Send, Step, Wait

CALL = TextToImage(prompt="a lake", model="step-2x-large", size="256x256").to_call()
SIMPLE = [kind for kind in KINDS if kind not in ("status", "delay")]


def faults() -> st.SearchStrategy[Fault]:
    seconds = st.floats(0, 1e6, allow_nan=False)
    times = st.none() | st.integers(1, 10**6)
    percent = st.floats(0, 100, exclude_min=True)
    waitable = st.builds(Fault, st.just("status"), status=st.sampled_from([429, 503]), seconds=seconds, times=times)
    status = st.builds(Fault, st.just("status"), status=st.sampled_from(KINDS["status"].statuses), percent=percent)
    pages = st.builds(Fault, st.just("html"), status=st.none() | st.sampled_from(KINDS["html"].statuses), times=times)
    slow = st.builds(
        Fault, st.sampled_from(["delay", "drip"]), seconds=st.floats(1e-9, 1e6), times=times, percent=percent
    )
    simple = st.builds(Fault, st.sampled_from(SIMPLE), times=times, percent=percent)
    return waitable | status | pages | slow | simple


@given(faults())
def test_a_fault_reads_back_as_it_is_written(fault: Fault) -> None:
    assert Fault.parse(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("429", Fault("status", status=429)),
        ("429*2", Fault("status", status=429, times=2)),
        ("delay=0.5", Fault("delay", seconds=0.5)),
        ("500%5", Fault("status", status=500, percent=5)),
        ("503=2*1", Fault("status", status=503, seconds=2, times=1)),
        ("drop-after*1", Fault("drop-after", times=1)),
        ("html:504", Fault("html", status=504)),
        (" hang ", Fault("hang")),
    ],
)
def test_faults_are_written_short(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault
    assert str(fault) == text.strip()


NO_FAULTS = (
    "|418|200|nope|429*0|429*|500=1|delay|delay=x|hang=1|500%0|500%101|drop-after:500|status|delay=1e999|=1"
    "|429 429|delay=1.2.3|empty=1"
)


@pytest.mark.parametrize("text", NO_FAULTS.split("|"))
def test_anything_else_is_refused_naming_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"drop-before.*truncated.*such as 429"):
        Fault.parse(text)


def test_a_fault_made_by_hand_is_judged_too() -> None:
    with pytest.raises(ConfigurationError, match=r"times 0.*percent 200"):
        Fault("hang", times=0, percent=200)
    with pytest.raises(ConfigurationError, match="kind 'nope'; allowed: status, delay"):
        Fault("nope")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="seconds nan"):
        Fault("drip", seconds=float("nan"))


# --- scenarios


def met(scenario: Scenario, calls: int) -> list[str]:
    return [str(scenario.next_fault()) for _ in range(calls)]


def test_faults_come_in_order_each_as_often_as_it_says() -> None:
    assert met(Scenario("429*2", "empty*1"), 4) == ["429*2", "429*2", "empty*1", "None"]
    assert met(Scenario("500"), 3) == ["500"] * 3
    assert met(Scenario(), 2) == ["None"] * 2


def test_a_percentage_comes_up_as_often_as_it_says_and_repeats_with_the_seed() -> None:
    first, again, other = (met(Scenario("500%20", "429%50", seed=seed), 2000) for seed in (1, 1, 2))

    assert first == again != other
    counted = Counter(first)
    assert 320 < counted["500%20"] < 480
    assert 700 < counted["429%50"] < 900


def test_a_scenario_shows_what_it_is_made_of() -> None:
    assert repr(Scenario("429*2", Fault("hang"), seed=3)) == "Scenario('429*2', 'hang', seed=3)"


# --- what each does


def played(text: str) -> tuple[list[Step], Engine]:
    engine = Engine(scenario=Scenario(text))
    return list(engine.play(CALL)), engine


def sent(text: str) -> HTTPResponse:
    (step,), _ = played(text)
    assert isinstance(step, Send)
    return step.response


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_says_which_faults_bill(kind: str) -> None:
    text = {"status": "500", "delay": "delay=1"}.get(kind, kind)
    _, engine = played(text)

    assert engine.bill().calls == 1
    assert engine.bill().images == (1 if KINDS[Fault.parse(text).kind].bills else 0)


@pytest.mark.parametrize("status", KINDS["status"].statuses)
def test_a_status_comes_with_the_error_body_and_a_trace_id(status: int) -> None:
    response = sent(str(status))

    assert response.status == status
    assert json.loads(response.body)["error"]["message"]
    assert response.headers["x-trace-id"]
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("status", [429, 503])
def test_seconds_become_retry_after(status: int) -> None:
    assert sent(f"{status}=2").headers["retry-after"] == "2"
    assert sent(f"{status}=0.5").headers["retry-after"] == "0.5"


def test_steps_that_are_no_response() -> None:
    assert played("hang")[0] == [Hang()]
    assert played("drop-before")[0] == [Drop()]
    assert played("drop-after")[0] == [Drop()]
    assert played("delay=3")[0][0] == Wait(3)


def test_responses_that_are_spoilt() -> None:
    (image,) = json.loads(sent("filtered").body)["data"]
    assert set(image) == {"seed", "finish_reason"}
    assert image["finish_reason"] == "content_filtered"
    assert json.loads(sent("empty").body)["data"] == []
    with pytest.raises(ValueError, match=r"."):
        json.loads(sent("bad-json").body)
    assert sent("bad-json").status == 200


def test_pages_and_redirects() -> None:
    assert (sent("html").status, sent("html:200").status) == (502, 200)
    assert sent("html").body.startswith(b"<html")
    assert sent("html").headers["content-type"] == "text/html"
    assert (sent("redirect").status, sent("redirect:302").status) == (307, 302)
    assert sent("redirect").headers["location"]


def test_a_dripping_body_is_whole_and_a_truncated_one_is_not() -> None:
    (drip,), _ = played("drip=0.1")
    (cut,), _ = played("truncated")
    assert isinstance(drip, Send)
    assert isinstance(cut, Send)

    assert b"".join(drip.pieces()) == drip.response.body
    assert 40 <= len(drip.pieces()) <= 50
    assert 0 < len(b"".join(cut.pieces())) < len(cut.response.body)


@pytest.mark.parametrize(
    ("fault", "status", "headers", "said"),
    [
        ("envoy-503", 503, {"server": "envoy"}, b"upstream connect error or disconnect/reset before headers. "),
        ("varnish-503", 503, {"server": "Varnish", "retry-after": "5"}, b"<!DOCTYPE html>"),
        ("varnish-503=0.5", 503, {"server": "Varnish", "retry-after": "0.5"}, b"<!DOCTYPE html>"),
        ("litellm-408", 408, {"x-litellm-call-id": "embedded"}, b'{"error": {"message": "litellm.Timeout'),
    ],
)
def test_gateways_answer_in_their_own_words_and_without_a_trace_id(
    fault: str, status: int, headers: dict[str, str], said: bytes
) -> None:
    response = sent(fault)
    assert response.status == status
    assert response.headers.items() >= headers.items()
    assert "x-trace-id" not in response.headers
    assert response.body.startswith(said)


def test_a_success_that_is_none() -> None:
    assert json.loads(sent("error-in-200").body)["error"]["message"]
    assert (sent("error-in-200").status, sent("accepted").status) == (200, 202)
    assert json.loads(sent("accepted").body)["task_id"]


def test_heartbeats_come_before_the_image() -> None:
    (step,), _ = played("heartbeat=3")
    assert isinstance(step, Send)
    assert step.pieces() == [b" "] * 5 + [step.response.body]
    assert b"".join(step.pieces()) == step.body
    assert json.loads(step.body)["data"]
    assert step.pace == 3


def test_refusals_before_the_request_has_come_and_what_becomes_of_the_connection() -> None:
    (closed,), _ = played("mid-upload")
    (open_,), _ = played("stop-reading:401")
    (kept,), _ = played("keep-alive")
    assert isinstance(closed, Send)
    assert isinstance(open_, Send)
    assert isinstance(kept, Send)
    assert (closed.response.status, closed.then) == (413, "close")
    assert (open_.response.status, open_.then) == (401, "stop-reading")
    assert (kept.response.headers["keep-alive"], kept.keep_alive) == ("timeout=1", 1)
    with pytest.raises(ConfigurationError, match="allowed: 413, 401, 403, 429"):
        Fault.parse("mid-upload:500")


def test_a_refused_request_is_answered_as_it_is_whatever_would_have_become_of_its_image() -> None:
    engine = Engine(scenario=Scenario("filtered"))

    (step,) = engine.play(TextToImage(prompt="").to_call())

    assert isinstance(step, Send)
    assert step.response.status == 400
    assert engine.bill().images == 0
