"""Never pay twice in silence, lose nothing: every fault, for every operation, from every kind of code.

`table.py` has one row for each fault, and what has to come of it. Each cell of the matrix is a client that
makes an image, meets the fault, gets what the row says, makes an image again when the fault is over,
and holds nothing then that it did not hold before. What it says may have been billed is never less than
the service's bill. Faults that last are cut short by a deadline, which a clock that is put forward brings
about: the rows that end in an `APITimeoutError` are the proof that one deadline holds over everything.

What is crossed with what:

* every row with asyncio, trio and the sync client, for `generate`, and for `download` where that can meet it;
* every row on which sockets matter with `edit`, `image_to_image` and `map` too, everywhere. A status or an
  unreadable success is read by the same lines for all of them: there each of the three takes its turn
  with each kind of code;
* a connection that was kept, with `generate`, `map` and `download`; a new one, with `edit` and `image_to_image`;
* asking again where a response was lost, with every row in which one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from stepfun_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    Image,
    ImagesResponse,
    InternalServerError,
    Limits,
    MalformedResponseError,
    NotFoundError,
    RetryPolicy,
    SaveError,
    TextToImage,
)
from stepfun_async._transport import pool as connections
from tests.faults.table import BUSY, HTML, IMAGE, ROWS, STATUSES, UNREADABLE_SUCCESSES, Ending, Row
from tests.faults.world import World, world
from tests.support.faulty import (
    FaultyService,
    Play,
    billed,
    hang_up,
    reset,
    say,
    say_cut,
    say_status,
    silence,
    unbilled,
)
from tests.support.responses import PIXEL, REFUSAL, http_response
from tests.support.shells import SHELLS, Ask, Caller, Footprint, Result, Shell, eventually, shell

QUICK = RetryPolicy(base=0.001, connect_base=0.001, cap=0.01)
STUBBORN = replace(QUICK, retry_unknown=True)
LARGE: Final = {"padding": "x" * 6_000_000}
"""More than what the kernels on the way take in while nothing is read."""

PATIENCE = 60.0
"""Seconds after which a call counts as one that never ends."""


# --- operations ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """What is asked.

    Attributes:
        name: as in `client.images`.
        ask: asks it, given the base URL and further parameters of the body.
        kind: which column of the table holds.
        requests: how many requests it sends.
        new: whether it is asked on a new connection.
    """

    name: str
    ask: Callable[[Any, str, Any], Any]
    kind: Literal["paid", "free"] = "paid"
    requests: int = 1
    new: bool = False


def _map(images: Any, _: str, more: Any) -> Any:
    return images.map(TextToImage(prompt=f"a lake {n}", extra_body=more) for n in range(2))


GENERATE = Operation("generate", lambda images, _, more: images.generate("a lake", extra_body=more))
DOWNLOAD = Operation("download", lambda images, url, _: images.download(f"{url}/pictures/1.png"), kind="free")
OTHERS = (
    Operation("edit", lambda images, _, more: images.edit(PIXEL, "blue", extra_body=more), new=True),
    Operation(
        "image_to_image",
        lambda images, _, more: images.image_to_image(PIXEL, "blue", source_weight=0.5, extra_body=more),
        new=True,
    ),
    Operation("map", _map, requests=2),
)


def _cells() -> Iterator[tuple[str, Row, Operation]]:
    for number, row in enumerate(ROWS):
        taking_turns = row in STATUSES or row in UNREADABLE_SUCCESSES
        for turn, where in enumerate(SHELLS):
            yield where, row, GENERATE
            if row.free:
                yield where, row, DOWNLOAD
            for operation in (OTHERS[(number + turn) % 3],) if taking_turns else OTHERS:
                yield where, row, operation


# --- clients ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def here() -> Iterator[World]:
    connections._contexts.clear()
    with world() as made:
        yield made
    connections._contexts.clear()


@pytest.fixture(scope="module")
def shells() -> Iterator[Mapping[str, Shell]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(shell(name)) for name in SHELLS}


@contextmanager
def calling(code: Shell, settings: Mapping[str, Any], *, retry: RetryPolicy, timeout: float) -> Iterator[Caller]:
    """A client with one slot, so that a slot that is lost is missed at once."""
    caller = code.client(api_key="sk-test", limits=Limits(1), retry=retry, timeout=timeout, **settings)
    try:
        yield caller
    finally:
        caller.close()


def ask(caller: Caller, asked: Ask, *, meanwhile: Callable[[], None] = lambda: None) -> list[Result]:
    """What comes of `asked`; it has to end."""
    call: Future[list[Result]] = caller.begin(asked)
    for _ in range(int(PATIENCE / 0.002)):
        if wait([call], 0.002).done:
            return call.result()
        meanwhile()
    raise AssertionError("the call does not end")


def meet(caller: Caller, here: World, row: Row, asked: Ask) -> list[Result]:
    """What comes of `asked` while the row's fault lasts and, when the row says so, time flies."""
    begun = here.reached(row.way)

    def passing() -> bool:
        if row.passing == "queued":
            return caller.limits.state.waiting > 0
        return row.passing == "always" or begun.is_set()

    def meanwhile() -> None:
        if row.later and passing():
            begun.clear()
            caller.pass_time(row.later)

    with row.fault(here):
        return ask(caller, asked, meanwhile=meanwhile)


