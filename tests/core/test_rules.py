"""The laws that every rule of every row keeps: inside passes, outside fails, and what is nearest is allowed."""

from __future__ import annotations

import json
import math
import numbers
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stepfun_async import Size
from stepfun_async._core.capabilities import BUILT_IN
from stepfun_async._core.image_rules import ImageInput, Style
from stepfun_async._core.input_images import ImageURL, InputImage, InvalidImage
from stepfun_async._core.rules import Boolean, Choice, Ignored, Integer, Number, Rule, Text, Violation, closest
from stepfun_async._core.size_rules import Sizes


def _rules(kind: type[Rule]) -> list[Any]:
    """Every rule of the table, each once, named by the first row that has it."""
    named = [
        (rule, f"{row.model}-{row.operation}-{name}")
        for row in reversed(BUILT_IN)
        for name, rule in row.rules.items()
        if isinstance(rule, kind)
    ]
    return [pytest.param(rule, id=name) for rule, name in dict(named).items()]


def _fault(rule: Rule, value: object) -> Violation:
    fault = rule.judge(value)
    assert fault is not None, f"{value!r} was allowed"
    assert fault.nearest is None or rule.judge(fault.nearest) is None, "what is nearest is not allowed itself"
    return fault


class NumpyInt:
    """As numpy's whole numbers are: no `int`, but registered as `Integral`."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        return self.value

    def __index__(self) -> int:
        return self.value

    def __float__(self) -> float:
        return float(self.value)


class NumpyFloat:
    """As numpy's float32 is: no `float`, but registered as `Number`."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


