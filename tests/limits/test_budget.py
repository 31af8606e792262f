"""Money: reserved before sending, spent when an image arrives, released or held otherwise, never exceeded."""

from __future__ import annotations

import copy
import decimal
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import anyio
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from stepfun_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncClient,
    Budget,
    BudgetExceededError,
    Client,
    ConfigurationError,
    Failed,
    Finished,
    InternalServerError,
    InvalidRequestError,
    Limits,
    Money,
    RetryPolicy,
    StepFunError,
    TextToImage,
)
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async._limits.budget import Reservation
from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario
from stepfun_async.testing import run
from stepfun_async.testing.virtual import Backend
from tests.support.scripted import IMAGE, Scripted, refusal

INTERNATIONAL: Final = "https://api.stepfun.ai/v1"
LARGE: Final = "step-2x-large"
PRICE = Decimal("0.02")

pytestmark = pytest.mark.filterwarnings("ignore::stepfun_async.ModelRetiredWarning")


def answering(*responses: HTTPResponse | Exception) -> Scripted:
    """A transport that answers with each in turn, the last one for ever."""
    left = list(responses)

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        progress.mark_sent()
        response = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(response, Exception):
            raise response
        return response

    return Scripted(respond)


def client_of(budget: Budget, *responses: HTTPResponse | Exception, **more: Any) -> AsyncClient:
    options: dict[str, Any] = {"base_url": INTERNATIONAL, "retry": RetryPolicy(base=0, connect_base=0), **more}
    return AsyncClient("sk-test", transport=answering(*responses), budget=budget, **options)


def sums(budget: Budget) -> tuple[object, object]:
    return budget.spent, budget.held


# --- the value


@pytest.mark.parametrize("limit", [-1, "much", float("nan"), float("inf"), None, True, "1,5"])
def test_a_limit_is_a_sum_of_money(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit is a sum of money, 0 or more"):
        Budget(limit)
    with pytest.raises(ConfigurationError, match=r"prices\['a'\] is a sum of money"):
        Budget(1, prices={"a": limit})


@pytest.mark.parametrize("currency", ["usd", "US", "DOLLAR", "", None, 5, "€€€"])
def test_a_currency_is_three_capital_letters(currency: Any) -> None:
    with pytest.raises(ConfigurationError, match="currency is three capital letters"):
        Budget(1, currency)


@pytest.mark.parametrize("limit", [0.1, "0.1", Decimal("0.1")])
def test_sums_are_exact(limit: Any) -> None:
    assert Budget(limit).limit == Decimal("0.1")
    assert repr(Budget(limit, "CNY")) == "<Budget limit=0.1 CNY, spent=0, held=0>"


@pytest.mark.parametrize(
    "context",
    [decimal.Context(prec=2), decimal.Context(prec=3, traps=[decimal.Inexact]), decimal.Context(Emax=0, Emin=0)],
    ids=["few digits", "trap of all that is inexact", "no exponents"],
)
def test_a_limit_holds_in_whatever_decimal_context_the_caller_has(context: decimal.Context) -> None:
    engine = Engine(plain=True)
    budget = Budget("0.300")
    with Client(base_url="embedded", transport=EmbeddedTransport(engine), budget=budget) as client:
        with decimal.localcontext(context):
            for _ in range(100):
                client.images.generate("a lake")
            with pytest.raises(BudgetExceededError):
                client.images.generate("a lake")
        assert client.usage.spent == {"USD": Decimal("0.300")}
    assert (engine.bill().images, str(engine.bill().amount())) == (100, "0.300")
    assert (str(budget.spent), str(budget.left)) == ("0.300", "0.000")


@pytest.mark.parametrize("limit", ["1e30", "1e-31", Decimal("1e9999"), 10**6000], ids=range(4))
def test_a_limit_has_no_more_digits_than_can_be_added_up_exactly(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit is a sum of money"):
        Budget(limit)


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, pickle.dumps])
def test_there_is_no_copy_that_could_be_spent_too(twin: Any) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        twin(Budget(1))


def test_clients_refuse_what_is_no_budget() -> None:
    with pytest.raises(ConfigurationError, match=r"budget is a Budget\(...\) or None, not 5"):
        AsyncClient(base_url="embedded", budget=5)  # type: ignore[arg-type]


