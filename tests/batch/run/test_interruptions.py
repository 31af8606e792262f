"""What `on_event` raises ends a run, and comes out of it as it is, with everything entered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepfun_async import CallEnded, CallStarted
from tests.batch.shop import Shop, prompts

LINES = 40
"""Several times as many as are in flight at once, since those that are answered by then are entered as done."""

KINDS = [KeyboardInterrupt, SystemExit, asyncio.CancelledError]


class Raising:
    """An `on_event` that raises at the third event of a kind."""

    def __init__(self, at: type[Any], kind: type[BaseException]) -> None:
        self._at, self._kind, self._left = at, kind, 3

    def __call__(self, event: object) -> None:
        if isinstance(event, self._at):
            self._left -= 1
            if not self._left:
                raise self._kind("stop")


def settle(shop: Shop) -> None:
    """Run once more, and see that each line was bought once, or may have been once more where it was not entered."""
    entered = shop.states()
    assert entered["pending"] + entered["unknown"], "the run ended before its lines did"
    assert not entered["started"]
    shop.batch(prompts(LINES)).run_sync()
    assert shop.states() == {"done": LINES}


@pytest.mark.parametrize("at", [CallStarted, CallEnded])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.anyio
async def test_an_interruption_comes_out_of_run_as_it_is(
    at: type[Any], kind: type[BaseException], tmp_path: Path
) -> None:
    shop = Shop(tmp_path)
    with pytest.raises(kind, match="stop") as caught:
        await shop.batch(prompts(LINES), on_event=Raising(at, kind)).run()
    assert type(caught.value) is kind
    await anyio.to_thread.run_sync(settle, shop)


@pytest.mark.parametrize("at", [CallStarted, CallEnded])
@pytest.mark.parametrize("kind", KINDS)
def test_an_interruption_comes_out_of_run_sync_as_it_is(
    at: type[Any], kind: type[BaseException], tmp_path: Path
) -> None:
    shop = Shop(tmp_path)
    with pytest.raises(kind, match="stop") as caught:
        shop.batch(prompts(LINES), on_event=Raising(at, kind)).run_sync()
    assert type(caught.value) is kind
    settle(shop)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.anyio
async def test_an_interruption_comes_out_of_running_at_the_end_of_its_block(
    kind: type[BaseException], tmp_path: Path
) -> None:
    shop = Shop(tmp_path)
    batch = shop.batch(prompts(LINES), on_event=Raising(CallStarted, kind))

    async def read() -> None:
        async with batch.running() as items:
            async for item in items:
                assert item.state

    with pytest.raises(kind, match="stop"):
        await read()
    await anyio.to_thread.run_sync(settle, shop)


@pytest.mark.anyio
async def test_a_cancelled_run_is_cancelled_and_not_interrupted(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    with anyio.CancelScope() as scope:
        await shop.batch(prompts(LINES), on_event=lambda _: scope.cancel()).run()
    assert scope.cancelled_caught
    await anyio.to_thread.run_sync(settle, shop)
