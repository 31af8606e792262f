"""One engine for every embedded client of the process."""

from __future__ import annotations

import threading

import pytest

from stepfun_async import AsyncClient, Client, ConfigurationError
from stepfun_async.embedded import EmbeddedTransport, Engine, in_use, use


def images(engine: Engine) -> int:
    return engine.bill().images


def ask(client: Client) -> None:
    client.images.generate("a lake")


def test_it_answers_clients_made_inside() -> None:
    with use(Engine(plain=True)) as engine, Client(base_url="embedded") as client:
        ask(client)

    assert images(engine) == 1


def test_it_answers_a_client_made_before_and_leaves_it_afterwards() -> None:
    """As code keeps one client for the whole program, and tests come one after another."""
    first, second = Engine(plain=True), Engine(plain=True)
    with use(Engine(plain=True)), Client(base_url="embedded") as client:
        with use(first):
            ask(client)
        with use(second):
            ask(client)
            ask(client)

    assert (images(first), images(second)) == (1, 2)


def test_the_innermost_block_holds() -> None:
    outer, inner = Engine(plain=True), Engine(plain=True)
    with Client(base_url="embedded") as client, use(outer):
        with use(inner):
            ask(client)
        ask(client)

    assert (images(outer), images(inner)) == (1, 1)
    assert in_use() is None


def test_blocks_may_end_in_any_order() -> None:
    first, second = Engine(plain=True), Engine(plain=True)
    one, other = use(first), use(second)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)

    assert in_use() is second
    other.__exit__(None, None, None)
    assert in_use() is None


def test_it_holds_in_other_threads() -> None:
    def work() -> None:
        with Client(base_url="embedded") as client:
            ask(client)

    with use(Engine(plain=True)) as engine:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert images(engine) == 3


def test_a_transport_of_ones_own_stays() -> None:
    own = Engine(plain=True)
    with use(Engine(plain=True)) as engine, Client(base_url="embedded", transport=EmbeddedTransport(own)) as client:
        ask(client)

    assert (images(engine), images(own)) == (0, 1)


@pytest.mark.anyio
async def test_it_answers_async_clients() -> None:
    with use(Engine(plain=True)) as engine:
        async with AsyncClient(base_url="embedded") as client:
            await client.images.generate("a lake")

    assert images(engine) == 1


def test_clients_without_it_keep_engines_of_their_own() -> None:
    first, second = EmbeddedTransport(), EmbeddedTransport()

    assert first.engine is first.engine is not second.engine


def test_other_base_urls_are_left_alone() -> None:
    with use(Engine(plain=True)), pytest.raises(ConfigurationError, match="no API key"):
        Client(base_url="https://api.stepfun.ai/v1")
