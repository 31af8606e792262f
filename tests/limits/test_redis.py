"""Limits shared through Redis, on a real redis-server."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis.crc import key_slot

from stepfun_async import (
    APIConnectionError,
    AsyncClient,
    BadRequestError,
    Client,
    ConfigurationError,
    Limits,
    LimitsUnavailableError,
    QueueTimeoutError,
    RetryPolicy,
    StepFunError,
)
from stepfun_async import redis as module
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async._limits.backend import LimitsBackend
from stepfun_async._limits.rate import MARGIN
from stepfun_async.redis import RedisBackend
from tests.support.redis_server import RedisServer, redis_server
from tests.support.scripted import IMAGE, Respond, Scripted, refusal

PATIENCE = 60
"""Seconds after which another process is given up."""

SPAWN = multiprocessing.get_context("spawn")
LATEST = 60 + MARGIN + 0.2
"""The maximum seconds that a caller has to wait before it asks again for an entry."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as running:
        yield running


@pytest.fixture
def backend(server: RedisServer) -> LimitsBackend:
    return RedisBackend(server.url, name="images")


def ask(
    backend: LimitsBackend, slot: str | None = None, entry: str | None = None, *, most: int = 1, lease: float = 100.0
) -> float:
    """Ask for what is named, of which there are `most`."""
    return backend.acquire(slot=slot, entry=entry, max_concurrency=most, requests_per_minute=most, lease=lease)


# --- slots --------------------------------------------------------------------------------------


def test_there_are_as_many_slots_as_allowed(backend: LimitsBackend) -> None:
    assert [ask(backend, f"slot-{n}", most=3) for n in range(3)] == [0.0, 0.0, 0.0]
    assert 0 < ask(backend, "slot-3", most=3) < 0.5
    assert 0 < ask(backend, "slot-4", most=3) < 0.5
    assert ask(backend, "slot-4", most=4) == 0.0


def test_a_slot_that_is_released_is_free(backend: LimitsBackend) -> None:
    ask(backend, "a")
    assert ask(backend, "b") > 0
    backend.release(slot="a", entry=None)
    assert ask(backend, "b") == 0.0
    backend.release(slot="a", entry=None)
    assert ask(backend, "c") > 0, "what was released twice freed another's slot"


def test_a_slot_that_is_not_released_is_free_after_its_lease(server: RedisServer, backend: LimitsBackend) -> None:
    ask(backend, "a", lease=100)
    ask(backend, "b", lease=300, most=2)
    server.pass_time(90)
    assert ask(backend, "c", most=2) > 0
    server.pass_time(10)
    assert ask(backend, "c", most=2, lease=300) == 0.0
    assert ask(backend, "d", most=2) > 0


def hold_for_ever(url: str, holding: Event) -> None:
    ask(RedisBackend(url, name="images"), "held", lease=100)
    holding.set()
    threading.Event().wait()


def test_the_slot_of_a_killed_process_comes_back_after_its_lease(server: RedisServer, backend: LimitsBackend) -> None:
    holding = SPAWN.Event()
    holder = SPAWN.Process(target=hold_for_ever, args=(server.url, holding), daemon=True)
    holder.start()
    assert holding.wait(PATIENCE)
    holder.kill()
    holder.join()
    assert ask(backend, "next") > 0
    server.pass_time(100)
    assert ask(backend, "next") == 0.0


def test_a_call_without_a_deadline_loses_its_slot_in_the_end(server: RedisServer, backend: LimitsBackend) -> None:
    ask(backend, "a", lease=float("inf"))
    server.pass_time(23 * 60 * 60)
    assert ask(backend, "b") > 0
    server.pass_time(60 * 60)
    assert ask(backend, "b") == 0.0


# --- the minute ---------------------------------------------------------------------------------