def ending_of(result: Result) -> Ending:
    """What a user gets, as the table writes it."""
    if isinstance(result, ImagesResponse):
        return replace(IMAGE, attempts=result.attempts, maybe_billed=result.maybe_billed)
    if isinstance(result, Image):
        return IMAGE
    assert isinstance(result, APIError), repr(result)
    return Ending(type(result), result.billing, result.attempts, result.maybe_billed)


_numbers = count(1)


def assert_it_works(caller: Caller, operation: Operation, url: str) -> None:
    """An image is made without waiting for a slot, and the response is this call's own. So are links followed."""
    number = f"call-{next(_numbers)}"
    (result,) = ask(
        caller, lambda images: images.generate("a lake", queue_timeout=0, extra_headers={"x-request-id": number})
    )
    assert ending_of(result) == IMAGE
    assert isinstance(result, ImagesResponse)
    assert result.trace_id == number
    if operation.kind == "free":
        (fetched,) = ask(caller, lambda images: images.download(f"{url}/pictures/1.png", queue_timeout=0))
        assert isinstance(fetched, Image)
        assert fetched.data == PIXEL


def holdings(caller: Caller, service: FaultyService) -> tuple[Footprint, int]:
    """What the process holds, and how many connections the service has."""
    return caller.footprint(), service.open


