"""Values made from a row of the tables or beside it, as JSON, for property tests."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st
from PIL import Image as pillow

from stepfun_async import Capability
from stepfun_async._core.image_rules import ImageInput, Style
from stepfun_async._core.rules import Boolean, Choice, Ignored, Integer, Number, Rule, Text
from stepfun_async._core.size_rules import AnySize, Sizes

Values = st.SearchStrategy[Any]


def png(side: int = 64) -> bytes:
    buffer = io.BytesIO()
    pillow.new("RGB", (side, side), "red").save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()
DATA_URI = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
LINK = "https://example.com/a.png"
JUNK: Values = (
    st.none() | st.booleans() | st.integers(-2, 70) | st.floats(allow_nan=False) | st.text(max_size=3) | st.just({})
)
"""JSON values of all types."""

_LETTERS = st.characters(exclude_categories=["Cs"])


def _text(rule: Text) -> Values:
    lengths = st.sampled_from([0, 1, rule.minimum, rule.maximum - 1, rule.maximum, rule.maximum + 1])
    return st.builds(lambda length, letter: letter * max(length, 0), lengths, _LETTERS)


def _integer(rule: Integer) -> Values:
    ends = [rule.minimum - 1, rule.minimum, rule.maximum, rule.maximum + 1]
    return st.sampled_from([*ends, float(rule.minimum), rule.minimum + 0.5])


def _number(rule: Number) -> Values:
    ends = [rule.minimum - 0.001, rule.minimum, rule.minimum + 0.001, rule.maximum, rule.maximum + 0.001]
    return st.sampled_from([*ends, int(rule.maximum)]) | st.floats(rule.minimum, rule.maximum)


def _sizes(rule: Sizes) -> Values:
    sides = [{"width": size.width, "height": size.height} for size in rule.options]
    odd = ["1360x769", "7:13", {"width": 1}, {"width": 1024, "height": 1024, "depth": 1}, {"width": "a", "height": 1}]
    floats = [{"width": float(rule.options[0].width), "height": rule.options[0].height}]
    return st.sampled_from([*rule.wire_options, *rule.ratios, *sides, *odd, *floats])


def _any_size(rule: AnySize) -> Values:
    sides = [{"width": side, "height": 8} for side in (0, 1, 9.0, rule.maximum, rule.maximum + 1, 8.5, "8")]
    texts = ["1x1", "4096x1", "4097x1", "10000x1", "0x8", "8*8", "x8", "16:9", "0:9", "5:4", "1024x768 "]
    return st.sampled_from([*texts, *sides, {"width": 8}, {"width": 8, "height": 8, "depth": 8}])


def _image(rule: ImageInput) -> Values:
    return st.sampled_from([DATA_URI, f" {DATA_URI}", DATA_URI.replace("data:", "DATA:"), LINK, LINK.upper(), ""])


def _style(rule: Style) -> Values:
    parts = {"source_url": _image(rule.image) | st.none(), "weight": _number(rule.weight) | st.none(), "more": JUNK}
    return st.fixed_dictionaries({}, optional=parts)


MAKERS: Mapping[type[Rule], Callable[[Any], Values]] = {
    Text: _text,
    Choice: lambda rule: st.sampled_from([*rule.options, "none"]),
    Boolean: lambda rule: st.booleans(),
    Integer: _integer,
    Number: _number,
    Sizes: _sizes,
    AnySize: _any_size,
    ImageInput: _image,
    Style: _style,
    Ignored: lambda rule: JUNK,
}


_ODD: list[Any] = [None, True, 0, 1.5, "", "a", {}, []]
"""A value of each type of JSON."""


def edges(rule: Rule) -> list[Any]:
    """The values at both sides of each edge of a rule, and one of each type."""
    match rule:
        case Text():
            ends: list[Any] = ["a" * length for length in {rule.minimum, rule.maximum, rule.maximum + 1}]
        case Integer() | Number():
            step = 1 if isinstance(rule, Integer) else 0.001
            ends = [rule.minimum - step, rule.minimum, rule.minimum + step, rule.maximum, rule.maximum + step]
        case Choice():
            ends = [*rule.options]
        case Sizes():
            ends = [*rule.wire_options, *rule.ratios, "1360x769"]
        case _:
            ends = []
    return [*ends, *([] if isinstance(rule, ImageInput) else _ODD)]


USUAL: Mapping[str, Any] = {"prompt": "a lake", "image": DATA_URI, "source_weight": 0.5}
"""Valid values of what some row requires."""


@st.composite
def beside(draw: st.DrawFn, row: Capability) -> dict[str, Any]:
    """A request that is valid but for one or two fields, each with a value near the edges of its rule."""
    required = {name: USUAL[name] for name, rule in row.rules.items() if rule.required}
    more: dict[str, Values] = {"extra_body": st.just({"quality": "high"}) | st.just([1]), "sparkle": st.integers()}
    fields = {name: _near(rule) for name, rule in row.rules.items()} | more
    changed = draw(st.sets(st.sampled_from(sorted(fields)), max_size=2))
    left_out = draw(st.sets(st.sampled_from(sorted(required)), max_size=1)) if draw(st.booleans()) else set[str]()
    return {name: value for name, value in required.items() if name not in left_out} | {
        name: draw(fields[name]) for name in changed
    }


def _near(rule: Rule) -> Values:
    near = MAKERS[type(rule)](rule)
    return near | st.none() if isinstance(rule, ImageInput) else near | JUNK