def test_an_entry_is_free_a_minute_after_its_request_left(server: RedisServer, backend: LimitsBackend) -> None:
    ask(backend, entry="a")
    server.pass_time(30)
    backend.mark_sent("a", ago=0)
    assert 30 < ask(backend, entry="b") <= LATEST
    server.pass_time(40)
    assert 0 < ask(backend, entry="b") <= LATEST - 40
    server.pass_time(20 + MARGIN)
    assert ask(backend, entry="b") == 0.0


def test_a_little_is_added_to_the_minute(server: RedisServer, backend: LimitsBackend) -> None:
    """For what is slower on its way to StepFun than another."""
    ask(backend, entry="a")
    with server.inside() as connection:
        began = connection.time()
        backend.mark_sent("a", ago=0)
        wait = ask(backend, entry="b")
        ended = connection.time()
    passed = ended[0] - began[0] + (ended[1] - began[1]) / 1e6
    assert wait + passed >= 60 + MARGIN


def test_an_entry_is_held_until_its_request_leaves(server: RedisServer, backend: LimitsBackend) -> None:
    """Or a request that is slow to leave would go with those of the next minute."""
    ask(backend, entry="slow", lease=100)
    server.pass_time(90)
    assert ask(backend, entry="next") > 0
    backend.mark_sent("slow", ago=0)
    server.pass_time(50)
    assert ask(backend, entry="next") > 0
    server.pass_time(10 + MARGIN)
    assert ask(backend, entry="next") == 0.0


def test_the_minute_begins_when_the_request_left_however_late_that_is_said(
    server: RedisServer, backend: LimitsBackend
) -> None:
    ask(backend, entry="a", most=2)
    ask(backend, entry="b", most=2)
    backend.mark_sent("a", ago=40)
    backend.mark_sent("b", ago=100)
    assert 0 < ask(backend, entry="c", most=1) <= LATEST - 40
    server.pass_time(20 + MARGIN)
    assert ask(backend, entry="c", most=1) == 0.0


def test_a_request_of_which_nothing_is_heard_counts_as_sent_when_its_lease_ends(
    server: RedisServer, backend: LimitsBackend
) -> None:
    ask(backend, entry="lost", lease=100)
    server.pass_time(150)
    assert ask(backend, entry="next") > 0
    server.pass_time(10 + MARGIN)
    assert ask(backend, entry="next") == 0.0


def test_an_entry_whose_request_never_left_is_free_when_released(backend: LimitsBackend) -> None:
    ask(backend, entry="a")
    assert 0 < ask(backend, entry="b") <= 1.2, "it may be released at any moment, so asking again soon may help"
    backend.release(slot=None, entry="a")
    assert ask(backend, entry="b") == 0.0


def test_the_wait_is_for_the_entry_that_will_be_free_for_the_one_who_asks(
    server: RedisServer, backend: LimitsBackend
) -> None:
    for entry in ("a", "b", "c"):
        ask(backend, entry=entry, most=3)
        backend.mark_sent(entry, ago=0)
        server.pass_time(10)
    assert 0 < ask(backend, entry="d", most=3) <= LATEST - 30
    assert LATEST - 30 < ask(backend, entry="d", most=2) <= LATEST - 20
    assert LATEST - 20 < ask(backend, entry="d", most=1) <= LATEST - 10


def test_without_a_limit_on_the_minute_no_entry_is_taken(backend: LimitsBackend) -> None:
    for n in range(3):
        slot, entry = f"slot-{n}", f"entry-{n}"
        assert backend.acquire(slot=slot, entry=entry, max_concurrency=3, requests_per_minute=None, lease=9) == 0.0
    assert ask(backend, entry="first") == 0.0


# --- both ---------------------------------------------------------------------------------------


def test_slot_and_entry_are_taken_together_or_not_at_all(backend: LimitsBackend) -> None:
    assert ask(backend, "slot", "entry") == 0.0
    backend.release(slot=None, entry="entry")
    assert ask(backend, "other-slot", "other-entry") > 0, "no slot"
    assert ask(backend, entry="third-entry") == 0.0, "an entry was taken without its slot"
    backend.release(slot="slot", entry=None)
    assert ask(backend, "other-slot", "other-entry") > 0, "no entry"
    assert ask(backend, "third-slot") == 0.0, "a slot was taken without its entry"


