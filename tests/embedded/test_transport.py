"""The engine as a transport, on asyncio and trio."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from stepfun_async._core.errors import APIConnectionError
from stepfun_async._core.requests import TextToImage
from stepfun_async._core.wire import HTTPRequest, SendState
from stepfun_async.embedded import EmbeddedTransport, Engine, Log, Scenario
from stepfun_async.testing import run, virtual_backend

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both, in virtual time."""
    return virtual_backend(request.param)


CALL = TextToImage(prompt="a lake", model="step-2x-large", size="256x256").to_call()


def transport(*faults: str) -> EmbeddedTransport:
    return EmbeddedTransport(Engine(scenario=Scenario(*faults)))


async def test_a_call_is_answered_and_marked_as_sent() -> None:
    progress, carrier = SendState(), transport()

    response = await carrier.send(CALL, progress)
    await carrier.aclose()

    assert response.status == 200
    assert progress.sent
    assert carrier.engine.bill().images == 1


async def test_the_loop_goes_on_while_images_are_drawn() -> None:
    carrier = transport()
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(carrier.send, CALL, SendState())

    assert carrier.engine.bill().images == 6


async def test_a_link_is_followed_in_process() -> None:
    carrier = transport()
    call = TextToImage(prompt="a lake", model="step-2x-large", size="256x256", response_format="url").to_call()
    link = json.loads((await carrier.send(call, SendState())).body)["data"][0]["url"]

    assert (await carrier.send(HTTPRequest("GET", link), SendState())).body.startswith(b"\x89PNG")


@pytest.mark.parametrize(("fault", "billed"), [("drop-before", 0), ("drop-after", 1), ("truncated", 1)])
async def test_a_lost_connection_is_an_error_that_does_not_know_of_money(fault: str, billed: int) -> None:
    carrier, progress = transport(fault), SendState()

    with pytest.raises(APIConnectionError) as caught:
        await carrier.send(CALL, progress)

    assert caught.value.billing == "unknown"
    assert progress.sent
    assert carrier.engine.bill().images == billed


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("429", 429),
        ("html", 502),
        ("redirect", 307),
        ("envoy-503", 503),
        ("mid-upload", 413),
        ("stop-reading:401", 401),
        *((fault, 200) for fault in ("empty", "filtered", "bad-json", "bad-base64", "error-in-200", "keep-alive")),
    ],
)
async def test_responses_of_faults_arrive(fault: str, status: int) -> None:
    assert (await transport(fault).send(CALL, SendState())).status == status


@pytest.mark.parametrize("fault", ["delay=60", "drip=1.2", "heartbeat=10"])
async def test_slow_responses_are_slow_and_whole(fault: str) -> None:
    began = anyio.current_time()

    response = await transport(fault).send(CALL, SendState())

    assert anyio.current_time() - began == pytest.approx(60, rel=0.05)
    assert json.loads(response.body)["data"]


@pytest.mark.parametrize("fault", ["hang", "delay=60", "drip=60"])
async def test_what_never_comes_can_be_cancelled(fault: str) -> None:
    progress = SendState()
    with anyio.move_on_after(30) as scope:
        await transport(fault).send(CALL, progress)

    assert scope.cancelled_caught
    assert progress.sent


def test_plain_images_are_made_in_the_order_of_the_calls() -> None:
    """On asyncio; trio itself takes ready tasks in either order, by chance."""
    log = Log()
    carrier = EmbeddedTransport(Engine(plain=True, log=log))
    prompts = [f"lake {number}" for number in range(50)]

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for prompt in prompts:
                group.start_soon(carrier.send, TextToImage(prompt=prompt).to_call(), SendState())

    run(main)
    assert [call.prompt for call in log.calls] == prompts


async def test_a_plain_response_can_be_cancelled_before_it_is_made() -> None:
    carrier = EmbeddedTransport(Engine(plain=True))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await carrier.send(CALL, SendState())

    assert scope.cancelled_caught
    assert carrier.engine.bill().calls == 0
