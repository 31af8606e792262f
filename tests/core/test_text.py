"""What others wrote, as it may be shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async._core.text import escaped, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a plain text, 山 and \u3000", "a plain text, 山 and \u3000"),
        ("\x1b]0;owned\x07\x1b[2J", "\\u001b]0;owned\\u0007\\u001b[2J"),
        ("\x9b31m\x7f", "\\u009b31m\\u007f"),
        ("\u202eno\u2066\u200f\u061c", "\\u202eno\\u2066\\u200f\\u061c"),
        ("one\ntwo\r\tthree\u2028", "one\\ntwo\\r\\tthree\\u2028"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_controls_are_shown_as_escapes(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_line_breaks_stay_where_they_are_our_own() -> None:
    assert escaped("one\n\x1btwo\r\n", lines=True) == "one\n\\u001btwo\\r\n"


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\x1b\x9b\u202e\n\\"')))
def test_json_says_the_same_without_its_controls(text: str) -> None:
    written = escaped(json.dumps(text, ensure_ascii=False))
    assert json.loads(written) == text
    assert not any(letter in written for letter in "\x1b\x9b\u202e\n")


class Raises:
    def __repr__(self) -> str:
        raise KeyError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, "5"),
        (None, "None"),
        ("a\x1bb", "'a\\x1bb'"),
        ("x" * 200, "'" + "x" * 76 + "..."),
        (10**6000, "a number with thousands of digits"),
        ([10**6000], "a list"),
        (Raises(), "a Raises"),
    ],
    ids=range(7),
)
def test_a_value_is_shown_whatever_it_is(value: Any, expected: str) -> None:
    assert shown(value) == expected


def test_deep_nesting_is_described() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a list"
