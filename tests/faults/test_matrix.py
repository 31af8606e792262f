"""Never pay twice in silence, lose nothing: every fault, for every operation, from every kind of code.

`table.py` has one row for each fault, and what has to come of it. Each cell of the matrix is a client
that makes a picture, meets the fault, is told what the row says, makes a picture again when the fault is
over, and holds nothing then that it did not hold before.

Crossed fully: every row x every operation x asyncio, trio and the sync client, on a connection that was
kept and (`edit`, `image_to_image`) on a new one. Crossed with the rows that it can change only: the retry
policy that asks again where an answer was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final, Literal

import pytest

import stepfun_async._transport as transport_module
from stepfun_async import APIError, ImagesResponse, Limits, RetryPolicy, SaveError, TextToImage
from stepfun_async._core.results import Image
from tests.faults.table import PICTURE, ROWS, Ending, Row
from tests.faults.world import World, world
from tests.support.answers import PIXEL
from tests.support.shells import SHELLS, Ask, Caller, Shell, Told, shell

QUICK = RetryPolicy(base=0.001, connect_base=0.001, cap=0.01)
LARGE: Final = {"padding": "x" * 6_000_000}
PATIENCE = 60.0
"""Seconds after which a call counts as one that never ends."""


@dataclass(frozen=True)
class Operation:
    """What is asked.

    Attributes:
        name: as in `client.images`.
        ask: asks it, given the base URL and further parameters of the body.
        kind: which column of the table holds; `saved` is a picture that was paid for, behind a link.
        requests: how many requests it sends.
        new: whether it is asked on a new connection.
    """

    name: str
    ask: Callable[[Any, str, Any], Any]
    kind: Literal["paid", "free", "saved"] = "paid"
    requests: int = 1
    new: bool = False


def _several(images: Any, more: Any, requests: int) -> Any:
    return images.map(TextToImage(prompt=f"a lake {n}", extra_body=more) for n in range(requests))


OPERATIONS = (
    Operation("generate", lambda images, url, more: images.generate("a lake", extra_body=more)),
    Operation("edit", lambda images, url, more: images.edit(PIXEL, "blue", extra_body=more), new=True),
    Operation(
        "image_to_image",
        lambda images, url, more: images.image_to_image(PIXEL, "blue", source_weight=0.5, extra_body=more),
        new=True,
    ),
    Operation("map", lambda images, url, more: _several(images, more, 2), requests=2),
    Operation("download", lambda images, url, more: images.download(f"{url}/pictures/1.png"), kind="free"),
)


@pytest.fixture(scope="module")
def here() -> Iterator[World]:
    transport_module._tls_context.cache_clear()
    with world() as made:
        yield made
    transport_module._tls_context.cache_clear()


@pytest.fixture(scope="module", params=SHELLS)
def code(request: pytest.FixtureRequest) -> Iterator[Shell]:
    with shell(request.param) as entered:
        yield entered


@contextmanager
def calling(code: Shell, here: World, row: Row, retry: RetryPolicy = QUICK) -> Iterator[Caller]:
    """A client with one slot, so that a slot that is lost is missed at once."""
    settings = {"api_key": "sk-test", "limits": Limits(1), "retry": retry, "timeout": row.timeout}
    caller = code.client(**settings, **here.settings(row.way))
    try:
        yield caller
    finally:
        caller.close()


_numbers = count(1)


def assert_it_works(caller: Caller) -> None:
    """A picture is made without waiting for a slot, and the answer is this call's own."""
    number = f"call-{next(_numbers)}"
    (told,) = ask(
        caller, lambda images: images.generate("a lake", queue_timeout=0, extra_headers={"x-request-id": number})
    )
    assert ending_of(told) == PICTURE
    assert isinstance(told, ImagesResponse)
    assert told.trace_id == number


def ask(caller: Caller, asked: Ask, *, meanwhile: Callable[[], None] = lambda: None) -> list[Told]:
    """What comes of `asked`; it has to end."""
    call: Future[list[Told]] = caller.begin(asked)
    for _ in range(int(PATIENCE / 0.002)):
        if wait([call], 0.002).done:
            return call.result()
        meanwhile()
    raise AssertionError("the call does not end")


def meet(caller: Caller, here: World, row: Row, asked: Ask) -> list[Told]:
    """What comes of `asked` while the row's fault lasts and, whenever it has begun, time flies."""

    def meanwhile() -> None:
        reached = here.reached(row.way)
        if row.later and (reached.is_set() or not row.signals):
            reached.clear()
            caller.pass_time(row.later)

    with row.fault(here):
        return ask(caller, asked, meanwhile=meanwhile)


def ending_of(told: Told) -> Ending:
    """What a user is told, as the table writes it."""
    if isinstance(told, ImagesResponse):
        return replace(PICTURE, attempts=told.attempts, maybe_billed=told.maybe_billed)
    if isinstance(told, Image):
        return PICTURE
    assert isinstance(told, APIError), repr(told)
    return Ending(type(told), told.billing, told.attempts, told.maybe_billed)


CELLS = [
    pytest.param(row, operation, id=f"{row.name}-{operation.name}")
    for row in ROWS
    for operation in OPERATIONS
    if operation.kind == "paid" or row.free
]


@pytest.mark.parametrize(("row", "operation"), CELLS)
def test_every_fault_ends_as_the_table_says(row: Row, operation: Operation, code: Shell, here: World) -> None:
    service = here.service(row.way)
    with calling(code, here, row) as caller:
        assert_it_works(caller)
        service.settle(1)
        held, charged = caller.footprint(), service.bill
        if operation.new:
            service.drop_idle()
        url = here.settings(row.way)["base_url"]
        told = meet(caller, here, row, lambda images: operation.ask(images, url, LARGE if row.large else None))
        endings = [ending_of(one) for one in told]
        assert_it_works(caller)
        service.settle(1)
        assert caller.footprint() == held
        bill = service.bill - charged - 1
        expected = row.paid if operation.kind == "paid" else row.free
        if expected is not None:
            assert endings == [expected] * operation.requests
        assert bill <= sum(end.maybe_billed for end in endings)
        assert client_bill(caller) >= bill + 2
    service.settle(0)


def client_bill(caller: Caller) -> int:
    return caller.usage.billed + caller.usage.maybe_billed
