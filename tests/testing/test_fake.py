"""`FakeStepFun`, used without pytest's fixtures: what it answers, records and leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from stepfun_async import (
    AsyncClient,
    Client,
    ConfigurationError,
    InsufficientBalanceError,
    RateLimitError,
    RetryPolicy,
    Size,
)
from stepfun_async.embedded import Engine, Fault, in_use
from stepfun_async.testing import FakeStepFun, FakeStepFunServer

# --- what it answers


def test_it_answers_clients_that_know_nothing_of_it() -> None:
    with FakeStepFun() as stepfun, Client() as client:
        client.images.generate("a lake")

    assert [call.prompt for call in stepfun.calls] == ["a lake"]


@pytest.mark.anyio
async def test_it_answers_async_clients_that_know_nothing_of_it() -> None:
    with FakeStepFun() as stepfun:
        async with AsyncClient() as client:
            await client.images.generate("a lake")

    assert [call.prompt for call in stepfun.calls] == ["a lake"]


def test_it_answers_clients_made_in_other_threads() -> None:
    def work() -> None:
        with Client() as client:
            client.images.generate("a lake")

    with FakeStepFun() as stepfun:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    stepfun.assert_paid(1)


def test_a_client_that_outlives_a_test_is_answered_by_the_next_ones() -> None:
    with FakeStepFun() as first:
        client = Client()
        client.images.generate("a lake")
    with FakeStepFun() as second:
        client.images.generate("a cat")
    client.close()

    assert [call.prompt for call in first.calls] == ["a lake"]
    assert [call.prompt for call in second.calls] == ["a cat"]


@pytest.mark.anyio
async def test_it_makes_clients_that_it_answers_also_outside_of_a_block() -> None:
    stepfun = FakeStepFun()
    with stepfun.client(timeout=5) as client:
        client.images.generate("a lake")
    async with stepfun.async_client(timeout=5) as async_client:
        await async_client.images.generate("a cat")

    assert [call.prompt for call in stepfun.calls] == ["a lake", "a cat"]


def test_seeds_of_requests_without_one_count_up() -> None:
    with FakeStepFun().client() as client:
        seeds = [client.images.generate("a lake").image.seed for _ in range(3)]

    assert seeds == [1, 2, 3]


def test_an_engine_of_ones_own_answers_with_its_settings() -> None:
    stepfun = FakeStepFun(Engine(plain=True, credit=0.004))
    with stepfun.client() as client:
        client.images.generate("a lake")
        with pytest.raises(InsufficientBalanceError):
            client.images.generate("a lake")

    stepfun.assert_paid(1)


# --- what it records


def test_calls_tell_what_was_asked() -> None:
    stepfun = FakeStepFun()
    with stepfun.client() as client:
        lake = client.images.generate("a lake", size="16:9", seed=4).image
        client.images.edit(lake, "by night")

    generated, edited = stepfun.calls
    assert (generated.operation, generated.size) == ("text_to_image", Size(width=1360, height=768))
    assert generated.parameters["seed"] == 4
    assert (edited.operation, edited.image) == ("edit", lake.data)


def test_paid_are_the_calls_that_cost_something_even_if_the_response_was_lost() -> None:
    stepfun = FakeStepFun()
    stepfun.fail("429*1", "drop-after*1")
    with stepfun.client() as client:
        with pytest.raises(Exception, match="may have been billed"):
            client.images.generate("a lake")
        client.images.generate("a cat")

    assert [call.prompt for call in stepfun.calls] == ["a lake", "a lake", "a cat"]
    assert [call.prompt for call in stepfun.paid] == ["a lake", "a cat"]
    assert (stepfun.bill.images, str(stepfun.bill.amount())) == (2, "0.006")
    stepfun.assert_paid(images=2)


def test_a_failed_assertion_tells_every_call() -> None:
    stepfun = FakeStepFun()
    stepfun.fail("429*1", "drop-after*1")
    with stepfun.client() as client:
        with pytest.raises(Exception, match="may have been billed"):
            client.images.generate("a lake")
        client.images.generate("a cat", model="step-2x-large")

    with pytest.raises(AssertionError) as caught:
        stepfun.assert_paid(images=1)

    assert str(caught.value).splitlines() == [
        "2 images paid for (0.023 USD), not 1; 3 calls arrived:",
        "  1. text_to_image 'a lake' with step-image-edit-2: status 429, not paid (the fault 429*1)",
        "  2. text_to_image 'a lake' with step-image-edit-2: no response, paid (the fault drop-after*1)",
        "  3. text_to_image 'a cat' with step-2x-large: status 200, paid",
    ]


def test_a_failed_assertion_without_calls_says_so() -> None:
    with pytest.raises(AssertionError, match=r"^0 images paid for, not 3; 0 calls arrived$"):
        FakeStepFun().assert_paid(3)


# --- how it fails


def test_faults_replace_those_said_before() -> None:
    stepfun = FakeStepFun()
    with stepfun.client(retry=RetryPolicy(max_attempts=1)) as client:
        stepfun.fail(Fault("status", status=429))
        with pytest.raises(RateLimitError):
            client.images.generate("a lake")
        stepfun.fail()
        client.images.generate("a lake")

    stepfun.assert_paid(1)


@pytest.mark.parametrize("text", ["4290", "hnag", "500%0"])
def test_what_is_no_fault_is_refused_with_one_list_of_kinds(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{text!r} is no fault") as refused:
        FakeStepFun().fail(text)
    assert str(refused.value).count("mid-upload") == 1


# --- what it leaves behind

VARIABLES = ("STEP_API_KEY", "STEPFUN_API_KEY", "STEP_BASE_URL", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "OTHER")


def test_keys_and_proxies_are_gone_inside_and_back_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "before")
    with FakeStepFun():
        inside = {name: os.environ.get(name) for name in VARIABLES}
        os.environ["STEP_API_KEY"] = "set by the code under test"

    assert inside == {**dict.fromkeys(VARIABLES), "STEP_BASE_URL": "embedded", "OTHER": "before"}
    assert {name: os.environ.get(name) for name in VARIABLES} == dict.fromkeys(VARIABLES, "before")


def test_what_was_not_set_is_not_set_afterwards() -> None:
    with FakeStepFun(), FakeStepFun():
        pass

    assert [name for name in VARIABLES if name in os.environ] == []
    assert in_use() is None


def test_the_same_one_may_be_entered_again() -> None:
    stepfun = FakeStepFun()
    with stepfun:
        with stepfun:
            pass
        assert in_use() is stepfun.engine
    with stepfun:
        assert in_use() is stepfun.engine
    assert in_use() is None


# --- over HTTP


def test_the_server_answers_clients_that_know_nothing_of_it() -> None:
    with FakeStepFunServer() as server, Client() as client:
        assert client.base_url == server.url
        assert client.images.generate("a lake").image.width == 1024
        server.fail("429*1")
        assert client.images.generate("a cat").attempts == 2

    assert [call.status for call in server.calls] == [200, 429, 200]
    server.assert_paid(2)


def test_the_server_makes_clients_and_serves_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    program = "from stepfun_async import Client; print(Client().images.generate('from a program').image.width)"
    with FakeStepFunServer() as server:
        with server.client(timeout=60) as client:
            client.images.generate("from here")
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "1024"
    assert [call.prompt for call in server.calls] == ["from here", "from a program"]


def test_a_server_that_does_not_run_has_no_address() -> None:
    server = FakeStepFunServer()
    with server:
        assert server.url.startswith("http://127.0.0.1:")

    with pytest.raises(ConfigurationError, match="in a with block"):
        _ = server.url
    assert [name for name in VARIABLES if name in os.environ] == []


def test_without_the_extra_the_server_says_what_to_install() -> None:
    code = """
import sys
sys.modules["uvicorn"] = None
from stepfun_async.testing import FakeStepFunServer
try:
    FakeStepFunServer().__enter__()
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("ConfigurationError"), done.stderr
    assert 'pip install "stepfun-async[cli]"' in done.stdout