class Array:
    """As numpy's arrays are: a comparison is an array, whose truth is an error."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = object.__hash__


numbers.Integral.register(NumpyInt)
numbers.Real.register(NumpyFloat)

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
    st.tuples(st.integers(), st.integers()),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
    st.builds(Size, width=st.integers(), height=st.integers()),
    st.just(10**400),
    st.just(-(10**5000)),
    st.builds(Array),
    st.builds(object),
)


@pytest.mark.parametrize("rule", _rules(Rule))
@given(value=anything)
def test_any_value_is_judged_and_what_is_nearest_is_allowed(rule: Rule, value: object) -> None:
    for fault in rule.faults(value):
        assert isinstance(fault, Violation)
        if not isinstance(rule, Style):
            assert fault.nearest is None or rule.judge(fault.nearest) is None


@pytest.mark.parametrize("rule", _rules(Rule))
def test_what_is_allowed_is_said_in_words(rule: Rule) -> None:
    assert rule.allowed
    assert "None" not in rule.allowed


@pytest.mark.parametrize("rule", _rules(Rule))
def test_every_default_is_allowed_itself(rule: Rule) -> None:
    assert rule.default is None or rule.judge(rule.default) is None


# --- text -----------------------------------------------------------------------------------------

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@pytest.mark.parametrize("rule", _rules(Text))
@pytest.mark.parametrize("character", ["a", "湖", "🏔", "\U0010ffff", "\n", "\x01"])
def test_text_is_counted_in_code_points(rule: Text, character: str) -> None:
    assert rule.judge(character * rule.maximum) is None
    fault = _fault(rule, character * (rule.maximum + 1))
    assert fault.why == f"{rule.maximum + 1:,} characters"
    assert fault.nearest == character * rule.maximum


def test_512_cjk_characters_pass_though_they_are_1536_bytes() -> None:
    text = "湖" * 512
    assert len(text.encode()) == 1536
    assert Text(minimum=1, maximum=512).judge(text) is None


@pytest.mark.parametrize("rule", _rules(Text))
@given(text=st.text(characters, max_size=2000))
def test_text_passes_exactly_within_its_lengths(rule: Text, text: str) -> None:
    assert (rule.judge(text) is None) == (rule.minimum <= len(text) <= rule.maximum)


@pytest.mark.parametrize("rule", _rules(Text))
@pytest.mark.parametrize("text", ["\0", "A lake\0", "\0A\0 \0f\0o\0x", "\ud800\0"])
def test_a_nul_is_refused_wherever_it_stands(rule: Text, text: str) -> None:
    fault = _fault(rule, text)
    assert "NUL" in fault.why
    assert fault.nearest in (None, "A lake", "A fox")


@pytest.mark.parametrize("rule", _rules(Text))
@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud800" * 600, "🏔" * 600 + "\udc00"])
def test_half_a_surrogate_pair_is_refused(rule: Text, text: str) -> None:
    _fault(rule, text)


@pytest.mark.parametrize("value", [None, 5, b"text", ["a"], True])
def test_text_is_only_text(value: object) -> None:
    assert "not text" in _fault(Text(), value).why


@given(text=st.text(max_size=20), bounds=st.tuples(st.integers(0, 10), st.integers(0, 10)).map(sorted))
def test_the_nearest_text_is_allowed_for_any_bounds(text: str, bounds: list[int]) -> None:
    rule = Text(minimum=bounds[0], maximum=bounds[1])
    if rule.judge(text) is not None:
        _fault(rule, text)


def test_too_short_a_text_has_no_nearest_one() -> None:
    assert _fault(Text(minimum=5, maximum=9), "abc").nearest is None


# --- numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", _rules(Integer))
@given(data=st.data())
def test_every_whole_number_inside_passes(rule: Integer, data: st.DataObject) -> None:
    number = data.draw(st.integers(rule.minimum, rule.maximum))
    assert rule.judge(number) is None
    assert rule.judge(NumpyInt(number)) is None


@pytest.mark.parametrize("rule", _rules(Integer))
@given(data=st.data())
def test_every_whole_number_outside_fails_and_the_nearest_end_is_named(rule: Integer, data: st.DataObject) -> None:
    below = data.draw(st.integers(max_value=rule.minimum - 1))
    above = data.draw(st.integers(min_value=rule.maximum + 1))
    assert _fault(rule, below).nearest == rule.minimum
    assert _fault(rule, above).nearest == rule.maximum
    assert _fault(rule, NumpyInt(above)).nearest == rule.maximum


@pytest.mark.parametrize("rule", [*_rules(Integer), *_rules(Number)])
@pytest.mark.parametrize(
    "value", [True, False, None, "x", "", b"5", 1j, [5], math.nan, math.inf, -math.inf, "nan", Array()]
)
def test_what_is_no_number_is_refused_without_a_nearest_one(rule: Rule, value: object) -> None:
    assert _fault(rule, value).nearest is None


@pytest.mark.parametrize("rule", _rules(Integer))
@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_a_whole_number_exactly_if_it_has_no_fraction(rule: Integer, number: float) -> None:
    inside = number.is_integer() and rule.minimum <= number <= rule.maximum
    assert (rule.judge(number) is None) == inside
    if not inside:
        assert type(_fault(rule, number).nearest) is int


class Scalar:
    """As the scalars of numpy and torch are: `item()` gives Python's own value."""

    shape = ()
    dtype = "any"

    def __init__(self, value: object, text: str | None = None) -> None:
        self._value = value
        self._text = str(value) if text is None else text

    def item(self) -> object:
        return self._value

    def __str__(self) -> str:
        return self._text


WHOLE = Integer(minimum=0, maximum=2**31 - 1)
REAL = Number(minimum=0, maximum=10)


@pytest.mark.parametrize(
    ("rule", "value", "wire"),
    [
        (WHOLE, 5.0, 5),
        (WHOLE, Decimal(5), 5),
        (WHOLE, Decimal("5.00"), 5),
        (WHOLE, Fraction(10, 2), 5),
        (WHOLE, NumpyFloat(5.0), 5),
        (WHOLE, Scalar(5), 5),
        (WHOLE, Scalar(5.0), 5),
        (WHOLE, 2147483647.0, 2147483647),
        (REAL, Decimal("2.50"), 2.5),
        (REAL, Decimal(2), 2.0),
        (REAL, Scalar(1.100000023841858, "1.1"), 1.1),
        (REAL, Scalar(1.100000023841858, "tensor(1.1000)"), 1.100000023841858),
        (REAL, Scalar(3), 3.0),
        (Boolean(), Scalar(value=True), True),
        (Boolean(), Scalar(value=False), False),
    ],
)
def test_a_number_or_truth_value_of_any_type_is_sent_as_what_it_is(rule: Rule, value: object, wire: object) -> None:
    assert rule.judge(value) is None
    sent = rule.to_wire(value)
    assert (sent, type(sent)) == (wire, type(wire))


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (WHOLE, 5.5),
        (WHOLE, Decimal("5.5")),
        (WHOLE, Fraction(11, 2)),
        (WHOLE, Scalar(5.5)),
        (WHOLE, Scalar(value=True)),
        (WHOLE, Decimal("NaN")),
        (WHOLE, Decimal("1E+999999")),
        (WHOLE, math.inf),
        (REAL, Decimal("Infinity")),
        (REAL, Decimal("sNaN")),
        (REAL, Scalar(math.nan)),
        (REAL, Scalar(value=True)),
        (Boolean(), Scalar(1)),
    ],
)
def test_a_value_of_another_kind_is_refused_whatever_its_type(rule: Rule, value: object) -> None:
    _fault(rule, value)


