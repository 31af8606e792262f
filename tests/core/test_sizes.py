"""Sizes with named sides: both wire orders, ratios, and how far apart two are."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async import Size
from stepfun_async._core.sizes import RATIOS, Order, ratio_of

sides = st.integers(1, 99999)
sizes = st.builds(Size, width=sides, height=sides)
orders = st.sampled_from(get_args(Order))


def test_the_sides_are_named_so_that_they_cannot_be_swapped() -> None:
    positional: Any = Size
    with pytest.raises(TypeError):
        positional(1360, 768)
    assert repr(Size(width=1360, height=768)) == "Size(width=1360, height=768)"


@pytest.mark.parametrize(("order", "wire"), [("width x height", "1360x768"), ("height x width", "768x1360")])
def test_the_order_decides_which_side_is_written_first(order: Order, wire: str) -> None:
    size = Size(width=1360, height=768)
    assert size.to_wire(order) == wire
    assert Size.from_wire(wire, order) == size


@pytest.mark.parametrize(
    ("width", "height", "label"),
    [
        (1360, 768, "1360 x 768 (16:9, landscape)"),
        (896, 1184, "896 x 1184 (3:4, portrait)"),
        (512, 512, "512 x 512 (square)"),
        (1000, 700, "1000 x 700 (landscape)"),
        (0, 5, "0 x 5"),
    ],
)
def test_a_label_says_what_a_size_looks_like_and_is_no_wire_string(width: int, height: int, label: str) -> None:
    assert Size(width=width, height=height).label == label
    assert Size.from_wire(label, "height x width") is None


@given(size=sizes, order=orders)
def test_wire_strings_round_trip(size: Size, order: Order) -> None:
    assert Size.from_wire(size.to_wire(order), order) == size


@given(size=sizes)
def test_the_two_orders_mean_turned_images(size: Size) -> None:
    turned = Size.from_wire(size.to_wire("width x height"), "height x width")
    assert turned == Size(width=size.height, height=size.width)


@pytest.mark.parametrize("text", ["", "1024", "x", "1024X1024", "1024*1024", "-1x5", " 1x1", "1x1\n", "1.0x1", "１x１"])  # noqa: RUF001
def test_what_is_no_wire_string_is_none(text: str) -> None:
    assert Size.from_wire(text, "width x height") is None


@given(text=st.text())
def test_any_text_is_a_size_or_none(text: str) -> None:
    ratio = ratio_of(text)
    assert ratio is None or ratio > 0
    assert Size.from_wire(text, "width x height") is None or text.count("x") == 1


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_common_ratios_are_far_enough_apart_to_tell(ratio: str) -> None:
    width, height = (int(side) * 100 for side in ratio.split(":"))
    assert [name for name in RATIOS if Size(width=width, height=height).fits_ratio(name)] == [ratio]


@pytest.mark.parametrize("ratio", ["", "16", "16:", "0:1", "1:0", "16/9", "16:9 ", "-1:1", "10000000:1", "a:b"])
def test_what_is_no_ratio_fits_nothing(ratio: str) -> None:
    assert ratio_of(ratio) is None
    assert not Size(width=1, height=1).fits_ratio(ratio)


@given(width=st.integers(1, 9999), height=st.integers(1, 9999))
def test_a_ratio_is_width_over_height(width: int, height: int) -> None:
    assert ratio_of(f"{width}:{height}") == width / height


@pytest.mark.parametrize("side", [0, -1, 1.0, "1", None, True, math.nan, 10**400])
def test_sides_that_no_image_has_are_shown_without_an_error(side: Any) -> None:
    size = Size(width=side, height=1)
    assert size.possible == (side == 10**400)
    assert not size.fits_ratio("1:1")


@given(one=sizes, other=sizes)
def test_distance_is_0_for_the_same_and_the_same_both_ways(one: Size, other: Size) -> None:
    assert one.distance(one) == 0
    assert one.distance(other) == pytest.approx(other.distance(one))
    assert (one.distance(other) == 0) == (one == other)


def test_distance_of_a_side_with_hundreds_of_digits() -> None:
    assert Size(width=10**400, height=1).distance(Size(width=1, height=1)) == pytest.approx(1200 * math.log(10))


def test_sizes_are_values() -> None:
    assert {Size(width=1, height=2), Size(width=1, height=2)} == {Size(width=1, height=2)}
    frozen: Any = Size(width=1, height=2)
    with pytest.raises(AttributeError):
        frozen.width = 3