def test_a_call_that_lacks_both_waits_for_the_later(backend: LimitsBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(backend, "slot", "entry")
    backend.mark_sent("entry", ago=0)
    assert 0 < ask(backend, "other-slot") < 0.5
    assert 30 < ask(backend, "other-slot", "other-entry") <= LATEST
    monkeypatch.setattr(module, "_POLL", 100.0)
    assert ask(backend, "other-slot", "other-entry") >= 100


def test_acquiring_again_under_the_same_id_acquires_once(backend: LimitsBackend) -> None:
    """As happens when a response of Redis is lost and the question is put again."""
    assert [ask(backend, "slot", "entry") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert ask(backend, "other-slot", "other-entry", most=2) == 0.0
    assert ask(backend, "third-slot", most=2) > 0
    assert ask(backend, entry="third-entry", most=2) > 0


def test_waits_differ_so_that_not_all_ask_at_once(backend: LimitsBackend) -> None:
    ask(backend, "a")
    assert len({ask(backend, "b") for _ in range(10)}) == 10


def test_the_same_name_shares_and_another_does_not(server: RedisServer, backend: LimitsBackend) -> None:
    ask(backend, "a", "a")
    assert ask(RedisBackend(server.url, name="images"), "b", "b") > 0
    assert ask(RedisBackend(server.url, name="others"), "b", "b") == 0.0


def test_nothing_is_left_in_redis_for_ever(server: RedisServer, backend: LimitsBackend) -> None:
    ask(backend, "short", "entry", most=3, lease=10)
    ask(backend, "long", "slow", most=3, lease=1000)
    ask(backend, "last", "quick", most=3, lease=100)
    backend.mark_sent("quick", ago=0)
    with server.inside() as connection:
        keys = connection.keys()
        assert len(keys) == 2
        for key in keys:
            ((_, last),) = connection.zrange(key, -1, -1, withscores=True)
            assert 0 <= connection.pexpiretime(key) * 1000 - last < 1000, "the key ends with what ends last in it"
    backend.release(slot="long", entry="slow")
    server.pass_time(1000)
    ask(backend, "new", "new", lease=1)
    with server.inside() as connection:
        assert [connection.zrange(key, 0, -1) for key in keys] == [["new"], ["new"]]


def test_all_keys_of_a_name_lie_in_one_slot_of_a_cluster(server: RedisServer, backend: LimitsBackend) -> None:
    ask(backend, "slot", "entry")
    with server.inside() as connection:
        keys = connection.keys()
    assert len(keys) == 2
    assert len({key_slot(key.encode()) for key in keys}) == 1


# --- processes and threads ----------------------------------------------------------------------

SLOTS = 3
CALLS = SLOTS * 20


class Flight:
    """What is in flight in all processes, counted apart from Redis."""

    def __init__(self) -> None:
        self.together: Barrier = SPAWN.Barrier(SLOTS)
        self.left = SPAWN.Value("i", CALLS)
        self.now = SPAWN.Value("i", 0)
        self.peak = SPAWN.Value("i", 0)

    def next_call(self) -> bool:
        with self.left:
            self.left.value -= 1
            return bool(self.left.value >= 0)

    def begin(self) -> None:
        with self.now:
            self.now.value += 1
            self.peak.value = max(self.peak.value, self.now.value)

    def end(self) -> None:
        with self.now:
            self.now.value -= 1


def call(backend: LimitsBackend, flight: Flight, slot: str) -> None:
    """Calls, each of which ends only when `SLOTS` of them are in flight."""
    while flight.next_call():
        while ask(backend, slot, most=SLOTS, lease=PATIENCE):
            pass
        flight.begin()
        flight.together.wait(PATIENCE)
        flight.end()
        backend.release(slot=slot, entry=None)


def call_from_threads(url: str, flight: Flight, process: str) -> None:
    backend = RedisBackend(url, name="images")
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(call, backend, flight, f"{process}-{thread}") for thread in range(2)]:
            done.result()


def test_several_processes_never_have_more_in_flight_than_allowed(server: RedisServer) -> None:
    flight = Flight()
    arguments = [(server.url, flight, str(number)) for number in range(3)]
    processes = [SPAWN.Process(target=call_from_threads, args=given, daemon=True) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert flight.peak.value == SLOTS


PER_WINDOW = 4
WINDOW = 0.2


def send_much(url: str, process: str) -> list[float]:
    """The moments at which requests left, by this machine's clock, which all its processes share."""
    module._MINUTE, module._SPREAD = WINDOW + 0.05, 0.01
    backend = RedisBackend(url, name="images")
    left: list[float] = []
    for number in range(PER_WINDOW * 2):
        entry = f"{process}-{number}"
        while wait := ask(backend, entry=entry, most=PER_WINDOW, lease=PATIENCE):
            time.sleep(wait)  # Redis has a clock of its own, and means what it says
        left.append(time.monotonic())
        backend.mark_sent(entry, ago=0)
    return left


def test_several_processes_never_send_more_in_any_window_than_allowed(server: RedisServer) -> None:
    with SPAWN.Pool(3) as pool:
        moments = sorted(chain(*pool.starmap(send_much, [(server.url, str(n)) for n in range(3)])))
        pool.close()
        pool.join()
    assert len(moments) == PER_WINDOW * 2 * 3
    windows = zip(moments, moments[PER_WINDOW:], strict=False)
    assert [late - early for early, late in windows if late - early < WINDOW] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_children_and_their_parent_all_go_on(backend: LimitsBackend) -> None:
    """Also when the fork comes while other threads are asking."""
    over = threading.Event()

    def keep_asking(slot: str) -> int:
        turns = 0
        while not over.is_set():
            assert ask(backend, slot, most=100) == 0.0
            turns += 1
        return turns

    with ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(keep_asking, f"parent-{n}") for n in range(3)]
        try:
            for number in range(10):
                assert ask(backend, "parent", most=100) == 0.0
                child = os.fork()
                if child == 0:  # another process
                    code = 1
                    try:
                        code = 0 if ask(backend, f"child-{number}", most=100) == 0.0 else 2
                    finally:
                        os._exit(code)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            over.set()
        assert all(done.result() for done in asking)
    assert ask(backend, "one-more", most=14) > 0, "4 of the parent and 10 of its children are held"
    assert ask(backend, "one-more", most=15) == 0.0


def test_a_backend_pickles_with_its_arguments(server: RedisServer, backend: LimitsBackend) -> None:
    twin = pickle.loads(pickle.dumps(backend))
    assert repr(twin) == repr(backend) == f"RedisBackend('{server.url}', name='images')"
    ask(backend, "a")
    assert ask(twin, "b") > 0
    backend.release(slot="a", entry=None)
    assert ask(twin, "b") == 0.0


# --- when Redis is gone -------------------------------------------------------------------------


def test_nothing_is_granted_while_redis_is_gone_and_all_goes_on_when_it_is_back(
    server: RedisServer, backend: LimitsBackend
) -> None:
    assert ask(backend, "a", "a") == 0.0
    server.stop()
    with pytest.raises(LimitsUnavailableError) as caught:
        ask(backend, "b", "b")
    said = f"the shared limits at {server.url} are unavailable: "
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith("; nothing was sent")
    assert (caught.value.billing, caught.value.attempts) == ("not_sent", 0)
    for tell in (partial(backend.mark_sent, "a", ago=0), partial(backend.release, slot="a", entry=None)):
        with pytest.raises(LimitsUnavailableError, match=r"Connection refused$"):
            tell()
    server.start()
    assert ask(backend, "c", "c") == 0.0


def test_a_redis_that_hangs_is_not_waited_for_long(server: RedisServer, backend: LimitsBackend) -> None:
    impatient = RedisBackend(f"{server.url}?socket_timeout=0.05", name="images")
    ask(backend, "a", "a", most=2)
    with server.frozen(), pytest.raises(LimitsUnavailableError, match="Timeout reading from socket"):
        ask(impatient, "b", "b", most=2)
    assert ask(backend, "c", "c", most=3) == 0.0


def test_more_threads_than_connections_wait_for_their_turn(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CONNECTIONS", 2)
    backend = RedisBackend(server.url, name="images")
    with ThreadPoolExecutor(20) as threads:
        waits = list(threads.map(lambda n: ask(backend, f"slot-{n}", most=200), range(200)))
    assert waits == [0.0] * 200
    with server.inside() as connection:
        assert len(connection.client_list()) <= 2 + 1


def test_the_scripts_survive_being_forgotten_by_redis(server: RedisServer, backend: LimitsBackend) -> None:
    ask(backend, "a", "a", most=2)
    for step in (partial(backend.mark_sent, "a", ago=0), partial(backend.release, slot="a", entry=None)):
        with server.inside() as connection:
            connection.script_flush()
        step()
    with server.inside() as connection:
        connection.script_flush()
    assert ask(backend, "b", "b") > 30, "the entry of a was sent"
    assert ask(backend, "b") == 0.0, "the slot of a was released"


@pytest.fixture
def locked(server: RedisServer) -> str:
    """The URL, with a wrong password, of a Redis that has another."""
    with server.inside() as connection:
        connection.config_set("requirepass", "barley")
    return server.url.replace("//", "//:sesame@")


def test_passwords_are_not_shown(locked: str) -> None:
    backend = RedisBackend(locked, name="images")
    with pytest.raises(LimitsUnavailableError, match="invalid username-password pair") as caught:
        ask(backend, "a")
    shown = "".join(traceback.format_exception(caught.value)) + repr(backend) + str(backend)
    assert "sesame" not in shown
    assert "127.0.0.1" in repr(backend)
    assert ask(RedisBackend(locked.replace("sesame", "barley"), name="images"), "a") == 0.0


def test_a_password_in_the_query_is_not_shown_either() -> None:
    url = "redis://127.0.0.1:6379/0?password=sesame"
    assert repr(RedisBackend(url, name="images")) == "RedisBackend('redis://127.0.0.1:6379/0', name='images')"


@contextmanager
def answering(*responses: bytes) -> Iterator[int]:
    """The port of a server as old as Redis 5, whose scripts return this, once on each connection; b"" hangs up."""
    opened: list[socket.socket] = []

    def serve() -> None:
        for response in responses:
            opened.append(listener.accept()[0])
            with opened[-1] as connection:
                while (asked := connection.recv(65536)) and (said := respond(asked, response)):
                    connection.sendall(said)

    def respond(asked: bytes, response: bytes) -> bytes:
        if b"HELLO" in asked:
            return b"-ERR unknown command, with args beginning with: " + asked.replace(b"\r\n", b" ") + b"\r\n"
        return response if b"EVALSHA" in asked else b"+OK\r\n"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            opened[-1].shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"-MOVED 12182 10.0.0.1:6379\r\n", "it is one node of a cluster"),
        (b"-READONLY You can't write against a read only replica.\r\n", "You can't write against a read only replica;"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "used memory > 'maxmemory';"),
    ],
)
def test_a_redis_that_cannot_serve_is_said_so(response: bytes, reason: str) -> None:
    with answering(response) as port, pytest.raises(LimitsUnavailableError) as caught:
        ask(RedisBackend(f"redis://127.0.0.1:{port}", name="images"), "a")
    assert reason in str(caught.value)