@pytest.mark.parametrize(
    ("value", "nearest"),
    [("8", 8), ("99", 50), (" 7 ", 7), (8.4, 8), (Fraction(17, 2), 8), (10**400, None), (-(10**400), None)],
)
def test_the_whole_number_meant_is_named(value: object, nearest: int | None) -> None:
    assert _fault(Integer(minimum=1, maximum=50), value).nearest == nearest


@pytest.mark.parametrize("rule", _rules(Number))
@given(data=st.data())
def test_every_number_inside_passes(rule: Number, data: st.DataObject) -> None:
    number = data.draw(st.floats(rule.minimum, rule.maximum, exclude_min=rule.above))
    assert rule.judge(number) is None
    assert rule.judge(NumpyFloat(number)) is None
    assert rule.judge(int(rule.maximum)) is None


@pytest.mark.parametrize("rule", _rules(Number))
@given(data=st.data())
def test_every_number_outside_fails(rule: Number, data: st.DataObject) -> None:
    below = data.draw(st.floats(max_value=rule.minimum, exclude_max=not rule.above, allow_infinity=False))
    above = data.draw(st.floats(min_value=rule.maximum, exclude_min=True, allow_infinity=False))
    assert _fault(rule, below).nearest == (None if rule.above else rule.minimum)
    assert _fault(rule, above).nearest == rule.maximum
    assert _fault(rule, NumpyFloat(above)).nearest == rule.maximum


@pytest.mark.parametrize("value", [10**400, -(10**400), Fraction(10**400)])
def test_a_number_too_large_for_a_float_is_refused(value: object) -> None:
    assert _fault(Number(minimum=1, maximum=10), value).why == "not a finite number"


@pytest.mark.parametrize(("value", "nearest"), [("2.5", 2.5), ("99", 10.0), (0.5, 1.0), (Decimal("0.5"), 1.0)])
def test_the_number_meant_is_named(value: object, nearest: float | None) -> None:
    assert _fault(Number(minimum=1.0, maximum=10.0), value).nearest == nearest


def test_the_open_end_is_left_out() -> None:
    rule = Number(minimum=0.0, maximum=1.0, above=True)
    assert rule.judge(5e-324) is None
    assert _fault(rule, 0).nearest is None
    assert _fault(rule, -0.0).nearest is None
    assert rule.allowed == "a number above 0 to 1"


@pytest.mark.parametrize(
    ("rule", "value", "wire"),
    [
        (Integer(minimum=1, maximum=9), NumpyInt(5), "5"),
        (Number(minimum=1, maximum=9), NumpyInt(5), "5.0"),
        (Number(minimum=1, maximum=9), NumpyFloat(5.5), "5.5"),
        (Number(minimum=1, maximum=9), 5, "5.0"),
        (Number(minimum=1, maximum=9), Fraction(11, 2), "5.5"),
        (Boolean(), True, "true"),
        (Choice(options=("url",)), "url", '"url"'),
        (Text(), "湖", '"\\u6e56"'),
    ],
)
def test_an_allowed_value_has_a_json_form(rule: Rule, value: object, wire: str) -> None:
    assert rule.judge(value) is None
    assert json.dumps(rule.to_wire(value)) == wire


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        (Integer(minimum=1, maximum=9), "5", 5),
        (Integer(minimum=1, maximum=9), "five", "five"),
        (Integer(minimum=1, maximum=9), "5.0", 5),
        (Integer(minimum=1, maximum=9), " 5. ", 5),
        (Integer(minimum=1, maximum=9), "5.5", "5.5"),
        (Integer(minimum=1, maximum=9), ".0", ".0"),
        (Integer(minimum=1, maximum=9), "1.2E+05", "1.2E+05"),
        (Number(minimum=1, maximum=9), "5", 5.0),
        (Number(minimum=1, maximum=9), "nan", "nan"),
        (Boolean(), "true", True),
        (Boolean(), "False", False),
        (Boolean(), " TRUE ", True),
        (Boolean(), "yes", "yes"),
        (Text(), "5", "5"),
        (Choice(options=("url",)), "url", "url"),
    ],
)
def test_a_value_is_read_from_text_or_left_for_judge_to_refuse(rule: Rule, text: str, value: object) -> None:
    read = rule.from_text(text)
    assert (read, type(read)) == (value, type(value))


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", _rules(Choice))
@given(text=st.text())
def test_a_choice_passes_exactly_its_words(rule: Choice, text: str) -> None:
    assert (rule.judge(text) is None) == (text in rule.options)