# --- what each end of a call does to it

LOST = APIConnectionError("lost", billing="unknown")
NOT_SENT = APIConnectionError("no connection", billing="not_sent")
FILTERED = HTTPResponse(200, {}, b'{"data": [{"seed": 1, "finish_reason": "content_filtered"}]}')
BROKEN = HTTPResponse(200, {}, b'{"data": [')


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "amount", "model"),
    [
        ({"extra_body": {"n": 3}}, "0.009", "step-image-edit-2"),
        ({"extra_body": {"n": "3"}}, "0.009", "step-image-edit-2"),
        ({"extra_body": {"model": LARGE}}, "0.02", LARGE),
        ({"extra_body": {"model": LARGE, "n": 2}}, "0.04", LARGE),
        ({"n": 3.0}, "0.009", "step-image-edit-2"),
        ({"n": "3"}, "0.009", "step-image-edit-2"),
    ],
)
async def test_what_is_reserved_is_the_price_of_what_is_sent(options: Any, amount: str, model: str) -> None:
    seen: list[Decimal] = []

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        seen.append(budget.held)
        return IMAGE

    budget = Budget("0.04")
    client = AsyncClient(
        "sk-test", base_url=INTERNATIONAL, transport=Scripted(respond), budget=budget, validation="off"
    )
    async with client:
        response = await client.images.generate("a lake", **options)
        with pytest.raises(BudgetExceededError):
            await client.images.generate("a lake", extra_body={"model": LARGE, "n": 3})
    assert seen == [Decimal(amount)]
    assert (response.model, list(client.usage.by_model)) == (model, [model])


@pytest.mark.anyio
async def test_a_request_for_an_unknown_number_of_images_is_refused_while_there_is_a_budget() -> None:
    options: dict[str, Any] = {"extra_body": {"n": "as many as you can"}}
    async with client_of(Budget(1), IMAGE) as client:
        with pytest.raises(InvalidRequestError, match="does not say how many images will be charged"):
            await client.images.generate("a lake", **options)
        assert client.usage.requests == 0
    async with AsyncClient("sk-test", base_url=INTERNATIONAL, transport=answering(IMAGE)) as client:
        await client.images.generate("a lake", **options)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("response", "spent", "held"),
    [
        (IMAGE, PRICE, 0),
        (FILTERED, PRICE, 0),
        (refusal(400), 0, 0),
        (refusal(429), 0, 0),
        (refusal(451), 0, 0),
        (refusal(500), 0, PRICE),
        (refusal(504), 0, PRICE),
        (BROKEN, 0, PRICE),
        (LOST, 0, PRICE),
        (NOT_SENT, 0, 0),
        (ZeroDivisionError("a defect"), 0, PRICE),
    ],
)
async def test_what_is_spent_held_and_released(response: Any, spent: Decimal, held: Decimal) -> None:
    budget = Budget(1)
    async with client_of(budget, response, retry=RetryPolicy(max_attempts=1)) as client:
        with suppress(StepFunError, ZeroDivisionError):
            await client.images.generate("a lake", model=LARGE)
    assert sums(budget) == (spent, held)
    assert budget.left == 1 - spent - held


@pytest.mark.anyio
async def test_a_call_that_is_cancelled_in_flight_stays_held_and_one_that_waits_does_not() -> None:
    budget = Budget(1)

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        progress.mark_sent()
        await anyio.sleep_forever()
        return IMAGE

    client = AsyncClient("k-test", base_url=INTERNATIONAL, transport=Scripted(respond), budget=budget, limits=Limits(1))
    async with client, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(client.images.generate, "a lake")
        await anyio.wait_all_tasks_blocked()
        assert sums(budget) == (0, Decimal("0.009"))
        group.cancel_scope.cancel()
    assert sums(budget) == (0, Decimal("0.003"))
    assert client.usage.maybe_billed == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_deadline_that_passes_leaves_the_price_held(backend: Backend) -> None:
    budget = Budget(1)
    engine = Engine(scenario=Scenario("hang"))

    async def main() -> None:
        async with AsyncClient(base_url="embedded", transport=EmbeddedTransport(engine), budget=budget) as client:
            with pytest.raises(APITimeoutError):
                await client.images.generate("a lake", timeout=0.3)

    run(main, backend=backend)
    assert sums(budget) == (0, Decimal("0.003"))


