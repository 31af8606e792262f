"""The wording of docstrings, comments and messages: who acts is named, and each concept has one term.

Names of ours are in backticks in prose, so what is in backticks is not looked at, nor is a single word, which is a
name, a key or a value. The names themselves have rules of their own: words that no other project uses do not come back.
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
    "say fallback": "refuges?|rescues?|rescued",
    "say remove leftovers": "sweeps?|swept",
    "say result, state": "what (?:came|became) of|how (?:it|they) stands?",
    "say changed": "others? than before",
    "say check": "make sure",
    "say remove": "taken? away",
    "say again": "anew",
    "say partial": "half-written",
    "say record, open": "entered|enters",
    "say is at, kind of server": "what stands|stands there",
    "say continue": "goes? on|going on",
    "say now": "by now",
    "say silently": "in silence",
    "say unavailable": "cannot be asked",
    "say the number of": "so (?:many|often)",
    "say atomically, complete": "whole or not|is there whole",
}
OURS_ALONE = {
    "fallback": "refuge|refuges|rescue|rescued",
    "remove_leftovers": "sweep",
    "options, settings, config": "conditions|terms",
    "runner": "maker",
    "outcome, result": "fate|fates|unmade",
    "worker": "bench|benches",
    "location": "whereabouts|keeping",
    "stats": "tally",
    "a verb for what it does": "told|mend|went|pressed|doubled|complain|homeless",
}
"""The field's word for each word of ours that names had, as parts of names."""


def prose(source: str) -> Iterator[tuple[int, str]]:
    """The comments, docstrings and messages of a module, each with its line; patterns are no prose."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip().split("(?:")[0]:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def names(source: str) -> Iterator[tuple[int, str]]:
    """The names of functions, classes, parameters, attributes and variables of a module, each with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield node.lineno, name


def ours_alone(name: str) -> Iterator[str]:
    """The rules that a name breaks, by its parts."""
    parts = re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")
    for rule, words in OURS_ALONE.items():
        yield from (f"{name!r}: say {rule}" for part in parts if part in words.split("|"))


def wrong(text: str) -> Iterator[str]:
    """The rules that `text` breaks, names in backticks and the names of arguments left out."""
    unquoted = re.sub(
        r"``?[^`]*``?|^ *\w+: |\b\w+=", lambda name: "`None`" if name[0] == "`None`" else "", text, flags=re.MULTILINE
    )
    one_line = re.sub(r"\s+", " ", unquoted)
    for rule, words in NOT_SAID.items():
        for found in re.finditer(rf"\b(?:{words})\b", one_line, re.IGNORECASE):
            yield f"{found[0]!r}: {rule}"


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_prose_names_who_acts_and_has_one_term_for_each_concept(file: Path) -> None:
    texts = prose(file.read_text(encoding="utf-8"))
    found = [f"line {line}: {why}" for line, text in texts for why in wrong(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_names_have_the_words_of_the_field(file: Path) -> None:
    found = [
        f"line {line}: {why}" for line, name in names(file.read_text(encoding="utf-8")) for why in ours_alone(name)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        ("def fetch_rescued(): ...", 1),
        ("class JobMaker: ...", 1),
        ("store._sweep(refuge=1)", 1),
        ('determined = bytes(b"terms")', 0),
    ],
)
def test_words_of_ours_are_found_as_parts_of_names(source: str, broken: int) -> None:
    assert sum(len(list(ours_alone(name))) for _, name in names(source)) == broken


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
        ("on_event failed; the call goes\n    on.", 1),
    ],
)
def test_the_rules_find_the_words_in_prose_and_leave_names_alone(text: str, broken: int) -> None:
    assert len(list(wrong(text))) == broken
