"""The lines of text files: prompts, JSON Lines and JSON arrays, distinguished by the beginning of a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import cast

from stepfun_async._core.errors import ConfigurationError

from .csv_rows import DELIMITERS
from .jobs import InvalidLine, field_of
from .lines import InputLine, digest, invalid_line
from .texts import RepeatedKeyError, TextFile, elements_of, parse_json, stripped


def format_of(text: TextFile) -> str:
    """Return the format of a text file, by its first line, as the extension of such files."""
    line = text.first_line
    if line[:1] in ("{", "["):
        if line in ("{", "["):
            return ".json"
        value = _value_of(line)
        if isinstance(value, dict):
            return ".jsonl"
        return ".json" if _is_array_of_lines(value) else ".txt"  # prompts may begin with a bracket
    if line.lower().startswith(("sep=", '"sep=')):
        return ".csv"
    names = [name.strip(' "') for name in re.split(f"[{DELIMITERS}]", line)]
    return ".csv" if "prompt" in map(field_of, names) and all(map(field_of, names)) else ".txt"


def _is_array_of_lines(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict | str) for part in cast("list[object]", value))


def prompts(text: TextFile) -> Iterator[InputLine]:
    looks_like = format_of(text)
    if looks_like != ".txt":
        raise ConfigurationError(
            f"the inputs {text.name!r} begin like a {looks_like} file, with {text.first_line[:60]!r}: give it that "
            "extension, so that its lines are not taken for prompts; nothing was sent"
        )
    for number, line in text.lines():
        yield InputLine(number, partial(_prompt_line, line), digest(line))


def _prompt_line(line: bytes) -> object:
    prompt = prompt_of(line)
    return prompt if isinstance(prompt, InvalidLine) else {"prompt": prompt}


def prompt_of(line: bytes) -> str | InvalidLine:
    try:
        return stripped(line.decode())
    except UnicodeDecodeError as error:
        return invalid_line(line, "a prompt in UTF-8", str(error))


def json_lines(text: TextFile) -> Iterator[InputLine]:
    value = _value_of(text.first_line)
    _refuse_one_object(text, value)
    if _ARRAY.match(text.start) and (value is None or b"\n" not in text.start.strip()):
        yield from json_array(text)
        return
    for number, line in text.lines():
        yield InputLine(number, partial(_parsed, line), digest(line))


_ARRAY = re.compile(rb"\s*\[\s*[{\"\]]")
"""The beginning of an array of objects or prompts."""


def _value_of(line: str) -> object:
    """Return the value of a line of JSON; an empty object if it has a key twice, `None` if it is not JSON."""
    try:
        return parse_json(line)
    except RepeatedKeyError:
        return {}
    except (ValueError, RecursionError):
        return None


def _refuse_one_object(text: TextFile, value: object) -> None:
    """Reject a file that is a single object, on several lines or with a column for each key.

    Raises:
        ConfigurationError: it is.
    """
    if text.first_line == "{":
        raise ConfigurationError(
            f"the inputs {text.name!r} are one JSON object on several lines: write one object per line, or an array of "
            "objects; nothing was sent"
        )
    if isinstance(value, dict) and isinstance(cast("dict[str, object]", value).get("prompt"), dict):
        raise ConfigurationError(
            f"the inputs {text.name!r} have a column for each key: write one object per line, with pandas "
            'df.to_json(path, orient="records", lines=True); nothing was sent'
        )


def _parsed(line: bytes) -> object:
    try:
        value = parse_json(line.decode())
    except UnicodeDecodeError as error:
        return invalid_line(line, "a line of JSON in UTF-8", str(error))
    except RepeatedKeyError as error:
        return invalid_line(line, "a JSON object with each key once", str(error))
    except (ValueError, RecursionError) as error:
        return invalid_line(line, "a line of JSON", str(error))
    return _line_value(value, line)


def _line_value(value: object, line: bytes) -> object:
    if isinstance(value, dict | str):
        return cast("dict[str, object] | str", value)
    return invalid_line(line, "a JSON object, or a prompt as a JSON string", f"it is {type(value).__name__}")


def json_array(text: TextFile) -> Iterator[InputLine]:
    """Yield the elements of a JSON array, which is read completely."""
    if text.start.lstrip()[:1] != b"[":
        yield from json_lines(text)
        return
    try:
        content = text.stream.read().decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the inputs {text.name!r} are no JSON in UTF-8: {error}") from error
    for number, element in enumerate(elements_of(content), 1):
        if isinstance(element, RepeatedKeyError):
            yield InputLine(number, partial(invalid_line, b"", "a JSON object with each key once", str(element)))
        elif isinstance(element, ValueError):
            why = f"{element}; nothing after it is read"
            yield InputLine(number, partial(invalid_line, b"", "an array of JSON objects", why))
        else:
            shown = json.dumps(element, ensure_ascii=True).encode()
            yield InputLine(number, partial(_line_value, element, shown), digest(shown))