def test_an_old_redis_is_not_given_the_password_to_repeat() -> None:
    with answering(b":0\r\n") as port:
        assert ask(RedisBackend(f"redis://:sesame@127.0.0.1:{port}", name="images"), "a") == 0.0


def test_a_connection_that_turns_out_to_be_gone_is_replaced_once() -> None:
    with answering(b"", b":0\r\n") as port:
        assert ask(RedisBackend(f"redis://127.0.0.1:{port}", name="images"), "a") == 0.0


@pytest.mark.parametrize("entry", ["redis://stepfun.invalid", "redis://a..b", "unix:///nowhere/redis.sock"])
def test_a_redis_that_is_not_there_is_named(entry: str) -> None:
    with pytest.raises(LimitsUnavailableError, match=entry):
        ask(RedisBackend(entry, name="images"), "a")


# --- in clients ---------------------------------------------------------------------------------


def client_of(respond: Respond, backend: LimitsBackend, **more: Any) -> AsyncClient:
    """A client as each process has one: with limits of its own, which only Redis joins."""
    limits = Limits(max_concurrency=1, requests_per_minute=5, backend=backend)
    return AsyncClient(
        "sk-test", base_url="https://stepfun.test/v1", transport=Scripted(respond), limits=limits, **more
    )


def held(server: RedisServer) -> dict[str, int]:
    """How many slots and entries are held."""
    with server.inside() as connection:
        return {key.rpartition(":")[2]: connection.zcard(key) for key in connection.scan_iter()}


