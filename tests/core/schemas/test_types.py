"""Requests as pydantic types: what they accept, the errors they raise, and what they write."""

from __future__ import annotations

import base64
import io
import pickle
import warnings
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as pillow

from stepfun_async import (
    Capability,
    ConfigurationError,
    ImageEdit,
    InvalidRequestError,
    Size,
    TextToImage,
    capabilities,
    register_model,
    request_type,
)
from stepfun_async._core.capabilities import BUILT_IN
from stepfun_async._core.image_rules import ImageInput, Style
from stepfun_async._core.requests import REQUESTS
from stepfun_async._core.rules import Boolean, Choice, Ignored, Integer, Number, Rule, Text
from stepfun_async._core.size_rules import Sizes

from .values import DATA_URI, LINK, PNG, Values, beside

TEXT: Values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
LARGE = request_type("step-2x-large", "text_to_image")


# --- writing and reading back ---------------------------------------------------------------------------------


def _whole(rule: Integer) -> Values:
    whole = st.integers(rule.minimum, rule.maximum)
    return whole | whole.map(float) | whole.map(Decimal)


def _number(rule: Number) -> Values:
    between = (rule.minimum + rule.maximum) / 2
    others: list[object] = [int(rule.maximum), Decimal(str(between)), Decimal("1.000"), Fraction(between)]
    return st.floats(rule.minimum + 0.01, rule.maximum) | st.sampled_from(others)


def _sizes(rule: Sizes) -> Values:
    mappings = [{"width": size.width, "height": size.height} for size in rule.options]
    return st.sampled_from([*rule.options, *rule.wire_options, *rule.ratios, *mappings])


def _style(rule: Style) -> Values:
    parts = {"source_url": images(links=True)}
    return st.fixed_dictionaries(parts, optional={"weight": _number(rule.weight) | st.none()})


VALID: Mapping[type[Rule], Callable[[Any], Values]] = {
    Text: lambda rule: TEXT,
    Choice: lambda rule: st.sampled_from(rule.options),
    Boolean: lambda rule: st.booleans(),
    Integer: _whole,
    Number: _number,
    Sizes: _sizes,
    ImageInput: lambda rule: images(links=rule.links),
    Style: _style,
    Ignored: lambda rule: st.just("16:9") | st.just(Size(width=1, height=1)),
}
"""Valid values of each kind of rule, of every type that programs have them in."""


def images(*, links: bool) -> Values:
    ways = ["bytes", "array", "file", "text", "pillow", *(["link"] if links else [])]
    return st.sampled_from(ways).map(_image)


def _image(way: str) -> object:
    file = io.BytesIO(PNG)
    ways: dict[str, object] = {"bytes": PNG, "array": bytearray(PNG), "file": file, "text": DATA_URI, "link": LINK}
    return pillow.open(file) if way == "pillow" else ways[way]


JSON: Values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda parts: st.lists(parts, max_size=2) | st.tuples(parts) | st.dictionaries(TEXT, parts, max_size=2),
    max_leaves=4,
)


@st.composite
def requests(draw: st.DrawFn) -> Any:
    row = draw(st.sampled_from(BUILT_IN))
    chosen = draw(st.sets(st.sampled_from(sorted(row.rules)), max_size=4))
    fields = {
        name: draw(VALID[type(rule)](rule)) for name, rule in row.rules.items() if rule.required or name in chosen
    }
    if draw(st.booleans()):
        fields["extra_body"] = draw(st.dictionaries(TEXT, JSON, max_size=2))
    if draw(st.booleans()):
        return request_type(row.model, row.operation)(**fields)
    return REQUESTS[row.operation](model=row.model, **fields)


@given(request=requests())
def test_reading_is_the_inverse_of_writing(request: Any) -> None:
    kind = type(request)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for again in (
            kind.model_validate(request.model_dump()),
            kind.model_validate(request.model_dump(mode="json", exclude_none=True)),
            kind.model_validate_json(request.model_dump_json()),
            kind.model_validate_json(request.model_dump_json(exclude_unset=True).encode()),
        ):
            assert type(again) is kind
            assert again == request
            assert hash(again) == hash(request)
            assert again.fingerprint() == request.fingerprint()


@given(junk=st.dictionaries(st.sampled_from([*TextToImage.model_fields, "image", "sparkle"]), JSON | st.binary()))
def test_any_request_can_be_written(junk: dict[str, Any]) -> None:
    for kind in REQUESTS.values():
        request = kind(**junk)
        assert set(request.model_dump()) >= junk.keys()
        assert isinstance(request.model_dump_json(), str)


