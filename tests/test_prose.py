"""The wording of docstrings, comments and messages: who acts is named, and each concept has one term.

Names of ours are in backticks in prose, so what is in backticks is not looked at, nor is a single word, which is a
name, a key or a value.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import stepfun_async

SOURCE = Path(stepfun_async.__file__).parent
NOT_SAID = {
    "name the actor: caller, server, callback": "nobody|somebody|whoever|everybody|anybody",
    "code sends, raises and returns": "astray|is told|are told|tells|hears?|heard|knows|knew",
    "say image": "pictures?",
    "say response": "(?:an|the|no|whole|one) answers?",
    "say retry": "(?:tried|tries|try|asked|asks?|made|sent) again",
    "say rate entry": "place in the minute",
    "write `None`": "(?-i:None) (?:where|for|when|if)",
}


def prose(source: str) -> Iterator[tuple[int, str]]:
    """The comments, docstrings and messages of a module, each with its line; patterns are no prose."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip().split("(?:")[0]:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def wrong(text: str) -> Iterator[str]:
    """The rules that `text` breaks, names in backticks and the names of arguments left out."""
    unquoted = re.sub(
        r"``?[^`]*``?|^ *\w+: |\b\w+=", lambda name: "`None`" if name[0] == "`None`" else "", text, flags=re.MULTILINE
    )
    for rule, words in NOT_SAID.items():
        for found in re.finditer(rf"\b(?:{words})\b", unquoted, re.IGNORECASE):
            yield f"{found[0]!r}: {rule}"


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_prose_names_who_acts_and_has_one_term_for_each_concept(file: Path) -> None:
    found = [f"line {line}: {why}" for line, text in prose(file.read_text(encoding="utf-8")) for why in wrong(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("Wait until somebody releases the slot.", 1),
        ("The callback is told of each picture.", 2),
        ("No answer came.", 1),
        ("The request is tried again.", 1),
        ("None where the server did not say.", 1),
        ("`None` if unknown.", 0),
        ("    pictures: the number of images.", 0),
        ("The `pictures` of a bill; image_pictures stays a name.", 0),
        ("    Batch(pictures=folder)", 0),
    ],
)
def test_the_rules_find_the_words_in_prose_and_leave_names_alone(text: str, broken: int) -> None:
    assert len(list(wrong(text))) == broken