def assert_held(server: RedisServer, expected: Mapping[str, int]) -> None:
    """Redis holds what is expected, at the latest when a thread in the background has sent it."""
    until = time.monotonic() + 20
    while held(server) != expected and time.monotonic() < until:
        pass
    assert held(server) == expected


@pytest.mark.anyio
async def test_clients_of_several_processes_wait_for_each_other(server: RedisServer, backend: LimitsBackend) -> None:
    began, end = anyio.Event(), anyio.Event()

    async def slow(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        began.set()
        await end.wait()
        return IMAGE

    async def quick(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        return IMAGE

    async with client_of(slow, backend) as one, client_of(quick, backend) as other, anyio.create_task_group() as tasks:
        tasks.start_soon(one.images.generate, "a lake")
        await began.wait()
        with pytest.raises(QueueTimeoutError, match="nothing was sent"):
            await other.images.generate("a lake", queue_timeout=0.2)
        assert held(server) == {"slots": 1, "entries": 1}
        end.set()
        assert (await other.images.generate("a lake")).image.width == 1
    assert_held(server, {"entries": 2})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("response", "kind", "entries"),
    [
        (refusal(400), BadRequestError, 1),
        (APIConnectionError("cut off", billing="unknown"), APIConnectionError, 1),
        (APIConnectionError("no way there", billing="not_sent"), APIConnectionError, 0),
    ],
)
async def test_nothing_but_what_was_sent_stays_in_redis(
    server: RedisServer,
    backend: LimitsBackend,
    response: HTTPResponse | StepFunError,
    kind: type[StepFunError],
    entries: int,
) -> None:
    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        if isinstance(response, StepFunError):
            raise response
        return response

    async with client_of(respond, backend, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(kind):
            await client.images.generate("a lake")
    assert_held(server, {"entries": entries} if entries else {})


@pytest.mark.anyio
async def test_a_request_counts_from_when_it_left(server: RedisServer, backend: LimitsBackend) -> None:
    def ends() -> float:
        """Seconds until the entry that is held is free."""
        with server.inside() as connection:
            seconds, micro = connection.time()
            ((_, moment),) = connection.zrange("stepfun-async:{images}:entries", 0, -1, withscores=True)
        return float(moment / 1e6 - seconds - micro / 1e6)

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        assert ends() > 60 + MARGIN, "as long as it has not left, its minute does not end"
        progress.mark_sent()
        assert progress.sent_at is not None
        progress.sent_at -= 30
        return IMAGE

    async with client_of(respond, backend) as client:
        await client.images.generate("a lake")
    assert 0 < ends() <= 30 + MARGIN


@pytest.mark.anyio
async def test_a_cancelled_call_leaves_no_slot_in_redis(server: RedisServer, backend: LimitsBackend) -> None:
    async with anyio.create_task_group() as tasks:

        async def cancel(call: HTTPRequest, progress: SendState) -> HTTPResponse:
            tasks.cancel_scope.cancel()
            await anyio.sleep_forever()
            raise AssertionError

        async with client_of(cancel, backend) as client:
            await client.images.generate("a lake")
    assert "slots" not in held(server)


@pytest.mark.anyio
async def test_no_client_sends_while_redis_is_gone(server: RedisServer, backend: LimitsBackend) -> None:
    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        raise AssertionError("it was sent")

    server.stop()
    async with client_of(respond, backend) as client:
        with pytest.raises(LimitsUnavailableError, match="nothing was sent") as caught:
            await client.images.generate("a lake")
    assert (caught.value.billing, caught.value.attempts) == ("not_sent", 0)
    assert client.usage.maybe_billed == 0


def test_the_sync_client_shares_too(server: RedisServer, backend: LimitsBackend) -> None:
    limits = Limits(max_concurrency=2, backend=backend)
    with Client(base_url="embedded", limits=limits) as client:
        client.images.generate("a lake", model="step-2x-large", size="256x256")
        assert_held(server, {})
        ask(backend, "other", most=2)
        ask(backend, "another", most=2)
        with pytest.raises(QueueTimeoutError):
            client.images.generate("a lake", model="step-2x-large", size="256x256", queue_timeout=0.2)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis://10.0.0.7",
        "redis://10.0.0.7:6379/",
        "rediss://redis.example:6379/3",
        "redis://[::1]:6379/0",
        "unix:///run/redis/redis.sock",
    ],
)
def test_urls_are_shown_without_what_is_secret(url: str) -> None:
    scheme, entry = url.split("//")
    for given in (url, f"{scheme}//user:ses%40me@{entry}", f"{scheme}//:ses@me@{entry}?socket_timeout=5"):
        assert repr(RedisBackend(given, name="images")) == f"RedisBackend('{url}', name='images')"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "10.0.0.7:6379",
        "http://10.0.0.7",
        "redis://",
        "redis:///0",
        "redis://:sesame@",
        "redis://10.0.0.7:0",
        "redis://10.0.0.7:port",
        "redis://10.0.0.7/zero",
        "redis://:ses/ame@10.0.0.7/0",
        "redis://user:1#sesame@10.0.0.7",
        "redis://user:1?sesame@10.0.0.7",
        "redis://user:1/sesame@10.0.0.7",
        "unix://run/redis.sock",
        "unix://:ses/ame@/run/redis.sock",
        None,
        6379,
    ],
)
def test_what_is_no_url_is_refused_without_showing_it(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="write redis://user:password@host:6379/0") as caught:
        RedisBackend(url, name="images")
    assert "ame" not in "".join(traceback.format_exception_only(caught.value)).replace("name", "")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redis://:sesame@10.0.0.7:99999", "Port out of range"),
        ("redis://:sesame@10.0.0.7?socket_timeout=long", "Invalid value for 'socket_timeout'"),
        ("redis://:sesame@10.0.0.7?colour=red", "unexpected keyword argument 'colour'"),
    ],
)
def test_wrong_settings_in_the_url_are_named(url: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong) as caught:
        RedisBackend(url, name="images")
    assert "the URL of redis://10.0.0.7" in str(caught.value)
    assert "sesame" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["", "two words", "{images}", None, 7])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name must be a string without spaces and braces"):
        RedisBackend("redis://10.0.0.7", name=name)


def test_a_missing_package_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r'pip install "stepfun-async\[redis\]"'):
        RedisBackend("redis://10.0.0.7", name="images")