def test_a_file_is_written_as_a_data_uri_and_equals_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    request = ImageEdit(prompt="a", image=tmp_path / "a.png")
    written = request.model_dump(exclude_unset=True)
    assert written == {"prompt": "a", "image": DATA_URI}
    assert ImageEdit.model_validate(written) == request == ImageEdit(prompt="a", image=str(tmp_path / "a.png"))
    assert request != ImageEdit(prompt="a", image=base64.b64decode("AAAA"))


def test_fields_can_be_left_out_when_writing() -> None:
    request = TextToImage(prompt="a", steps=None, size="16:9")
    assert request.model_dump(include={"prompt"}) == {"prompt": "a"}
    assert request.model_dump(include={"prompt", "size"}, exclude={"size"}) == {"prompt": "a"}
    assert set(request.model_dump(exclude_none=True)) == {"model", "prompt", "size", "response_format"}
    assert set(request.model_dump(exclude_unset=True)) == {"prompt", "steps", "size"}
    assert set(request.model_dump(exclude_defaults=True)) == {"prompt", "size"}


# --- what is accepted -----------------------------------------------------------------------------------------


def errors_of(kind: Any, values: object) -> list[tuple[str, str]]:
    try:
        pydantic.TypeAdapter(kind).validate_python(values)
    except pydantic.ValidationError as error:
        return [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
    return []


@given(data=st.data(), row=st.sampled_from(BUILT_IN))
def test_errors_are_the_problems_each_at_its_field(data: st.DataObject, row: Capability) -> None:
    values = data.draw(beside(row))
    base = REQUESTS[row.operation]
    wanted = [str(problem) for problem in base(model=row.model, **values).problems()]
    for kind, fields in ((base, {"model": row.model, **values}), (request_type(row.model, row.operation), values)):
        found = [f"{place}: {message}" for place, message in errors_of(kind, fields)]
        assert len(found) == len(wanted)
        assert {each for each in found if "names no file" not in each} <= set(wanted)


@pytest.mark.parametrize("body", [[], "a lake", 5, None, True, {1: 2}])
def test_what_is_no_object_is_refused_in_pydantic_s_words(body: object) -> None:
    for kind in (TextToImage, LARGE):
        [(place, message)] = errors_of(kind, body)
        assert (place, message.split(" or ")[0]) == ("", "Input should be a valid dictionary")


@pytest.mark.parametrize(
    "name", ["_fields_set", "_memo", "self", "model_fields", "__class__", "__pydantic_extra__", ""]
)
def test_no_name_of_a_field_means_anything_to_python(name: str) -> None:
    for kind in (TextToImage, LARGE):
        assert [place for place, _ in errors_of(kind, {"prompt": "a", name: ["steps"]})] == [name]


def test_the_model_chooses_the_row() -> None:
    assert errors_of(TextToImage, {"prompt": "a", "size": "768x1360"}) == []
    [(place, message)] = errors_of(TextToImage, {"model": "step-2x-large", "prompt": "a", "size": "768x1360"})
    assert (place, message[:14]) == ("size", "got '768x1360'")
    [(place, message)] = errors_of(TextToImage, {"model": "step-1x-edit", "prompt": "a"})
    assert place == "model"
    assert "step-1x-edit has edit, not text_to_image" in message


def test_text_that_is_validated_names_no_file_here(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    path = str(tmp_path / "a.png")
    style = {"model": "step-1x-medium", "prompt": "a", "style_reference": {"source_url": path, "weight": 3}}
    assert [place for place, _ in errors_of(ImageEdit, {"prompt": "a", "image": path})] == ["image"]
    assert [place for place, _ in errors_of(TextToImage, style)] == ["style_reference.source_url"]
    assert errors_of(ImageEdit, {"prompt": "a", "image": Path(path)}) == []
    assert ImageEdit(prompt="a", image=path).problems() == ()


def test_an_error_repeats_no_whole_image() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        ImageEdit.model_validate({"prompt": "a", "image": DATA_URI + "A" * 100_000, "steps": 0})
    assert len(str(caught.value.errors())) < 2_000


def test_words_in_braces_stay_as_they_are() -> None:
    [(_, message)] = errors_of(TextToImage, {"prompt": "a", "steps": "{allowed} {problem}"})
    assert "got '{allowed} {problem}'" in message


def test_requests_are_fields_of_other_models() -> None:
    class Order(pydantic.BaseModel):
        request: TextToImage | ImageEdit

    assert isinstance(Order.model_validate({"request": {"prompt": "a", "image": DATA_URI}}).request, ImageEdit)
    order = Order(request=TextToImage(prompt="a"))
    assert Order.model_validate_json(order.model_dump_json()) == order
    [(place, _), *others] = errors_of(Order, {"request": {"prompt": "a", "steps": 0}})
    assert place == "request.function-plain[TextToImage()].steps"
    assert {place.rpartition(".")[2] for place, _ in others} == {"steps", "image"}
    with pytest.raises(pydantic.ValidationError, match="steps"):
        Order(request=TextToImage(prompt="a", steps=0))


# --- classes of one row ---------------------------------------------------------------------------------------


def test_a_class_of_one_row_is_made_once_and_pickles() -> None:
    assert request_type("step-2x-large", "text_to_image") is LARGE
    assert issubclass(LARGE, TextToImage)
    assert repr(LARGE) == "request_type('step-2x-large', 'text_to_image')"
    assert pickle.loads(pickle.dumps(LARGE)) is LARGE
    request = LARGE(prompt="a lake", steps=3)
    assert repr(request).startswith("Step2xLargeTextToImage(model='step-2x-large', prompt='a lake'")
    assert pickle.loads(pickle.dumps(request)) == request
    assert request.price() == capabilities("step-2x-large", "text_to_image").prices["international"]


def test_a_class_of_one_row_takes_valid_values_only() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        LARGE(prompt="", steps=99, text_mode=True)
    assert [error["loc"] for error in caught.value.errors()] == [("prompt",), ("steps",), ("text_mode",)]
    with pytest.raises(pydantic.ValidationError, match="only 'step-2x-large'"):
        LARGE(model="step-image-edit-2", prompt="a")


def test_its_fields_have_the_row_s_constraints() -> None:
    fields = LARGE.model_fields
    assert fields["prompt"].is_required()
    assert [repr(bound) for bound in fields["prompt"].metadata] == ["MinLen(min_length=1)", "MaxLen(max_length=512)"]
    assert "le=50" in repr(get_args(fields["steps"].annotation)[0])
    assert fields["text_mode"].annotation is type(None)
    assert get_args(fields["model"].annotation) == ("step-2x-large",)


def test_its_schema_is_that_of_the_row() -> None:
    schema = LARGE.model_json_schema()
    assert (
        schema["properties"]["steps"]
        == capabilities("step-2x-large", "text_to_image").json_schema()["properties"]["steps"]
    )
    assert schema["required"] == ["prompt"]


def test_a_model_registered_anew_gets_a_new_class() -> None:
    with pytest.raises(ConfigurationError, match=r"no model 'acme 4\.5/x' with operation 'edit'"):
        request_type("acme 4.5/x", "edit")
    kinds: list[Any] = []
    for high in (4, 5):
        register_model("acme 4.5/x", like="step-2x-large", ranges={"steps": (1, high)})
        kinds.append(request_type("acme 4.5/x", "text_to_image"))
        kinds[-1](prompt="a", steps=high)
        assert [place for place, _ in errors_of(TextToImage, {"model": "acme 4.5/x", "prompt": "a", "steps": 6})] == [
            "steps"
        ]
    assert kinds[0] is not kinds[1]
    assert kinds[0].__name__.isidentifier()


@pytest.mark.parametrize(
    ("model", "operation"), [("nope", "edit"), ("step-2x-large", "edit"), ("step-2x-large", "fly")]
)
def test_an_unknown_model_or_operation_is_named(model: str, operation: Any) -> None:
    with pytest.raises(ConfigurationError, match=operation):
        request_type(model, operation)


# --- sizes known at run time ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("1360x768 px", Size(width=1360, height=768)),
        ("1360 \u00d7 768px", Size(width=1360, height=768)),
        ((768, 1360), Size(width=768, height=1360)),
        ([1, 2], Size(width=1, height=2)),
        (Size(width=3, height=4), Size(width=3, height=4)),
        ("16:9", "16:9"),
        (" 4:3 ", "4:3"),
    ],
)
def test_sizes_are_parsed(given: Any, size: Size | str) -> None:
    assert Size.parse(given) == size


@pytest.mark.parametrize(
    "given", ["1360x768", "", "wide", "0x768 px", (1,), (1, 2, 3), (1.5, 2), (True, 2), 7, None, "0:9"]
)
def test_sizes_without_a_meaning_are_refused(given: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"Size\.parse has 1 problem") as caught:
        Size.parse(given)
    assert caught.value.problems[0].field == "size"