@pytest.mark.anyio
async def test_each_attempt_that_may_have_been_billed_is_held_besides() -> None:
    budget = Budget(1)
    async with client_of(budget, refusal(500), LOST, IMAGE, retry=RetryPolicy(retry_unknown=True, base=0)) as client:
        response = await client.images.generate("a lake", model=LARGE)
    assert (response.attempts, response.maybe_billed) == (3, 3)
    assert sums(budget) == (PRICE, 2 * PRICE)


@pytest.mark.anyio
async def test_paying_twice_is_not_tried_where_the_budget_has_no_room_for_it() -> None:
    budget = Budget("0.03")
    async with client_of(budget, refusal(500), IMAGE, retry=RetryPolicy(retry_unknown=True, base=0)) as client:
        with pytest.raises(InternalServerError, match="the budget has no room for paying twice") as caught:
            await client.images.generate("a lake", model=LARGE)
    assert caught.value.attempts == 1
    assert sums(budget) == (0, PRICE)


@pytest.mark.anyio
async def test_what_does_not_fit_is_refused_before_anything_is_sent() -> None:
    budget = Budget("0.03")
    async with client_of(budget, IMAGE) as client:
        await client.images.generate("a lake", model=LARGE)
        with pytest.raises(
            BudgetExceededError, match=r"no room for 0\.02 USD: limit 0\.03, spent 0\.02, held 0"
        ) as caught:
            await client.images.generate("a lake", model=LARGE)
        error = caught.value
        await client.images.generate("a cheaper one")
        assert client.usage.requests == 2
    assert (error.price, error.limit, error.spent) == (Money(PRICE, "USD"), Decimal("0.03"), PRICE)
    assert not error.held
    assert (error.billing, error.attempts, error.maybe_billed) == ("not_sent", 0, 0)
    assert budget.left == Decimal("0.007")


@pytest.mark.anyio
async def test_the_currency_is_that_of_the_region() -> None:
    china = "https://api.stepfun.com/v1"
    budget = Budget(1, "CNY")
    async with client_of(budget, IMAGE, base_url=china) as client:
        await client.images.generate("a lake", model=LARGE)
    assert budget.spent == Decimal("0.1")
    async with client_of(Budget(1, "USD"), IMAGE, base_url=china) as client:
        with pytest.raises(ConfigurationError, match=r"step-2x-large costs 0\.1 CNY, and the budget is in USD"):
            await client.images.generate("a lake", model=LARGE)
        assert client.usage.requests == 0


