"""Requests against rows: every bad field at once, and the traps that StepFun's API lays."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as pillow

from stepfun_async import ImageEdit, InvalidRequestError, Problem, Size, TextToImage, capabilities, register_model
from stepfun_async._core import registry as module
from stepfun_async._core.capabilities import BUILT_IN, Operation
from stepfun_async._core.problems import plain, show
from stepfun_async._core.requests import REQUESTS, ImageRequest


def _png(width: int = 100, height: int = 100) -> bytes:
    buffer = io.BytesIO()
    pillow.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()
REQUIRED: dict[str, Any] = {"prompt": "a lake", "image": PNG, "source_weight": 0.5}
ROWS = [pytest.param(row.model, row.operation, id=f"{row.model}-{row.operation}") for row in BUILT_IN]


def _request(model: str, operation: Operation, **changes: Any) -> ImageRequest:
    row = module.capabilities(model, operation)
    needed = {name: value for name, value in REQUIRED.items() if name in row.rules}
    kind: Any = REQUESTS[operation]
    request: ImageRequest = kind(**{"model": model, **needed, **changes})
    return request


def _fields(request: ImageRequest) -> list[str]:
    return [problem.field for problem in request.problems()]


def _only(request: ImageRequest) -> Problem:
    (problem,) = request.problems()
    return problem


@pytest.mark.parametrize(("model", "operation"), ROWS)
def test_what_is_required_is_enough(model: str, operation: Operation) -> None:
    assert _request(model, operation).problems() == ()


@pytest.mark.parametrize(
    ("model", "operation", "name"),
    [(row.model, row.operation, name) for row in BUILT_IN for name in REQUIRED if name in row.rules],
)
def test_what_is_required_is_missed_by_name(model: str, operation: Operation, name: str) -> None:
    problem = _only(_request(model, operation, **{name: None}))
    assert (problem.field, problem.given, problem.why) == (name, None, "is required")


@pytest.mark.parametrize(("model", "operation"), ROWS)
def test_every_bad_field_is_named_at_once_in_the_order_of_the_row(model: str, operation: Operation) -> None:
    rules = module.capabilities(model, operation).rules
    bad = [name for name, rule in rules.items() if rule.kind not in ("ignored", "style reference")]
    # A list is none of the things a parameter can be.
    request = _request(model, operation, **{name: [1] for name in bad}, sparkle=1, extra_body=[1])
    assert _fields(request) == [*bad, "sparkle", "extra_body"]


@pytest.mark.parametrize(("model", "operation"), ROWS)
@given(data=st.data())
def test_every_number_outside_its_row_fails_naming_its_field(
    model: str, operation: Operation, data: st.DataObject
) -> None:
    rules = module.capabilities(model, operation).rules
    name = data.draw(st.sampled_from(["seed", "steps", "cfg_scale"]))
    rule: Any = rules[name]
    value = data.draw(st.one_of(st.integers(), st.floats(), st.text(), st.booleans()))
    inside = rule.judge(value) is None
    request = _request(model, operation, **{name: value})
    assert _fields(request) == ([] if inside else [name])
    if not inside and (nearest := request.problems()[0].nearest) is not None:
        assert _request(model, operation, **{name: nearest}).problems() == ()


def test_the_same_number_is_right_for_one_operation_and_wrong_for_another() -> None:
    assert _request("step-2x-large", "image_to_image", steps=100).problems() == ()
    assert _only(_request("step-2x-large", "text_to_image", steps=100)).nearest == 50


def test_the_same_prompt_is_right_for_one_operation_and_wrong_for_another() -> None:
    assert _request("step-1x-medium", "image_to_image", prompt="湖" * 1024).problems() == ()
    problem = _only(_request("step-1x-medium", "text_to_image", prompt="湖" * 1024))
    assert (problem.field, problem.why, problem.nearest) == ("prompt", "1,024 characters", "湖" * 512)


@pytest.mark.parametrize(
    ("model", "operation", "name", "value"),
    [
        ("step-2x-large", "text_to_image", "negative_prompt", "people"),
        ("step-2x-large", "text_to_image", "text_mode", True),
        ("step-2x-large", "text_to_image", "style_reference", {"source_url": PNG}),
        ("step-image-edit-2", "text_to_image", "style_reference", {"source_url": PNG}),
        ("step-1x-edit", "edit", "negative_prompt", "people"),
        ("step-1x-edit", "edit", "n", 1),
        ("step-2x-large", "image_to_image", "text_mode", False),
        ("step-image-edit-2", "text_to_image", "source_weight", 0.5),
    ],
)
def test_a_parameter_that_only_another_model_has(model: str, operation: Operation, name: str, value: object) -> None:
    problem = _only(_request(model, operation, **{name: value}))
    assert problem.field == name
    assert problem.why == f"{model} has no {name} for {operation}"
    assert "prompt" in problem.allowed


@pytest.mark.parametrize(("name", "meant"), [("stpes", "steps"), ("cfgscale", "cfg_scale"), ("quality", None)])
def test_a_misspelled_parameter_is_named_with_what_was_meant(name: str, meant: str | None) -> None:
    problem = _only(_request("step-2x-large", "text_to_image", **{name: 5}))
    assert (problem.field, problem.given, problem.nearest) == (name, 5, meant)
    assert (f"Did you mean {meant!r}?" in str(problem)) == (meant is not None)


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    problem = _only(TextToImage(model="step-image-edit2", prompt="a"))
    assert problem.field == "model"
    assert problem.nearest == "step-image-edit-2"
    assert problem.allowed == "step-image-edit-2, step-2x-large, step-1x-medium"
    assert "register_model" in problem.why


def test_the_error_for_a_model_of_another_operation_names_its_own() -> None:
    problem = _only(TextToImage(model="step-1x-edit", prompt="a"))
    assert problem.why == "step-1x-edit has edit, not text_to_image"
    assert _only(ImageEdit(model="step-2x-large", prompt="a", image=PNG)).why == (
        "step-2x-large has image_to_image and text_to_image, not edit"
    )


@pytest.mark.parametrize("model", [None, 5, ["step-2x-large"], ""])
def test_a_model_that_is_no_name_is_a_problem_too(model: Any) -> None:
    assert _only(TextToImage(model=model, prompt="a")).field == "model"


# --- the size trap ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [Size(width=1360, height=768), "16:9", "768x1360"])
def test_a_wide_image_of_the_model_that_writes_height_first(size: Size | str) -> None:
    request = TextToImage(model="step-image-edit-2", prompt="a", size=size)
    assert request.problems() == ()
    assert (request.to_call().json or {})["size"] == "768x1360"


@pytest.mark.parametrize("model", ["step-2x-large", "step-1x-medium"])
@pytest.mark.parametrize("size", [Size(width=1280, height=800), "16:10", "1280x800"])
def test_a_wide_image_of_the_models_that_write_width_first(model: str, size: Size | str) -> None:
    request = TextToImage(model=model, prompt="a", size=size)
    assert request.problems() == ()
    assert (request.to_call().json or {})["size"] == "1280x800"


def test_1280x800_is_not_16_to_9_whatever_the_overview_calls_it() -> None:
    problem = _only(TextToImage(model="step-2x-large", prompt="a", size="16:9"))
    assert (problem.why, problem.nearest) == ("no size of this model has that ratio", "16:10")


@pytest.mark.parametrize(
    ("size", "sides", "form", "other"),
    [
        ("1360x768", "768 wide and 1360 high (portrait)", "'9:16'", "'16:9' is landscape"),
        ("768x1360", "1360 wide and 768 high (landscape)", "'16:9'", "'9:16' is portrait"),
    ],
)
def test_a_string_that_begins_with_the_height_is_noticed(size: str, sides: str, form: str, other: str) -> None:
    (notice,) = TextToImage(prompt="a", size=size).notices()
    assert sides in notice
    assert f"or {form} says the same" in notice
    assert notice.endswith(other)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("step-image-edit-2", "1024x1024"),
        ("step-image-edit-2", "16:9"),
        ("step-image-edit-2", Size(width=1360, height=768)),
        ("step-image-edit-2", None),
        ("step-2x-large", "1280x800"),
    ],
)
def test_a_size_that_cannot_be_mistaken_has_no_notice(model: str, size: Size | str | None) -> None:
    assert TextToImage(model=model, prompt="a", size=size).notices() == ()


def test_tables_for_people_have_no_size_that_can_be_pasted_and_turns() -> None:
    turning = [
        text for row in capabilities() if row.sizes for text in row.sizes.wire_options if text in row.sizes.turning
    ]
    assert "1360x768" in turning
    written = "\n".join([*map(str, capabilities()), str(TextToImage(prompt="a", size="square").problems()[0])])
    assert [text for text in turning if text in written] == []


def test_a_size_of_another_model_is_refused_with_the_order_in_words() -> None:
    problem = _only(TextToImage(model="step-image-edit-2", prompt="a", size="1280x800"))
    assert "height x width" in problem.allowed
    assert "800 wide and 1280 high" in problem.why
    assert problem.nearest == Size(width=768, height=1360)


# --- what has no effect -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["text_to_image", "edit"])
@pytest.mark.parametrize(
    ("scale", "idle"), [(None, True), (1.0, True), (1, True), (1.01, False), (2.0, False), (10, False)]
)
def test_a_negative_prompt_without_guidance_is_noticed(operation: Operation, scale: float | None, idle: bool) -> None:
    request = _request("step-image-edit-2", operation, negative_prompt="people", cfg_scale=scale)
    assert request.problems() == ()
    assert [notice.split()[0] for notice in request.notices()] == (["negative_prompt"] if idle else [])


def test_an_empty_negative_prompt_is_not_noticed() -> None:
    assert _request("step-image-edit-2", "text_to_image", negative_prompt="").notices() == ()


def test_a_size_that_the_server_ignores_is_noticed_and_not_sent() -> None:
    request = _request("step-image-edit-2", "edit", size=Size(width=1, height=1))
    assert request.problems() == ()
    (notice,) = request.notices()
    assert notice.startswith("size has no effect")
    assert "not sent" in notice
    assert "size" not in request.to_call().form


def test_a_request_without_a_row_has_no_notices() -> None:
    assert TextToImage(model="nope", prompt="a", negative_prompt="b").notices() == ()


def test_notices_follow_the_default_of_a_registered_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_table", dict(module._table))
    register_model("acme", like="step-image-edit-2", defaults={"cfg_scale": 4.0})
    assert TextToImage(model="acme", prompt="a", negative_prompt="b").notices() == ()


# --- images and parts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "operation", "largest"),
    [("step-image-edit-2", "edit", 4096), ("step-1x-edit", "edit", 4096), ("step-2x-large", "image_to_image", 2048)],
)
def test_the_largest_side_of_an_image(model: str, operation: Operation, largest: int) -> None:
    square = pillow.new("1", (largest, largest))
    assert _request(model, operation, image=square).problems() == ()
    wider = pillow.new("1", (largest + 1, largest))
    problem = _only(_request(model, operation, image=wider))
    assert (problem.field, problem.why) == ("image", f"{largest + 1}x{largest} pixels")


def test_the_ratio_of_an_image_to_edit() -> None:
    assert _request("step-1x-edit", "edit", image=_png(300, 100)).problems() == ()
    assert _only(_request("step-1x-edit", "edit", image=_png(301, 100))).field == "image"
    assert _request("step-image-edit-2", "edit", image=_png(301, 100)).problems() == ()


def test_an_image_of_more_than_10_megabytes() -> None:
    end = PNG[-12:]
    padded = PNG + b"\0" * (10 * 1024 * 1024 - len(PNG) - len(end)) + end
    assert _request("step-1x-edit", "edit", image=padded).problems() == ()
    problem = _only(_request("step-1x-edit", "edit", image=padded + b"\0"))
    assert problem.why == "10,485,761 bytes: save it as JPEG, quality 95, and give that"


def test_links_are_only_for_servers_that_fetch_them() -> None:
    link = "https://example.com/cat.png"
    assert _request("step-2x-large", "image_to_image", image=link).problems() == ()
    assert "download" in _only(_request("step-image-edit-2", "edit", image=link)).why


@pytest.mark.parametrize(
    ("style", "fields"),
    [
        ({"source_url": PNG}, []),
        ({"source_url": PNG, "weight": 2}, []),
        ({"source_url": "https://example.com/a.png", "weight": 0.01}, []),
        ({"source_url": PNG, "weight": 2.01}, ["style_reference.weight"]),
        ({"source_url": PNG, "weight": 0}, ["style_reference.weight"]),
        ({"source_url": b"no picture", "weight": "x"}, ["style_reference.source_url", "style_reference.weight"]),
        ({"weight": 1}, ["style_reference.source_url"]),
        ({"source_url": None}, ["style_reference.source_url"]),
        ({"source_url": PNG, "wieght": 1}, ["style_reference.wieght"]),
        ("cat.png", ["style_reference"]),
    ],
)
def test_style_references_are_judged_by_part(style: Any, fields: list[str]) -> None:
    assert _fields(_request("step-1x-medium", "text_to_image", style_reference=style)) == fields


@pytest.mark.parametrize("extra", [None, {}, {"quality": "high", "nested": {"a": [1, None]}}])
def test_extra_parameters_pass_as_json(extra: Any) -> None:
    assert _request("step-2x-large", "text_to_image", extra_body=extra).problems() == ()


@pytest.mark.parametrize(
    "extra", [[], "quality", 5, {"a": object()}, {"a": math.nan}, {1: "a"}, {"a": {1, 2}}, {"a": b"x"}, {"a": "\ud800"}]
)
def test_extra_parameters_that_json_cannot_say_are_a_problem(extra: Any) -> None:
    problem = _only(_request("step-2x-large", "text_to_image", extra_body=extra))
    assert (problem.field, problem.allowed) == ("extra_body", "a mapping of names to JSON values")


# --- how a problem reads ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem("steps", 99, "a whole number from 1 to 50", "", 50),
            "steps: got 99; allowed: a whole number from 1 to 50. Did you mean 50?",
        ),
        (Problem("prompt", None, "text", "is required"), "prompt: got nothing (is required); allowed: text"),
        (Problem("url", "u", "", "fetch it"), "url: got 'u' (fetch it)"),
        (
            Problem("size", "1:2", "a size", nearest=Size(width=1, height=2)),
            "size: got '1:2'; allowed: a size. Did you mean Size(width=1, height=2)?",
        ),
    ],
)
def test_a_problem_reads_as_a_sentence(problem: Problem, text: str) -> None:
    assert str(problem) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "True"),
        (1.5, "1.5"),
        ("a" * 78, repr("a" * 78)),
        ("a" * 79, "'" + "a" * 76 + "... (79 characters)"),
        ("a" * 10**6, "'" + "a" * 76 + "... (1000000 characters)"),
        (Size(width=1, height=2), "Size(width=1, height=2)"),
        ([0] * 100, "[" + "0, " * 25 + "0..."),
    ],
)
def test_a_value_is_shown_short(value: object, text: str) -> None:
    assert show(value) == text


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("text", "text"),
        (5, 5),
        (None, None),
        (b"12345", "5 bytes"),
        (bytearray(5000), "5,000 bytes"),
        ([1, 2], "[1, 2]"),
        (list(range(100)), "a list"),
        (Size(width=1, height=2), "Size(width=1, height=2)"),
    ],
)
def test_a_problem_keeps_only_what_pickles(value: object, kept: object) -> None:
    assert plain(value) == kept


def test_the_error_lists_the_problems_one_a_line() -> None:
    problems = TextToImage(prompt="", steps=99, seed=-1).problems()
    error = InvalidRequestError.of("generate", problems)
    assert error.problems == problems
    first, *lines = str(error).splitlines()
    assert first == "generate has 3 problems; nothing was sent:"
    assert [line.strip().split(":")[0] for line in lines] == ["prompt", "seed", "steps"]
    assert str(InvalidRequestError.of("generate", problems[:1])).startswith("generate has 1 problem;")


def test_a_number_of_thousands_of_digits_is_a_problem_like_any_other() -> None:
    error = InvalidRequestError.of("generate", TextToImage(prompt="a", steps=10**5000, cfg_scale=10**5000).problems())
    assert [problem.field for problem in error.problems] == ["steps", "cfg_scale"]
    assert "steps: got a number with thousands of digits" in str(error)
