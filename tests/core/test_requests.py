"""Requests as values: equality, copies, prices, fingerprints, and images that are read once."""

from __future__ import annotations

import base64
import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as pillow

from stepfun_async import Image, ImageEdit, ImageToImage, InvalidRequestError, Size, TextToImage
from stepfun_async._core.requests import REQUESTS, ImageRequest
from stepfun_async._runtime.files import FileSource


def _image(color: str = "red") -> pillow.Image:
    return pillow.new("RGB", (64, 64), color)


def _png(color: str = "red") -> bytes:
    buffer = io.BytesIO()
    _image(color).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()
BLUE = _png("blue")

REQUEST_VALUES: list[ImageRequest] = [
    TextToImage(prompt="a lake", steps=5, size="16:9"),
    TextToImage(model="step-1x-medium", prompt="a lake", style_reference={"source_url": PNG, "weight": 1}),
    ImageEdit(prompt="a dog", image=PNG),
    ImageToImage(prompt="a dog", image="https://example.com/a.png", source_weight=0.5, extra_body={"x": 1}),
]


class CountingFile(io.BytesIO):
    """A file object that counts how often it is read to its end."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self.reads += not piece
        return piece


# --- values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", REQUEST_VALUES, ids=repr)
def test_a_request_cannot_be_changed(request_: Any) -> None:
    with pytest.raises(pydantic.ValidationError):
        request_.prompt = "other"
    with pytest.raises(pydantic.ValidationError):
        del request_.prompt


@pytest.mark.parametrize("request_", REQUEST_VALUES, ids=repr)
@pytest.mark.parametrize(
    "twin",
    [
        lambda value: value.model_copy(),
        lambda value: value.model_copy(deep=True),
        copy.copy,
        copy.deepcopy,
        lambda value: pickle.loads(pickle.dumps(value)),
    ],
    ids=["model_copy", "deep model_copy", "copy", "deepcopy", "pickle"],
)
def test_copies_and_pickles_are_equal_and_ask_for_the_same(
    request_: ImageRequest, twin: Callable[[ImageRequest], ImageRequest]
) -> None:
    request_.problems()
    other = twin(request_)
    assert other == request_
    assert type(other) is type(request_)
    assert other.fingerprint() == request_.fingerprint()
    assert other.problems() == ()


def test_requests_are_equal_by_value_whether_judged_or_not() -> None:
    judged = ImageEdit(prompt="a", image=PNG)
    judged.problems()
    assert judged == ImageEdit(prompt="a", image=PNG)
    assert judged != ImageEdit(prompt="a", image=BLUE)
    assert hash(judged) == hash(ImageEdit(prompt="a", image=PNG))


def test_a_request_does_not_print_its_image() -> None:
    request = ImageEdit(prompt="a", image=b"x" * 100_000)
    assert "100,000 bytes" in repr(request)
    assert len(repr(request)) < 400


@given(
    junk=st.dictionaries(
        st.sampled_from([*TextToImage.model_fields, *ImageToImage.model_fields, "sparkle"]),
        st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5), st.booleans())
        | st.lists(st.integers(), max_size=2),
    ),
    kind=st.sampled_from(sorted(REQUESTS)),
)
def test_any_value_can_be_put_in_and_is_judged(junk: dict[str, Any], kind: Any) -> None:
    request = REQUESTS[kind](**junk)
    assert isinstance(request.problems(), tuple)
    assert isinstance(request.notices(), tuple)
    for problem in request.problems():
        assert str(problem).startswith(problem.field)


def test_the_defaults_are_the_documented_ones() -> None:
    assert (TextToImage().model, ImageEdit().model, ImageToImage().model) == (
        "step-image-edit-2",
        "step-image-edit-2",
        "step-2x-large",
    )
    assert TextToImage().response_format == "b64_json"


# --- prices ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "international", "china"),
    [
        (TextToImage(prompt="a"), "0.003 USD", "0.02 CNY"),
        (ImageEdit(prompt="a"), "0.003 USD", "0.02 CNY"),
        (ImageToImage(prompt="a"), "0.02 USD", "0.1 CNY"),
        (ImageEdit(model="step-1x-edit"), "0 USD", "0 CNY"),
        (TextToImage(model="step-1x-medium"), "None", "None"),
        (TextToImage(model="nope"), "None", "None"),
        (TextToImage(n=3), "0.009 USD", "0.06 CNY"),
        (TextToImage(extra_body={"n": 3}), "0.009 USD", "0.06 CNY"),
        (TextToImage(n=2, extra_body={"n": 1}), "0.003 USD", "0.02 CNY"),
        (TextToImage(extra_body={"model": "step-2x-large"}), "0.02 USD", "0.1 CNY"),
        (TextToImage(extra_body={"model": "nope"}), "None", "None"),
        (TextToImage(extra_body={"model": ["step-2x-large"]}), "None", "None"),
        (ImageEdit(extra_body={"model": "step-1x-edit", "n": "2"}), "0 USD", "0 CNY"),
    ],
)
def test_the_price_is_that_of_the_region(request_: ImageRequest, international: str, china: str) -> None:
    assert (str(request_.price()), str(request_.price("china"))) == (international, china)


@pytest.mark.parametrize(
    ("n", "images"),
    [
        *[(None, 1), (1, 1), (3, 3), (3.0, 3), (2.5, 3), ("3", 3), (" 3 ", 3), ("3.0", 3), ("1e2", 100), (True, 1)],
        *[(0, 1), (-5, 1), ("-1", 1), (0.0, 1), (10**6000, 10**6000)],
        *[("many", None), ("", None), ("inf", None), ([3], None), ({"n": 3}, None), ("9" * 5000, None)],
    ],
    ids=range(21),
)
def test_how_many_images_are_bought_is_read_as_any_server_may(n: Any, images: int | None) -> None:
    assert TextToImage(prompt="a", n=n).read().purchase.images == images
    if n is not None:
        assert TextToImage(prompt="a", n=1, extra_body={"n": n}).read().purchase.images == images


# --- fingerprints ------------------------------------------------------------------------------------------


def test_a_fingerprint_is_64_hex_digits_and_stays_the_same_from_release_to_release() -> None:
    """Journals of batch jobs carry them: a change here makes finished images be bought again."""
    assert TextToImage(prompt="a lake", steps=5, size="16:9").fingerprint() == (
        "6f07bdba695005cdf8d694baa80b218dbc6687a358b1de8e786d6890efd11635"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "a sea"},
        {"model": "step-2x-large"},
        {"size": "1:1"},
        {"n": 1},
        {"response_format": "url"},
        {"seed": 1},
        {"steps": 9},
        {"cfg_scale": 2.0},
        {"negative_prompt": "people"},
        {"text_mode": True},
        {"extra_body": {"quality": 1}},
        {"sparkle": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_parameter_changes_the_fingerprint(changed: dict[str, Any]) -> None:
    base: dict[str, Any] = {"prompt": "a lake"}
    assert TextToImage(**base).fingerprint() != TextToImage(**{**base, **changed}).fingerprint()


@pytest.mark.parametrize("changed", [{"image": BLUE}, {"source_weight": 0.4}, {"prompt": "b"}])
def test_images_and_weights_change_the_fingerprint(changed: dict[str, Any]) -> None:
    base: dict[str, Any] = {"prompt": "a", "image": PNG, "source_weight": 0.5}
    assert ImageToImage(**base).fingerprint() != ImageToImage(**{**base, **changed}).fingerprint()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"size": "16:9"}, {"size": "768x1360"}),
        ({"size": "16:9"}, {"size": Size(width=1360, height=768)}),
        ({"cfg_scale": 1}, {"cfg_scale": 1.0}),
        ({"extra_body": {"a": 1, "b": 2}}, {"extra_body": {"b": 2, "a": 1}}),
        ({"extra_body": {}}, {}),
        ({"seed": None}, {}),
    ],
)
def test_two_ways_to_say_the_same_have_one_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert TextToImage(prompt="a", **one).fingerprint() == TextToImage(prompt="a", **other).fingerprint()


def test_the_same_parameters_of_another_operation_have_another_fingerprint() -> None:
    edit, start = (kind(model="acme", prompt="a", image=PNG) for kind in (ImageEdit, ImageToImage))
    assert edit.fingerprint() != start.fingerprint()


@pytest.mark.parametrize("kind", [ImageEdit, ImageToImage])
def test_an_image_has_one_fingerprint_however_it_is_handed_in(
    kind: type[ImageEdit | ImageToImage], tmp_path: Path
) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(PNG)
    uri = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    ways: list[Any] = [
        path,
        str(path),
        PNG,
        bytearray(PNG),
        memoryview(PNG),
        io.BytesIO(PNG),
        uri,
        Image(data=PNG, format="png"),
    ]
    assert len({kind(prompt="a", image=way).fingerprint() for way in ways}) == 1


@pytest.mark.parametrize("kind", [ImageEdit, ImageToImage])
def test_equal_images_in_memory_have_one_fingerprint(kind: type[ImageEdit | ImageToImage]) -> None:
    assert kind(prompt="a", image=_image()).fingerprint() == kind(prompt="a", image=_image()).fingerprint()


def test_a_request_without_a_readable_image_has_no_fingerprint() -> None:
    with pytest.raises(InvalidRequestError, match="image"):
        ImageEdit(prompt="a", image="no/such/file.png").fingerprint()
    style = {"source_url": "no/such/file.png"}
    with pytest.raises(InvalidRequestError, match=r"style_reference\.source_url"):
        TextToImage(model="step-1x-medium", prompt="a", style_reference=style).fingerprint()


@given(prompt=st.text(), seed=st.integers(), extra=st.dictionaries(st.text(), st.integers() | st.text()))
def test_equal_requests_have_equal_fingerprints(prompt: str, seed: int, extra: dict[str, Any]) -> None:
    prints = {TextToImage(prompt=prompt, seed=seed, extra_body=dict(extra)).fingerprint() for _ in range(2)}
    assert len(prints) == 1
    assert TextToImage(prompt=prompt, seed=seed + 1, extra_body=extra).fingerprint() not in prints or "seed" in extra


# --- images are read once --------------------------------------------------------------------------------------


def test_a_file_object_is_read_once() -> None:
    file = CountingFile(PNG)
    request = ImageEdit(prompt="a", image=file)
    assert file.reads == 0, "building a request reads nothing"
    for _ in range(2):
        assert request.problems() == ()
        assert request.to_call().files["image"].data == PNG
        request.fingerprint()
        request.notices()
    assert file.reads == 1


def test_a_style_s_file_object_is_read_once() -> None:
    file = CountingFile(PNG)
    request = TextToImage(model="step-1x-medium", prompt="a", style_reference={"source_url": file})
    assert request.problems() == ()
    assert (request.to_call().json or {})["style_reference"]["source_url"].startswith("data:image/png;base64,")
    assert file.reads == 1


def test_a_path_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    for request in (ImageEdit(prompt="a", image=path), ImageEdit(prompt="a", image=Image(path=path, format="png"))):
        assert request.problems() == ()
        upload = request.to_call().files["image"]
        assert not isinstance(upload.content, bytes)
        assert (upload.size, upload.data, upload.content_type) == (len(PNG), PNG, "image/png")


def test_a_file_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    request = ImageEdit(prompt="a", image=path)
    before = request.fingerprint()
    assert request.problems() == ()
    path.write_bytes(BLUE + b"x")
    assert request.problems() == ()
    assert request.to_call().files["image"].data == BLUE + b"x"
    assert request.fingerprint() != before
    path.write_bytes(PNG[:-4])
    assert "cut off" in str(request.problems()[0])
    path.unlink()
    assert "No such file" in str(request.problems()[0])
    with pytest.raises(InvalidRequestError, match="No such file"):
        request.to_call()


def test_a_file_has_the_fingerprint_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for content in (PNG, PNG + bytes(1_000_000)):
        path.write_bytes(content)
        prints = {ImageEdit(prompt="a", image=image).fingerprint() for image in (path, str(path), content)}
        prints |= {ImageEdit(prompt="a", image=Image(path=path)).fingerprint()}
        assert len(prints) == 1


@pytest.mark.parametrize("kind", [ImageEdit, ImageToImage])
def test_a_file_that_changes_while_it_is_read_is_refused(
    kind: Callable[..., ImageRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    request = kind(prompt="a", image=path)
    assert request.problems()[1:] == ()
    path.write_bytes(BLUE + b"x")
    monkeypatch.setattr(FileSource, "is_current", lambda _: True)  # as it was a moment ago
    with pytest.raises(InvalidRequestError, match="has changed since it was read") as caught:
        request.fingerprint()
    assert [problem.field for problem in caught.value.problems] == ["image"]


def test_a_copy_keeps_what_was_read() -> None:
    file = CountingFile(PNG)
    request = ImageEdit(prompt="a", image=file)
    request.problems()
    assert request.model_copy(update={"prompt": "b"}).problems() == ()
    assert file.reads == 1


def test_a_copy_with_another_image_sends_that_one_and_the_first_keeps_its_own() -> None:
    file = CountingFile(PNG)
    request = ImageEdit(prompt="a", image=file)
    request.problems()
    other = request.model_copy(update={"image": BLUE})
    assert other.to_call().files["image"].data == BLUE
    assert request.to_call().files["image"].data == PNG
    assert file.reads == 1


def test_a_copy_with_a_bad_image_is_judged_anew() -> None:
    request = ImageEdit(prompt="a", image=PNG)
    assert request.problems() == ()
    assert [problem.field for problem in request.model_copy(update={"image": b"x"}).problems()] == ["image"]


def test_values_leave_out_what_is_not_given() -> None:
    assert dict(TextToImage(prompt="a", seed=0, text_mode=False).values()) == {
        "prompt": "a",
        "response_format": "b64_json",
        "seed": 0,
        "text_mode": False,
    }
