"""What an engine notes of the calls for images."""

from __future__ import annotations

import pytest

from stepfun_async._core.requests import ImageEdit, ImageRequest, ImageToImage, TextToImage
from stepfun_async._core.sizes import Size
from stepfun_async.embedded import Engine, Fault, ImageCall, Log, Scenario

from .asking import get, photo, post

PHOTO = photo(40, 30)


def noted(*requests: ImageRequest, faults: tuple[str, ...] = ()) -> tuple[ImageCall, ...]:
    log = Log()
    engine = Engine(plain=True, scenario=Scenario(*faults), log=log)
    for request in requests:
        list(engine.play(request.to_call()))
    return log.calls


def test_calls_are_noted_in_order_with_what_was_asked() -> None:
    first, second = noted(TextToImage(prompt="a lake", seed=4, size="16:9"), ImageEdit(image=PHOTO, prompt="a cat"))

    assert (first.operation, first.prompt, first.model) == ("text_to_image", "a lake", "step-image-edit-2")
    assert first.parameters["seed"] == 4
    assert (second.operation, second.prompt, second.image) == ("edit", "a cat", PHOTO)
    assert (first.status, first.paid, first.fault) == (200, True, None)


def test_the_size_is_shown_the_right_way_round() -> None:
    edit2, large, unsaid = noted(
        TextToImage(prompt="x", size=Size(width=1360, height=768)),
        TextToImage(prompt="x", model="step-2x-large", size=Size(width=1280, height=800)),
        TextToImage(prompt="x"),
    )

    assert edit2.size == Size(width=1360, height=768)
    assert large.size == Size(width=1280, height=800)
    assert unsaid.size is None


def test_an_image_is_shown_as_bytes_and_a_link_as_itself() -> None:
    sent, linked, none = noted(
        ImageToImage(image=PHOTO, prompt="x", source_weight=0.5),
        ImageToImage(image="https://somewhere.test/a.png", prompt="x", source_weight=0.5),
        TextToImage(prompt="x"),
    )

    assert sent.image == PHOTO
    assert linked.image == "https://somewhere.test/a.png"
    assert none.image is None


@pytest.mark.parametrize(
    ("fault", "status", "paid"),
    [
        ("429*1", 429, False),
        ("html*1", 502, False),
        ("hang*1", None, False),
        ("drop-before*1", None, False),
        ("drop-after*1", None, True),
        ("truncated*1", None, True),
        ("filtered*1", 200, True),
        ("delay=0.1*1", 200, True),
    ],
)
def test_a_fault_is_noted_with_what_came_of_it(fault: str, status: int | None, paid: bool) -> None:
    (call,) = noted(TextToImage(prompt="x"), faults=(fault,))

    assert (call.fault, call.status, call.paid) == (Fault.parse(fault), status, paid)


def test_a_call_that_is_refused_is_noted_as_not_paid() -> None:
    log = Log()
    engine = Engine(plain=True, log=log, credit=0.0, keys=("good",))
    list(engine.play(post("/images/generations", model="step-2x-large", prompt="x", steps=99)))
    list(engine.play(TextToImage(prompt="x").to_call()))

    assert [(call.status, call.paid) for call in log.calls] == [(400, False), (402, False)]
    assert log.calls[0].parameters["steps"] == 99


def test_questions_that_are_not_for_images_are_not_noted() -> None:
    log = Log()
    list(Engine(log=log).play(get("/models")))

    assert log.calls == ()


def test_without_a_log_nothing_is_kept() -> None:
    engine = Engine(plain=True)
    list(engine.play(TextToImage(prompt="x").to_call()))
    engine.log = Log()
    list(engine.play(TextToImage(prompt="y").to_call()))

    assert [call.prompt for call in engine.log.calls] == ["y"]
