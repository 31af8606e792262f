"""Lines become requests, or all of their problems."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as pillow

from stepfun_async import ImageEdit, ImageToImage, Size, TextToImage
from stepfun_async.batch.inputs.jobs import InvalidLine, Job, JobDefaults, TextFields, parse_job
from stepfun_async.embedded.drawing.plain import draw

from ...core.test_odd_values import VALUES

PNG = draw({"prompt": "a lake"}, TextToImage().row, 1)  # type: ignore[arg-type]


def job(value: object, defaults: dict[str, object] | None = None, **terms: Any) -> Job:
    return parse_job(7, value, JobDefaults(defaults or {}, **terms))


def fields(job: Job) -> list[str]:
    return [problem.field for problem in job.problems]


def test_defaults_hold_where_a_line_has_nothing_of_its_own() -> None:
    made = job({"prompt": "A lake", "steps": 9, "seed": None}, {"steps": 20, "seed": 4, "size": "16:9"})
    assert made.request == TextToImage(prompt="A lake", steps=9, seed=4, size="16:9")
    assert made.fingerprint == TextToImage(prompt="A lake", steps=9, seed=4, size="16:9").fingerprint()


def test_defaults_hold_for_request_values_too_unless_they_say_otherwise() -> None:
    made = job(TextToImage(prompt="A lake", steps=9), {"steps": 20, "seed": 4, "model": "step-1x-medium"})
    assert made.request == TextToImage(model="step-1x-medium", prompt="A lake", steps=9, seed=4)


@pytest.mark.parametrize(
    ("line", "seed"),
    [
        (TextFields({"seed": "5"}), 6),
        ({"seed": 5.0}, 6),
        ({"seed": 0}, 1),
        ({"seed": 0, "model": "step-2x-large"}, 0),
        ({}, None),
    ],
    ids=["text", "float", "zero", "zero that is random", "none"],
)
def test_the_seed_of_a_variation_counts_up_unless_it_is_random(line: dict[str, object], seed: int | None) -> None:
    line.update(prompt="a lake", id="lake")
    made = parse_job(2, line, JobDefaults({}, variations=2))
    assert made.request is not None
    assert (made.id, made.request.seed) == ("lake-v2", seed)


@pytest.mark.parametrize(
    ("line", "field"), [({"seed": 2**31 - 1}, "seed"), ({"extra_body": {"seed": 1}}, "extra_body")]
)
def test_a_seed_that_cannot_count_up_is_a_problem_of_variations(line: dict[str, object], field: str) -> None:
    assert fields(parse_job(1, {"prompt": "a", **line}, JobDefaults({}))) == []
    assert fields(parse_job(2, {"prompt": "a", **line}, JobDefaults({}, variations=2))) == [field]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ({}, TextToImage),
        ({"image": PNG}, ImageEdit),
        ({"image": PNG, "source_weight": 0.5}, ImageToImage),
        ({"image": PNG, "source_weight": 0.5, "operation": "image_to_image"}, ImageToImage),
        ({"operation": "generate"}, TextToImage),
    ],
)
def test_the_operation_is_the_one_named_or_what_the_fields_imply(line: dict[str, object], kind: type) -> None:
    made = job({"prompt": "A lake", **line})
    assert made.problems == ()
    assert type(made.request) is kind


@pytest.mark.parametrize(
    ("extra_body", "field"),
    [({"n": 2}, "n"), ({"n": "2"}, "n"), ({"n": "many"}, "n"), ({"model": "step-2x-large"}, "extra_body")],
)
def test_a_line_buys_one_picture_of_the_model_that_it_names(extra_body: dict[str, object], field: str) -> None:
    assert fields(job({"prompt": "A lake", "extra_body": extra_body})) == [field]
    assert fields(job({"prompt": "A lake", "extra_body": {"n": 1, "model": "step-image-edit-2"}})) == []


def test_all_problems_are_told_at_once() -> None:
    made = job({"id": "", "promt": "A lake", "steps": 99, "size": "nope", "response_format": "url", "n": 3})
    assert made.request is None
    assert made.fingerprint is None
    assert set(fields(made)) == {"id", "prompt", "promt", "steps", "size", "response_format", "n"}
    assert fields(made).count("n") == 1
    assert next(problem for problem in made.problems if problem.field == "promt").nearest == "prompt"


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"prompt": "a", "operation": "edti"}, "operation"),
        ({"prompt": "a", "operation": 3}, "operation"),
        ({"prompt": "a", "width": 10}, "size"),
        ({"prompt": "a", "size": "1:1", "width": 768, "height": 1360}, "size"),
        ({"prompt": "a", "size": {"width": 768, "depth": 2}}, "size"),
        ({"prompt": "a", "id": True}, "id"),
        ({"prompt": "a", "id": "x" * 201}, "id"),
        ({"prompt": "a", "id": "a\nb"}, "id"),
        ({"prompt": "a", "image": "nowhere.png"}, "image"),
        (["a"], "line"),
        (None, "line"),
    ],
)
def test_a_bad_line_names_its_field(line: object, field: str) -> None:
    assert field in fields(job(line))


@pytest.mark.parametrize("field", ["prompt", "seed", "image", "size", "id", "operation", "model", "extra_body", "body"])
def test_a_line_with_an_odd_value_is_read_or_has_problems(field: str) -> None:
    for value in VALUES.values():
        made = job({"prompt": "a", field: value})
        assert json.loads(json.dumps(made.described, allow_nan=False)) == made.described
        assert made.request is None or not made.problems
        assert all(str(problem) for problem in made.problems)


def test_sides_make_a_size() -> None:
    expected = TextToImage(prompt="a", size=Size(width=1360, height=768))
    assert job({"prompt": "a", "width": 1360, "height": 768}).request == expected
    assert job({"prompt": "a", "size": {"width": 1360, "height": 768}}).request == expected


def test_cells_of_text_become_what_the_model_takes() -> None:
    line = {"prompt": "1", "steps": "9", "cfg_scale": "2.5", "text_mode": "true", "width": "1360", "height": "768"}
    made = job(TextFields(line))
    size = Size(width=1360, height=768)
    assert made.request == TextToImage(prompt="1", steps=9, cfg_scale=2.5, text_mode=True, size=size)
    assert fields(job(TextFields({"prompt": "1", "steps": "many"}))) == ["steps"]


def test_paths_are_relative_to_the_inputs(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    made = job({"prompt": "a", "image": "cat.png"}, folder=tmp_path)
    assert made.problems == ()
    link = {"prompt": "a", "image": "https://example.com/cat.png", "source_weight": 0.5}
    assert job(link, folder=tmp_path).described["image"] == "https://example.com/cat.png"


def test_a_job_that_waits_keeps_no_picture_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    made = job({"prompt": "a", "image": str(path)})
    assert made.request is not None
    assert made.request._memo._seen == {}


def test_a_file_object_is_read_once_and_kept() -> None:
    made = job(ImageEdit(prompt="a", image=io.BytesIO(PNG)))
    assert made.request is not None
    assert made.request.fingerprint() == made.fingerprint


def test_what_is_told_of_a_request_is_json_without_bytes() -> None:
    made = job({"prompt": "a", "image": PNG, "seed": 3})
    assert made.described["operation"] == "edit"
    assert made.described["model"] == "step-image-edit-2"
    assert made.described["image"] == {"sha256": made.described["image"]["sha256"], "bytes": len(PNG)}  # type: ignore[index]


def test_an_image_that_is_too_large_is_not_encoded_for_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow.Image, "save", lambda *_, **__: pytest.fail("encoded"))
    job = parse_job(1, {"prompt": "x", "image": pillow.new("RGB", (6000, 40))}, JobDefaults({}))
    assert "6000x40 pixels" in job.problems[0].why
    assert job.described["image"] == "an Image"


def test_a_broken_line_brings_its_problems() -> None:
    problems = job(3).problems
    assert job(InvalidLine(problems)).problems == problems


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("s3://bucket/a.png", "'s3://bucket/a.png' is not fetched here"),
        ("file:///a/b.png", "'file:///a/b.png' is not fetched here"),
        ("iVBORw0KGgoAAAANSUhEUgAAAgAAAAIACAIAAAB7GkOtAAAk1klEQVR4nO3cefT3c5838f8d", "is base64 without its head"),
        ("https://", "the link has no host"),
    ],
)
def test_what_is_no_path_is_not_looked_for_beside_the_inputs(image: str, why: str, tmp_path: Path) -> None:
    made = parse_job(1, {"prompt": "a", "image": image}, JobDefaults({}, tmp_path))
    assert why in str(made.problems[0])
    assert str(tmp_path) not in str(made.problems[0])