@pytest.mark.parametrize("price", [None, Money(Decimal(1), "CNY")])
def test_a_model_is_shown_without_its_line_breaks_and_controls(price: Money | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Budget(1).reserve("a\nb\x1b[2J", price, 1)
    assert r"a\nb\u001b[2J" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.anyio
@pytest.mark.parametrize("base_url", ["https://reseller.test/v1", "https://api.stepfun.ai/step_plan/v1"])
async def test_a_price_that_is_not_known_has_to_be_given(base_url: str) -> None:
    async with client_of(Budget(1), IMAGE, base_url=base_url) as client:
        with pytest.raises(ConfigurationError, match="no price is known for step-image-edit-2"):
            await client.images.generate("a lake")
        assert client.usage.requests == 0
    budget = Budget(1, prices={"step-image-edit-2": "0.005"})
    async with client_of(budget, IMAGE, base_url=base_url) as client:
        await client.images.generate("a lake")
        assert client.usage.spent == {"USD": Decimal("0.005")}
    assert budget.spent == Decimal("0.005")


@pytest.mark.anyio
async def test_lists_of_models_and_downloads_cost_nothing() -> None:
    budget = Budget(0)
    async with AsyncClient(base_url="embedded", budget=budget) as client:
        await client.models.list()
        await client.account.retrieve()
    assert sums(budget) == (0, 0)


# --- many at once


@pytest.mark.anyio
async def test_no_number_of_calls_at_once_goes_beyond_the_limit() -> None:
    """The same calls past a cap that is only checked against what was spent would all go through."""
    budget = Budget("0.10")
    outcomes: list[str] = []

    async def one(client: AsyncClient) -> None:
        try:
            await client.images.generate("a lake", model=LARGE)
            outcomes.append("made")
        except BudgetExceededError:
            outcomes.append("refused")

    async with client_of(budget, IMAGE, limits=Limits(50)) as client, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(one, client)
    assert (outcomes.count("made"), outcomes.count("refused")) == (5, 45)
    assert sums(budget) == (Decimal("0.10"), 0)


@pytest.mark.anyio
async def test_a_fan_out_goes_on_to_the_limit_and_tells_what_was_refused() -> None:
    budget = Budget("0.10")
    async with client_of(budget, IMAGE, limits=Limits(3)) as client:
        requests = [TextToImage(prompt="a lake", model=LARGE) for _ in range(12)]
        outcomes = [outcome async for outcome in client.images.map(requests)]
    assert sum(isinstance(outcome, Finished) for outcome in outcomes) == 5
    failed = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
    assert [type(error) for error in failed] == [BudgetExceededError] * 7


def test_threads_of_several_sync_clients_stay_within_one_budget() -> None:
    budget = Budget("0.50")
    clients = [
        Client("sk-test", base_url=INTERNATIONAL, transport=answering(IMAGE), budget=budget, limits=Limits(8))
        for _ in range(2)
    ]

    def one(number: int) -> bool:
        try:
            clients[number % 2].images.generate("a lake", model=LARGE)
        except BudgetExceededError:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        made = sum(pool.map(one, range(100)))
    assert made == 25
    assert sums(budget) == (Decimal("0.50"), 0)
    assert [client.budget for client in clients] == [budget, budget]
    for client in clients:
        client.close()


class Money_(RuleBasedStateMachine):  # noqa: N801 - `Money` is the amount
    """Calls that begin and end in any way, in any order."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(10)
        self.open: dict[int, Decimal] = {}
        self.kept = Decimal(0)
        self.spent = Decimal(0)

    @rule(target=reservations, price=st.integers(0, 6), images=st.integers(1, 2))
    def one_begins(self, price: int, images: int) -> tuple[Reservation | None, Decimal, int]:
        amount = Decimal(price)
        try:
            reservation = self.budget.reserve("a", Money(amount, "USD"), images)
        except BudgetExceededError:
            assert self.spent + self.kept + sum(self.open.values()) + amount * images > 10
            return None, amount, images
        self.open[id(reservation)] = amount * images
        return reservation, amount, images

    @rule(case=reservations)
    def one_is_retried_after_a_lost_response(self, case: tuple[Reservation | None, Decimal, int]) -> None:
        reservation, amount, images = case
        if reservation is None or id(reservation) not in self.open:
            return
        try:
            reservation.add_attempt()
        except BudgetExceededError:
            return
        self.open[id(reservation)] += amount * images

    @rule(case=consumes(reservations), answered=st.booleans(), lost=st.integers(0, 1))
    def one_ends(self, case: tuple[Reservation | None, Decimal, int], answered: bool, lost: int) -> None:
        reservation, amount, images = case
        if reservation is None:
            return
        unknown = 0 if answered else lost
        reservation.settle(billed=images if answered else 0, unknown=unknown)
        del self.open[id(reservation)]
        self.spent += amount * images if answered else 0
        self.kept += amount * images * unknown

    @invariant()
    def spent_and_held_are_what_happened_and_never_more_than_the_limit(self) -> None:
        assert self.budget.spent == self.spent
        assert self.budget.held == self.kept + sum(self.open.values())
        assert self.budget.spent + self.budget.held <= self.budget.limit


TestBudget = Money_.TestCase


def test_threads_that_reserve_and_settle_at_once_lose_nothing() -> None:
    budget = Budget(1000)
    barrier = threading.Barrier(8)

    def churn() -> None:
        barrier.wait()
        for _ in range(200):
            reservation = budget.reserve("a", Money(Decimal(1), "USD"), 1)
            reservation.settle(billed=0, unknown=0)
        budget.reserve("a", Money(Decimal(1), "USD"), 1).settle(billed=1, unknown=0)

    threads = [threading.Thread(target=churn) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums(budget) == (8, 0)
