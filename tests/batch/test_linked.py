"""A server that answers with links though base64 was asked for: each picture is downloaded, kept, and bought once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepfun_async import APIConnectionError, SaveError
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async.batch import Records
from stepfun_async.batch.run.job_runner import JobRunner
from tests.core.test_paid_images import IMAGES, WAYS

from .shop import Shop, prompts

pytestmark = pytest.mark.anyio

LINK = "https://pictures.test/图片 {}.png?sig=a%2Fb"


class Linking:
    """A server that answers every request with a link, and gives behind each what `behind` says."""

    def __init__(self, behind: Callable[[str], bytes]) -> None:
        self._behind = behind
        self.posts = 0
        self.fetched: list[str] = []

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        if call.method == "POST":
            self.posts += 1
            return HTTPResponse(200, {}, json.dumps({"data": [{"url": LINK.format(self.posts), "seed": 3}]}).encode())
        self.fetched.append(call.path)
        return HTTPResponse(200, {"content-type": "image/png"}, self._behind(call.path))

    async def aclose(self) -> None:
        """Nothing to close."""


class Saying(Linking):
    """A server that says the picture in one way."""

    def __init__(self, item: dict[str, object]) -> None:
        super().__init__(lambda _: b"")
        self._item = item

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        assert call.method == "POST"
        self.posts += 1
        return HTTPResponse(200, {}, json.dumps({"data": [self._item]}).encode())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "out")


@pytest.mark.parametrize("name", IMAGES)
async def test_what_is_only_linked_to_is_fetched_and_kept_in_every_format(name: str, shop: Shop) -> None:
    kind, width, data = IMAGES[name]
    shop.transport = server = Linking(lambda _: data)
    assert (await shop.batch(prompts(10)).run()).done == 10
    assert (await shop.batch(prompts(10)).run()).done == 0
    assert (server.posts, len(server.fetched)) == (10, 10)
    items = [*Records(shop.out).items()]
    assert {(item.state, item.format, item.width, item.seed, item.billed) for item in items} == {
        ("done", kind, width, 3, 1)
    }
    assert all((shop.out / str(item.path)).read_bytes() == data for item in items)


@pytest.mark.parametrize("way", WAYS)
async def test_a_batch_keeps_the_picture_whichever_way_it_comes(way: str, shop: Shop) -> None:
    data = IMAGES["jpeg"][2]
    shop.transport = Saying(WAYS[way](data))
    assert (await shop.batch(prompts(3)).run()).done == 3
    assert [path.read_bytes() for path in shop.out.rglob("*.jpg")] == [data] * 3


async def test_a_picture_that_cannot_be_fetched_stops_the_batch_and_is_entered_with_its_link(shop: Shop) -> None:
    def behind(path: str) -> bytes:
        raise APIConnectionError("no route to pictures.test", billing="not_sent", again=False)

    shop.transport = server = Linking(behind)
    with pytest.raises(SaveError, match="paid for, but not downloaded") as caught:
        await shop.batch(prompts(50)).run()
    assert caught.value.response.image.url == LINK.format(1).replace(" ", "%20")
    assert server.posts <= 4, "those in flight, and no further one is paid for"
    failed = [item for item in Records(shop.out).items() if item.state == "failed"]
    assert len(failed) == server.posts
    assert all(item.billed == 1 and "https://pictures.test/" in str(item.message) for item in failed)
    assert "no route to pictures.test" in str(failed[0].message)

    posts = server.posts
    shop.transport = server = Linking(lambda _: IMAGES["png"][2])
    assert (await shop.batch(prompts(50)).run()).done == 50 - posts
    assert server.posts == 50 - posts, "what was paid for is not bought again"


async def test_a_batch_that_is_stopped_while_it_fetches_enters_the_link(shop: Shop) -> None:
    fetching = anyio.Event()

    class Slow(Linking):
        async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
            if call.method == "GET":
                fetching.set()
                await anyio.sleep_forever()
            return await super().send(call, progress)

    shop.transport = Slow(lambda _: b"")
    async with anyio.create_task_group() as group:
        group.start_soon(shop.batch(prompts(1)).run)
        await fetching.wait()
        group.cancel_scope.cancel()
    (item,) = Records(shop.out).items()
    assert (item.state, item.billed, item.error) == ("failed", 1, "SaveError")
    assert "its link is https://pictures.test/" in str(item.message)


@pytest.mark.parametrize("name", IMAGES)
async def test_a_picture_of_any_format_that_was_kept_before_a_crash_is_known_again(
    name: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = IMAGES[name][2]
    shop.transport = server = Linking(lambda _: data)
    real = JobRunner.save

    async def keep_and_die(self: JobRunner, *arguments: Any) -> Any:
        await real(self, *arguments)
        raise OSError("the process dies here")

    with monkeypatch.context() as patched:
        patched.setattr(JobRunner, "save", keep_and_die)
        with pytest.raises(OSError, match="dies here"):
            await shop.batch(prompts(1)).run()
    assert (await shop.batch(prompts(1)).run()).adopted == 1
    assert server.posts == 1