# --- the matrix ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "row", "operation"),
    [pytest.param(*cell, id=f"{cell[0]}-{cell[2].name}-{cell[1].name}") for cell in _cells()],
)
def test_every_fault_ends_as_the_table_says(
    where: str,
    row: Row,
    operation: Operation,
    shells: Mapping[str, Shell],
    here: World,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service, settings = here.service(row.way), here.settings(row.way)
    url = settings["base_url"]
    with calling(shells[where], settings, retry=QUICK, timeout=row.timeout) as caller:
        assert_it_works(caller, operation, url)
        service.see_to_all()
        held, charged = holdings(caller, service), service.bill
        if operation.new:
            service.drop_idle()
        results = meet(caller, here, row, lambda images: operation.ask(images, url, LARGE if row.large else None))
        caller.pass_time(row.pause)
        assert_it_works(caller, operation, url)
        service.see_to_all()
        assert eventually(held, lambda: holdings(caller, service)) == held
        endings, bill = [ending_of(one) for one in results], service.bill - charged - 1
        assert bill <= sum(end.maybe_billed for end in endings)
        assert bill + 2 <= caller.usage.billed + caller.usage.maybe_billed
        assert_as_the_row_says(row, operation, endings, bill)
    service.await_none()
    assert {record.name for record in caplog.records} <= {"stepfun_async"}, caplog.text


def assert_as_the_row_says(row: Row, operation: Operation, endings: list[Ending], bill: int) -> None:
    expected, charged = (row.paid, row.charged) if operation.kind == "paid" else (row.free, 0)
    if expected is not None:
        assert endings == [expected] * operation.requests
        assert charged is None or bill == charged * operation.requests


LOSING = [row for row in ROWS if row.paid and row.paid.billing == "unknown" and not row.later]


@pytest.mark.parametrize("where", SHELLS)
@pytest.mark.parametrize("row", LOSING, ids=lambda row: row.name)
def test_an_error_after_retries_says_how_often_it_may_have_been_billed(
    where: str, row: Row, shells: Mapping[str, Shell], here: World
) -> None:
    assert row.paid is not None
    service = here.service(row.way)
    with calling(shells[where], here.settings(row.way), retry=STUBBORN, timeout=row.timeout) as caller:
        charged = service.bill
        results = meet(caller, here, row, lambda images: GENERATE.ask(images, "", LARGE if row.large else None))
        assert [ending_of(one) for one in results] == [replace(row.paid, attempts=3, maybe_billed=3)]
        assert caller.usage.maybe_billed == 3
    service.await_none()
    assert row.charged is None or service.bill - charged == 3 * row.charged


@pytest.mark.parametrize("where", SHELLS)
@pytest.mark.parametrize(
    ("play", "maybe_billed", "charged"),
    [
        pytest.param(unbilled(say_status("429 Too Many Requests", REFUSAL)), 1, 1, id="429"),
        pytest.param(unbilled(say_status(BUSY, REFUSAL)), 1, 1, id="503"),
        pytest.param(billed(say_status(BUSY, HTML)), 2, 2, id="503 of a gateway"),
        pytest.param(billed(say_status("408 Request Timeout", REFUSAL)), 2, 2, id="408"),
        pytest.param(unbilled(reset), 2, 1, id="lost, not made"),
        pytest.param(billed(reset), 2, 2, id="lost, made"),
        pytest.param(billed(say_cut(0.8), hang_up), 2, 2, id="cut"),
        pytest.param(billed(say_status("500 Internal Server Error")), 2, 2, id="500"),
        pytest.param(billed(say(http_response(HTML))), 2, 2, id="unreadable"),
    ],
)
def test_an_image_that_came_in_the_end_says_what_it_may_have_cost(
    play: Play, maybe_billed: int, charged: int, where: str, shells: Mapping[str, Shell], here: World
) -> None:
    before = here.plain.bill
    with (
        calling(shells[where], here.settings("plain"), retry=STUBBORN, timeout=600) as caller,
        here.plain.meeting(play, times=1),
    ):
        (result,) = ask(caller, lambda images: images.generate("a lake"))
        assert ending_of(result) == replace(IMAGE, attempts=2, maybe_billed=maybe_billed)
        assert (caller.usage.billed, caller.usage.maybe_billed) == (1, maybe_billed - 1)
    assert here.plain.bill - before == charged


@pytest.mark.parametrize("where", SHELLS)
@pytest.mark.parametrize(
    ("play", "cause"),
    [
        pytest.param(unbilled(reset), APIConnectionError, id="reset"),
        pytest.param(unbilled(say_cut(0.8), hang_up), APIConnectionError, id="cut"),
        pytest.param(unbilled(silence), APITimeoutError, id="silence"),
        pytest.param(unbilled(say_status("404 Not Found")), NotFoundError, id="404"),
        pytest.param(unbilled(say_status("500 Internal Server Error")), InternalServerError, id="500"),
        pytest.param(unbilled(say(http_response(HTML))), MalformedResponseError, id="a page"),
    ],
)
def test_a_paid_image_whose_link_fails_is_not_lost(
    play: Play, cause: type[Exception], where: str, shells: Mapping[str, Shell], here: World, tmp_path: Path
) -> None:
    before = here.plain.bill
    with calling(shells[where], here.settings("plain"), retry=QUICK, timeout=600) as caller:

        def meanwhile() -> None:
            if here.plain.reached.is_set():
                caller.pass_time(3600)

        with here.plain.meeting(play, after=1):
            save = {"response_format": "url", "save_to": tmp_path / "lake.png"}
            (result,) = ask(caller, lambda images: images.generate("a lake", **save), meanwhile=meanwhile)
        assert isinstance(result, SaveError)
        assert isinstance(result.__cause__, cause)
        assert (result.billing, result.attempts, result.maybe_billed) == ("executed", 1, 1)
        (fetched,) = ask(caller, lambda images: images.download(result.response.image))
        assert isinstance(fetched, Image)
        assert fetched.data == PIXEL
        assert (caller.usage.billed, caller.usage.maybe_billed) == (1, 0)
    assert here.plain.bill - before == 1
    assert list(tmp_path.iterdir()) == []