@pytest.mark.parametrize(
    ("value", "nearest"), [("URL", "url"), ("b64json", "b64_json"), ("b64-json", "b64_json"), (5, None)]
)
def test_the_word_meant_is_named(value: object, nearest: str | None) -> None:
    assert _fault(Choice(options=("url", "b64_json")), value).nearest == nearest


@pytest.mark.parametrize(
    ("value", "nearest"), [(1, True), (0, False), ("1", True), (2, None), ("x", None), (Array(), None)]
)
def test_a_flag_is_only_a_truth_value(value: object, nearest: bool | None) -> None:
    assert [Boolean().judge(truth) for truth in (True, False)] == [None, None]
    assert _fault(Boolean(), value).nearest is nearest


def test_closest_gives_the_option_spelled_alike_or_none() -> None:
    assert closest("STPES", ("steps", "seed")) == "steps"
    assert closest("quality", ("steps", "seed")) is None


# --- sizes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", _rules(Sizes))
def test_every_option_passes_as_value_as_wire_string_and_by_ratio(rule: Sizes) -> None:
    for option, wire in zip(rule.options, rule.wire_options, strict=True):
        assert rule.judge(option) is None
        assert rule.judge(wire) is None
        assert rule.to_wire(option) == rule.to_wire(wire) == wire
        assert rule.pick(wire) == option
    for ratio in rule.ratios:
        assert rule.judge(ratio) is None
        picked = rule.pick(ratio)
        assert picked in rule.options
        assert picked is not None
        assert picked.fits_ratio(ratio)


@pytest.mark.parametrize("rule", _rules(Sizes))
@given(width=st.integers(-10, 3000), height=st.integers(-10, 3000))
def test_every_other_size_fails(rule: Sizes, width: int, height: int) -> None:
    size = Size(width=width, height=height)
    assume(size not in rule.options)
    fault = _fault(rule, size)
    assert (fault.nearest in rule.options) == size.possible
    if size.possible:
        assert rule.pick(_fault(rule, size.to_wire(rule.order)).nearest) in rule.options
        assert _fault(rule, (width, height)).nearest in rule.options


@pytest.mark.parametrize("rule", _rules(Sizes))
@given(text=st.text() | st.from_regex(r"\d{1,5}[x:*]\d{1,5}", fullmatch=True))
def test_any_text_is_a_size_or_refused(rule: Sizes, text: str) -> None:
    if rule.judge(text) is None:
        assert rule.to_wire(text) in rule.wire_options
    else:
        _fault(rule, text)


def _edit_2() -> Sizes:
    rule = BUILT_IN[0].sizes
    assert rule is not None
    return rule


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        ("1360×768", Size(width=768, height=1360)),  # noqa: RUF001
        ("1360 * 768", Size(width=768, height=1360)),
        ("1360X768", Size(width=768, height=1360)),
        ("1360x770", Size(width=768, height=1360)),
        ("21:9", "16:9"),
        ("square", None),
        ((1360, 770), Size(width=1360, height=768)),
        ([1360, 770], Size(width=1360, height=768)),
        (Size(width=1300, height=800), Size(width=1360, height=768)),
        (1024, None),
        (Size(width=10**400, height=1), Size(width=1360, height=768)),
    ],
)
def test_the_size_meant_is_named_with_its_sides_where_the_height_comes_first(value: object, nearest: object) -> None:
    assert _fault(_edit_2(), value).nearest == nearest


