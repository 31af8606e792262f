"""What a client and a service promise each other, however the calls travel between them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image as pillow

from stepfun_async import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AsyncClient,
    AuthenticationError,
    BadRequestError,
    ContentFilteredError,
    ContentRejectedError,
    InsufficientBalanceError,
    InternalServerError,
    MalformedResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    Size,
)
from stepfun_async.embedded import Scenario
from tests.support.responses import PIXEL
from tests.support.services import KINDS, Service, service

pytestmark = pytest.mark.anyio

LARGE: Final = "step-2x-large"
QUICK = RetryPolicy(base=0.001, connect_base=0.001)


@pytest.fixture(params=KINDS)
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., Service]]:
    """Starts the service of each kind, with the faults given."""
    with ExitStack() as stack:

        def start(*faults: str) -> Service:
            scenario = Scenario(*faults) if faults else None
            return stack.enter_context(service(str(request.param), scenario=scenario))

        yield start


Serve = Callable[..., Service]


def client_of(serving: Service) -> AsyncClient:
    return AsyncClient(retry=QUICK, **serving.options)


async def test_a_landscape_size_gives_a_landscape_image(serve: Serve) -> None:
    """The model that writes HEIGHTxWIDTH makes no turned images."""
    async with client_of(serve()) as client:
        response = await client.images.generate("a lake", size=Size(width=1360, height=768), seed=1)
    image = response.image
    assert (image.format, image.width, image.height, image.seed) == ("png", 1360, 768, 1)
    assert image.data is not None
    assert pillow.open(io.BytesIO(image.data)).size == (1360, 768)
    assert image.finish_reason == "success"


async def test_a_result_says_where_it_comes_from(serve: Serve) -> None:
    async with client_of(serve()) as client:
        response = await client.images.generate("a lake", model=LARGE, size="256x256")
    assert response.trace_id
    assert response.id
    assert response.created
    assert response.created > 1_700_000_000
    assert (response.model, response.attempts, response.maybe_billed) == (LARGE, 1, 1)
    assert response.elapsed > 0


async def test_the_same_seed_gives_the_same_image(serve: Serve) -> None:
    async with client_of(serve()) as client:
        first, again, other = [
            (await client.images.generate("a lake", model=LARGE, size="256x256", seed=seed)).image.data
            for seed in (5, 5, 6)
        ]
    assert first == again
    assert first != other


async def test_an_edit_takes_any_kind_of_image_and_keeps_its_size(serve: Serve, tmp_path: Path) -> None:
    source = pillow.new("RGB", (320, 200), "teal")
    jpeg = tmp_path / "cat.png"  # the name lies: its bytes are a JPEG
    source.save(jpeg, format="JPEG")
    async with client_of(serve()) as client:
        made = (await client.images.edit(jpeg, "add a hat", seed=1)).image
        with jpeg.open("rb") as file:
            kinds: list[Any] = [jpeg.read_bytes(), file, source, made]
            for image in kinds:
                edited = (await client.images.edit(image, "add a hat", seed=1)).image
                assert (edited.width, edited.height) == (320, 200)
    assert made.data != jpeg.read_bytes()


async def test_image_to_image_takes_size_and_weight(serve: Serve) -> None:
    """Its response has neither `created` nor `id`, as documented."""
    source = pillow.new("RGB", (320, 200), "teal")
    async with client_of(serve()) as client:
        response = await client.images.image_to_image(source, "a forest", source_weight=0.5, size="512x512", seed=3)
    assert (response.image.width, response.image.height) == (512, 512)
    assert (response.created, response.id) == (None, None)


async def test_a_style_reference_is_sent_with_its_image(serve: Serve) -> None:
    style = pillow.new("RGB", (64, 64), "red")
    async with client_of(serve()) as client:
        response = await client.images.generate(
            "a forest", model="step-1x-medium", size="256x256", style_reference={"source_url": style}
        )
    assert response.image.width == 256


async def test_a_link_is_fetched(serve: Serve, tmp_path: Path) -> None:
    async with client_of(serve()) as client:
        response = await client.images.generate("a lake", model=LARGE, size="256x256", response_format="url", seed=4)
        linked = response.image
        assert (linked.data, linked.width) == (None, None)
        assert linked.url
        fetched = await client.images.download(linked, save_to=tmp_path / "lake")
        direct = await client.images.generate("a lake", model=LARGE, size="256x256", seed=4)
    assert fetched.to_bytes() == direct.image.data
    assert fetched.path == tmp_path / "lake.png"
    assert (fetched.path.read_bytes(), fetched.data) == (direct.image.data, None)


async def test_save_to_fetches_what_is_only_linked(serve: Serve, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "lake"
    async with client_of(serve()) as client:
        response = await client.images.generate(
            "a lake", model=LARGE, size="256x256", response_format="url", save_to=target
        )
    assert response.image.path == tmp_path / "deep" / "down" / "lake.png"
    with pillow.open(response.image.path) as opened:
        assert opened.size == (256, 256)
    assert [path.name for path in (tmp_path / "deep" / "down").iterdir()] == ["lake.png"]


async def test_models_and_account_are_read(serve: Serve) -> None:
    serving = serve()
    async with client_of(serving) as client:
        listed = await client.models.list()
        one = await client.models.retrieve(LARGE)
        before = await client.account.retrieve()
        await client.images.generate("a lake", model=LARGE, size="256x256")
        after = await client.account.retrieve()
        with pytest.raises(NotFoundError):
            await client.models.retrieve("no-such-model")
    assert one in listed
    assert (one.id, one.owned_by) == (LARGE, "stepfun")
    assert round(before.balance - after.balance, 6) == 0.02
    assert serving.engine.bill().images == 1
    assert serving.engine.bill().spent == {"USD": Decimal("0.02")}


STATUSES = (
    (400, BadRequestError, "rejected", 1),
    (401, AuthenticationError, "rejected", 1),
    (402, InsufficientBalanceError, "rejected", 1),
    (403, PermissionDeniedError, "rejected", 1),
    (404, NotFoundError, "rejected", 1),
    (429, RateLimitError, "rejected", 3),
    (451, ContentRejectedError, "rejected", 1),
    (500, InternalServerError, "unknown", 1),
    (502, InternalServerError, "unknown", 1),
    (503, InternalServerError, "rejected", 3),
    (504, InternalServerError, "unknown", 1),
)


@pytest.mark.parametrize(("status", "kind", "billing", "attempts"), STATUSES)
async def test_each_status_has_its_error(
    serve: Serve, status: int, kind: type[APIStatusError], billing: str, attempts: int
) -> None:
    """Only what cannot have been billed is retried."""
    serving = serve(str(status))
    async with client_of(serving) as client:
        with pytest.raises(kind) as caught:
            await client.images.generate("a lake", model=LARGE, size="256x256")
        usage = client.usage
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.billing, error.attempts) == (status, billing, attempts)
    assert error.maybe_billed == (1 if billing == "unknown" else 0)
    assert error.trace_id
    assert (usage.requests, usage.attempts, usage.billed) == (1, attempts, 0)
    assert usage.maybe_billed == error.maybe_billed
    assert serving.engine.bill().images == 0


@pytest.mark.parametrize("fault", ["429*2", "503*2", "429=0.001*1"])
async def test_a_refusal_that_passes_is_retried(serve: Serve, fault: str) -> None:
    serving = serve(fault)
    async with client_of(serving) as client:
        response = await client.images.generate("a lake", model=LARGE, size="256x256")
    assert response.attempts == int(fault[-1]) + 1
    assert response.maybe_billed == 1
    assert serving.engine.bill().images == 1


@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
async def test_a_lost_response_is_not_retried(serve: Serve, fault: str) -> None:
    """Nobody can know whether it was billed, so it is raised as such and not bought twice."""
    serving = serve(fault)
    async with client_of(serving) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.images.generate("a lake", model=LARGE, size="256x256")
    assert (caught.value.billing, caught.value.attempts, caught.value.maybe_billed) == ("unknown", 1, 1)
    assert serving.engine.bill().images == (1 if fault == "drop-after" else 0)


async def test_a_lost_response_is_retried_where_the_user_says_so(serve: Serve) -> None:
    serving = serve("drop-after*1")
    policy = RetryPolicy(retry_unknown=True, base=0.001)
    async with AsyncClient(retry=policy, **serving.options) as client:
        response = await client.images.generate("a lake", model=LARGE, size="256x256")
        usage = client.usage
    assert (response.attempts, response.maybe_billed) == (2, 2)
    assert (usage.billed, usage.maybe_billed) == (1, 1)
    assert serving.engine.bill().images == 2


@pytest.mark.parametrize("fault", ["bad-json", "bad-base64", "empty"])
async def test_an_unreadable_success_is_kept_and_not_retried(serve: Serve, fault: str) -> None:
    serving = serve(fault)
    async with client_of(serving) as client:
        with pytest.raises(MalformedResponseError) as caught:
            await client.images.generate("a lake", model=LARGE, size="256x256")
    assert (caught.value.billing, caught.value.attempts) == ("unknown", 1)
    assert caught.value.body
    assert serving.engine.bill().images == 1


async def test_a_filtered_image_is_no_image(serve: Serve, tmp_path: Path) -> None:
    serving = serve("filtered")
    async with client_of(serving) as client:
        response = await client.images.generate("a lake", model=LARGE, size="256x256")
        with pytest.raises(ContentFilteredError) as caught:
            _ = response.image
        with pytest.raises(ContentFilteredError):
            await client.images.generate("a lake", model=LARGE, size="256x256", save_to=tmp_path / "lake.png")
        assert client.usage.billed == 2
    assert caught.value.billing == "executed"
    assert caught.value.response is response
    assert list(tmp_path.iterdir()) == []


async def test_an_html_page_of_a_gateway_is_an_error_of_its_status(serve: Serve) -> None:
    async with client_of(serve("html")) as client:
        with pytest.raises(InternalServerError) as caught:
            await client.images.generate("a lake", model=LARGE, size="256x256")
    assert caught.value.status == 502
    assert "<" not in caught.value.message


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            "envoy-503",
            "503: upstream connect error .* connection termination \\(from envoy\\); it may have been billed",
        ),
        ("varnish-503=0.01", '503: an HTML page from Varnish, "503 Backend fetch failed"; it may have been billed'),
        ("litellm-408", "408: litellm.Timeout: .*; it may have been billed; .*LiteLLM, which responded, resends"),
        ("accepted", "no image in it: 202, accepted as the task 'embedded-task'.*; it may have been billed"),
    ],
)
async def test_a_gateway_s_response_after_the_work_is_not_retried(serve: Serve, fault: str, said: str) -> None:
    serving = serve(fault)
    async with client_of(serving) as client:
        with pytest.raises(APIError, match=said) as caught:
            await client.images.generate("a lake", model=LARGE, size="256x256")
        usage = client.usage
    assert (caught.value.billing, caught.value.attempts, caught.value.maybe_billed) == ("unknown", 1, 1)
    assert (usage.billed, usage.maybe_billed) == (0, 1)
    assert serving.engine.bill().images == 1
    assert caught.value.trace_id or not fault.startswith("litellm")


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (413, APIStatusError)])
@pytest.mark.parametrize("fault", ["mid-upload", "stop-reading"])
async def test_a_refusal_in_mid_upload_is_the_response(
    serve: Serve, fault: str, status: int, kind: type[APIStatusError]
) -> None:
    serving = serve(f"{fault}:{status}*1")
    large = PIXEL + bytes(8_000_000)
    async with AsyncClient(validation="off", **serving.options) as client:
        with pytest.raises(kind, match=f"{status}: the scenario of the embedded engine says") as caught:
            await client.images.edit(large, "a hat")
        after = await client.images.generate("a lake", model=LARGE, size="256x256")
    assert (caught.value.billing, caught.value.attempts, caught.value.maybe_billed) == ("rejected", 1, 0)
    assert (after.attempts, serving.engine.bill().images) == (1, 1)


async def test_a_connection_that_is_kept_for_a_second_costs_no_second_call(serve: Serve) -> None:
    serving = serve("keep-alive")
    async with client_of(serving) as client:
        for _ in range(3):
            response = await client.images.generate("a lake", model=LARGE, size="256x256")
            assert response.attempts == 1
    assert serving.engine.bill().images == 3


async def test_an_error_inside_a_success_is_in_the_exception(serve: Serve) -> None:
    async with client_of(serve("error-in-200")) as client:
        with pytest.raises(MalformedResponseError, match="no image in it: the scenario of the embedded engine says"):
            await client.images.generate("a lake", model=LARGE, size="256x256")


async def test_spaces_before_the_response_are_part_of_it(serve: Serve) -> None:
    async with client_of(serve("heartbeat")) as client:
        assert (await client.images.generate("a lake", model=LARGE, size="256x256")).image.width == 256


async def test_a_redirect_is_not_followed(serve: Serve) -> None:
    async with client_of(serve("redirect")) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.images.generate("a lake", model=LARGE, size="256x256")
    assert caught.value.status == 307
    assert "base_url" in caught.value.message


async def test_validation_off_sends_as_given_and_the_server_judges(serve: Serve) -> None:
    async with AsyncClient(validation="off", **serve().options) as client:
        with pytest.raises(BadRequestError, match="steps"):
            await client.images.generate("a lake", model=LARGE, size="256x256", steps=999)
