"""The line that says how far a piece of work is: what is in it, and what it leaves out where there is little room."""

from __future__ import annotations

from decimal import Decimal

import pytest

from stepfun_async._core.progress import Standing, duration, progress_line

BEGUN = Standing(ended=24, total=200, failed=5, ended_now=24, seconds=7.742, spent={"USD": Decimal("0.072")})
LARGE = Standing(
    ended=124_000,
    total=1_000_000,
    failed=1_203,
    ended_now=24_000,
    seconds=7742.0,
    spent={"USD": Decimal("369.123"), "CNY": Decimal(0)},
)


@pytest.mark.parametrize(
    ("standing", "columns", "line"),
    [
        (BEGUN, 60, "24 of 200 (12 %) · 5 failed · 3.1/s · 0.07 USD · 57 s left"),
        (LARGE, 100, "124,000 of 1,000,000 (12 %) · 1,203 failed · 3.1/s · 369.12 USD · 3 d 6 h left"),
        (LARGE, 75, "124,000 of 1,000,000 (12 %) · 1,203 failed · 369.12 USD · 3 d 6 h left"),
        (LARGE, 60, "124,000 of 1,000,000 (12 %) · 1,203 failed · 3 d 6 h left"),
        (LARGE, 10, "124,000 of 1,000,000 (12 %)"),
        (Standing(ended=0, total=200), 60, "0 of 200 (0 %)"),
        (Standing(ended=0, total=0), 60, "0 of 0 (100 %)"),
        (Standing(ended=3, ended_now=3, seconds=60.0), 60, "3 ended · 3.0/min"),
        (Standing(ended=199, total=200, ended_now=199, seconds=100.0), 60, "199 of 200 (99 %) · 2.0/s · 1 s left"),
        (Standing(ended=7, total=7, spent={"USD": Decimal("0.0030")}), 60, "7 of 7 (100 %) · 0.003 USD"),
    ],
)
def test_what_matters_most_fits(standing: Standing, columns: int, line: str) -> None:
    assert progress_line(standing, columns) == line


def test_another_separator_is_for_terminals_without_the_dot() -> None:
    assert progress_line(BEGUN, 60, "|").isascii()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1 s"), (59.6, "1 min"), (3600, "1 h"), (3601, "1 h"), (90_061, "1 d 1 h")]
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