@pytest.mark.parametrize(
    ("ratio", "wire"),
    [("1:1", "1024x1024"), ("16:9", "768x1360"), ("9:16", "1360x768"), ("4:3", "896x1184"), ("3:4", "1184x896")],
)
def test_ratios_are_width_to_height_though_the_wire_is_height_by_width(ratio: str, wire: str) -> None:
    assert _edit_2().to_wire(ratio) == wire


def test_of_sizes_with_the_same_ratio_the_default_else_the_widest_is_taken() -> None:
    squares = (Size(width=256, height=256), Size(width=512, height=512), Size(width=128, height=128))
    assert Sizes(options=squares, default="256x256").to_wire("1:1") == "256x256"
    assert Sizes(options=squares, default=None).to_wire("1:1") == "512x512"


def test_a_size_equal_to_an_option_is_sent_as_that_option() -> None:
    odd: Any = Size(width=1360.0, height=NumpyLikeEqual(768))  # type: ignore[arg-type]
    assert _edit_2().judge(odd) is None
    assert _edit_2().to_wire(odd) == "768x1360"


class NumpyLikeEqual(int):
    """An `int` that prints otherwise, as numpy's do."""

    def __repr__(self) -> str:
        return f"np.int64({int(self)})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)


def test_without_a_size_the_default_is_meant() -> None:
    assert _edit_2().pick(None) == Size(width=1024, height=1024)


# --- images ---------------------------------------------------------------------------------------------------

PHOTO = ImageInput(formats=("png", "jpeg"), max_bytes=100, min_side=64, max_side=4096, max_ratio=3.0)


def _image(
    width: int = 100, height: int = 100, *, size: int = 10, format: str = "png", complete: bool = True
) -> InputImage:
    return InputImage(b"x" * size, format, width, height, complete)


@pytest.mark.parametrize(
    "image",
    [
        _image(),
        _image(64, 64),
        _image(4096, 4096),
        _image(64, 192),
        _image(192, 64),
        _image(size=100),
        _image(format="jpeg"),
    ],
)
def test_images_within_the_limits_pass(image: InputImage) -> None:
    assert PHOTO.judge(image) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (_image(63, 64), "63x64 pixels"),
        (_image(64, 63), "64x63 pixels"),
        (_image(4097, 4096), "4097x4096 pixels"),
        (_image(4096, 4097), "4096x4097 pixels"),
        (_image(64, 193), "1:3.02"),
        (_image(193, 64), "1:3.02"),
        (_image(size=101), "101 bytes"),
        (_image(format="webp"), "the bytes are webp"),
        (_image(complete=False), "cut off"),
        (InvalidImage("it is empty"), "it is empty"),
        (ImageURL("https://example.com/a.png"), "download"),
        (None, "nothing, not an image"),
        (5, "an int, not an image"),
    ],
)
def test_images_beyond_the_limits_are_refused_with_the_reason(value: object, why: str) -> None:
    assert why in _fault(PHOTO, value).why


def test_links_pass_where_the_endpoint_fetches_them() -> None:
    assert ImageInput(formats=("png",), max_side=1, links=True).judge(ImageURL("https://example.com/a.png")) is None


def test_a_style_reference_names_every_bad_part() -> None:
    rule = Style(image=PHOTO, weight=Number(minimum=0, above=True, maximum=2))
    faults = rule.faults({"source_url": InvalidImage("gone"), "weight": 3, "wieght": 1})
    assert [(fault.part, fault.nearest) for fault in faults] == [
        ("source_url", None),
        ("weight", 2),
        ("wieght", "weight"),
    ]
    assert [fault.part for fault in rule.faults({})] == ["source_url"]
    assert [fault.why for fault in rule.faults("cat.png")] == ["a str, not a mapping"]
    assert rule.faults({"source_url": _image(), "weight": None}) == ()


def test_a_style_weight_goes_out_as_a_number() -> None:
    rule = Style(image=PHOTO, weight=Number(minimum=0, above=True, maximum=2))
    image = _image()
    assert rule.to_wire({"source_url": image, "weight": NumpyInt(1)}) == {"source_url": image, "weight": 1.0}
    assert rule.to_wire({"source_url": image, "weight": None}) == {"source_url": image}


@given(value=anything)
def test_what_is_ignored_may_be_anything(value: object) -> None:
    assert Ignored().judge(value) is None
