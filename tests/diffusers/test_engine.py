"""Local models, tiny ones with random weights, behind the protocol and its clients."""

from __future__ import annotations

import base64
import gc
import json
import subprocess
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest

from stepfun_async import (
    AsyncClient,
    BadRequestError,
    Client,
    InternalServerError,
    RateLimitError,
    RetryPolicy,
    Size,
)
from stepfun_async.diffusers import DiffusersEngine, Progress
from stepfun_async.embedded import EmbeddedTransport
from stepfun_async.embedded.server import running
from tests.embedded.asking import content, decoded, photo, post

GENERATE = "/images/generations"
SMALL = Size(width=64, height=64)
QUICK: dict[str, Any] = {"size": "64x64", "steps": 2}


@pytest.fixture
def client(engine: DiffusersEngine) -> Iterator[Client]:
    with Client(base_url="diffusers") as client:
        yield client


# --- images


def test_the_same_seed_and_parameters_give_the_same_bytes(engine: DiffusersEngine, client: Client) -> None:
    def made(**more: Any) -> bytes:
        image = client.images.generate("A lake", model=engine.model, **{**QUICK, "seed": 7, **more}).image
        assert image.data
        return image.data

    first = made()
    others = [made(seed=8), made(steps=3), made(cfg_scale=2.0), made(negative_prompt="fog")]
    assert made() == first
    assert len({first, *others}) == 5


@pytest.mark.parametrize("size", [Size(width=100, height=130), Size(width=72, height=64)])
def test_an_image_has_exactly_the_size_asked_for(engine: DiffusersEngine, client: Client, size: Size) -> None:
    image = client.images.generate("A lake", model=engine.model, size=size, steps=1).image
    assert Size(width=image.width or 0, height=image.height or 0) == size


def test_image_to_image_keeps_the_source_by_its_weight_and_has_its_size(
    engine: DiffusersEngine, client: Client
) -> None:
    def distance(weight: float) -> float:
        image = client.images.image_to_image(
            photo(80, 70), "A lake", model=engine.model, source_weight=weight, steps=10, seed=1
        ).image
        assert image.data
        assert (image.width, image.height) == (80, 70)
        made, source = decoded(image.data).convert("RGB").tobytes(), decoded(photo(80, 70)).convert("RGB").tobytes()
        return sum(abs(a - b) for a, b in zip(made, source, strict=True))

    assert distance(0.1) != distance(1.0)


def test_the_file_says_what_made_it(engine: DiffusersEngine, client: Client) -> None:
    image = client.images.generate("A lake", model=engine.model, seed=7, **QUICK).image
    assert image.data
    facts = decoded(image.data).info
    assert facts["Software"].startswith("diffusers ")
    assert (facts["model"], facts["prompt"], facts["seed"], facts["steps"]) == (engine.model, "A lake", "7", "2")


# --- clients over HTTP


def test_our_client_openai_and_curl_get_the_same_image(engine: DiffusersEngine) -> None:
    body = {"model": engine.model, "prompt": "A lake", "seed": 7, "response_format": "b64_json", **QUICK}
    with running(engine) as url:
        with Client("any", base_url=url) as ours:
            images = [ours.images.generate("A lake", model=engine.model, seed=7, **QUICK).image.to_bytes()]
        with openai.OpenAI(api_key="any", base_url=url, max_retries=0) as theirs:
            more = {"seed": 7, "steps": 2}
            made = theirs.images.generate(
                model=engine.model, prompt="A lake", size="64x64", response_format="b64_json", extra_body=more
            )
            assert made.data
            images.append(base64.b64decode(made.data[0].b64_json or ""))
            assert [model.id for model in theirs.models.list()] == [engine.model]
        said = ["--header", "authorization: Bearer any", "--data", json.dumps(body)]
        response = subprocess.run(["curl", "-s", *said, f"{url}{GENERATE}"], capture_output=True, check=True).stdout
        images.append(base64.b64decode(json.loads(response)["data"][0]["b64_json"]))
    assert len(set(images)) == 1


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"text_mode": True}, 400, "text_mode"),
        ({"steps": 0}, 400, "steps"),
        ({"model": "step-2x-large"}, 400, "there is no such model"),
        ({"size": "16x16"}, 400, "size"),
        ({"user": "me", "quality": "hd"}, 400, "quality"),
    ],
)
def test_a_request_that_the_model_cannot_fulfil_is_refused_before_any_work(
    engine: DiffusersEngine, body: dict[str, Any], status: int, says: str
) -> None:
    before = engine.bill()
    response = engine.respond(post(GENERATE, **{"model": engine.model, "prompt": "x", **QUICK, **body}))
    assert (response.status, says in response.body.decode()) == (status, True)
    assert engine.bill().seconds == before.seconds


def test_an_edit_is_refused_by_name_where_the_pipeline_has_none(engine: DiffusersEngine) -> None:
    response = engine.respond(post("/images/edits", model=engine.model, prompt="x"))
    assert "it has image_to_image and text_to_image, not edit" in content(response)["error"]["message"]


# --- work: time, stopping, waiting, failing


class Steps:
    """What a test does at the first step of an image, and what was reported."""

    def __init__(self, engine: DiffusersEngine, act: Callable[[], object] = lambda: None) -> None:
        self.seen: list[Progress] = []
        self.over = threading.Event()
        self._act = act
        engine.on_progress = self

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)
        if progress.over:
            self.over.set()
        elif progress.step == 1:
            self._act()

    @property
    def done(self) -> int:
        """The steps that were done."""
        return max(progress.step for progress in self.seen)


def test_each_step_is_reported_and_the_bill_counts_seconds(small: DiffusersEngine) -> None:
    steps = Steps(small)
    with Client(base_url="diffusers") as client:
        client.images.generate("A lake", model=small.model, size=SMALL, steps=3)
    facts = [(progress.step, progress.steps, progress.over) for progress in steps.seen]
    assert facts == [(1, 3, False), (2, 3, False), (3, 3, False), (0, 0, True)]
    assert {progress.model for progress in steps.seen} == {small.model}
    assert small.bill().seconds > 0
    assert small.bill().amount() == 0


def test_a_client_that_hangs_up_stops_the_work_in_that_step(small: DiffusersEngine) -> None:
    with running(small) as url:
        gone = threading.Event()
        steps = Steps(small, gone.wait)
        body = {"model": small.model, "prompt": "x", "size": "64x64", "steps": 400}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{url}{GENERATE}",
                json=body,
                headers={"authorization": "Bearer x"},
                timeout=httpx.Timeout(30, read=0.3),
                trust_env=False,
            )
        gone.set()
        assert steps.over.wait(30)
        assert steps.done < 400
        with Client("any", base_url=url) as client:
            client.images.generate("x", model=small.model, **QUICK).image.to_bytes()
    assert small.bill().images == 1


@pytest.mark.anyio
async def test_a_cancelled_call_in_the_process_stops_the_work_in_that_step(small: DiffusersEngine) -> None:
    begun, gone = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        gone.wait()

    steps = Steps(small, first)
    async with AsyncClient(base_url="diffusers") as client, anyio.create_task_group() as group:
        group.start_soon(lambda: client.images.generate("x", model=small.model, size=SMALL, steps=400))
        await anyio.to_thread.run_sync(begun.wait)
        group.cancel_scope.cancel()
    gone.set()
    assert await anyio.to_thread.run_sync(steps.over.wait, 30)
    assert steps.done < 400
    assert small.bill().images == 0


def test_a_full_line_is_429_with_the_seconds_to_wait(small: DiffusersEngine) -> None:
    with running(small) as url, Client("any", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
        refused: list[RateLimitError] = []

        def ask() -> None:
            with pytest.raises(RateLimitError) as caught:
                client.images.generate("x", model=small.model, **QUICK)
            refused.append(caught.value)

        Steps(small, ask)
        client.images.generate("x", model=small.model, **QUICK)
    assert refused[0].retry_after
    assert refused[0].maybe_billed == 0
    assert "one image at a time" in str(refused[0])
    assert small.bill().images == 1


def test_closing_frees_the_weights_and_refuses_later_calls(models: Path) -> None:
    engine = DiffusersEngine(models / "tiny-sd", "cpu")
    unet = weakref.ref(engine.backend._pipelines["text_to_image"].call.unet)  # type: ignore[attr-defined]
    with Client(base_url="diffusers", transport=EmbeddedTransport(engine)) as client:
        client.images.generate("x", model=engine.model, **QUICK)
        engine.close()
        engine.close()
        gc.collect()
        assert unet() is None
    response = engine.respond(post(GENERATE, model=engine.model, prompt="x"))
    assert response.status == 400


def test_closing_stops_the_image_in_work(models: Path) -> None:
    engine = DiffusersEngine(models / "tiny-sd", "cpu")
    threads: list[threading.Thread] = []

    def close() -> None:
        threads.append(threading.Thread(target=engine.close))
        threads[0].start()
        while not engine.backend._closing.is_set:  # type: ignore[attr-defined]
            threading.Event().wait(0.001)

    steps = Steps(engine, close)
    response = engine.respond(post(GENERATE, model=engine.model, prompt="x", size="64x64", steps=400))
    threads[0].join()
    assert (response.status, steps.done) == (499, 1)


@pytest.mark.parametrize(
    ("raised", "error", "says"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), BadRequestError, "make a smaller image"),
        (MemoryError(), BadRequestError, "make a smaller image"),
        (
            ValueError("no such thing"),
            InternalServerError,
            "StableDiffusionPipeline of diffusers failed: .*no such thing",
        ),
    ],
)
def test_a_failing_pipeline_is_an_error_that_says_what_to_do_and_charges_nothing(
    small: DiffusersEngine, monkeypatch: pytest.MonkeyPatch, raised: Exception, error: type[Exception], says: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(type(small.backend._pipelines["text_to_image"].call), "__call__", fail)  # type: ignore[attr-defined]
    with Client(base_url="diffusers") as client, pytest.raises(error, match=says):
        client.images.generate("x", model=small.model, **QUICK)
    assert small.bill().images == 0


def test_an_image_that_the_safety_checker_withholds_is_a_filtered_one(
    small: DiffusersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = type(small.backend._pipelines["text_to_image"].call)  # type: ignore[attr-defined]
    real = cls.__call__

    def flagged(self: Any, **said: Any) -> Any:
        output = real(self, **said)
        output.nsfw_content_detected = [True]
        return output

    monkeypatch.setattr(cls, "__call__", flagged)
    with Client(base_url="diffusers") as client:
        image = client.images.generate("x", model=small.model, **QUICK).data[0]
    assert (image.filtered, image.data) == (True, None)


def test_faults_of_a_scenario_meet_a_local_model_too(small: DiffusersEngine) -> None:
    from stepfun_async.embedded import Scenario

    small.scenario = Scenario("429*1")
    with Client(base_url="diffusers") as client:
        assert client.images.generate("x", model=small.model, **QUICK).attempts == 2
