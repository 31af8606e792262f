"""HTML as a type of its own, so that text becomes HTML only by being escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape

_CONTROLS = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"} | {0x7F: 0x2421}
"""Control characters, and the symbols that are shown for them."""

_TEMPLATE = re.compile(r"\{\{(\w+)\}\}")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *content: str | None, **attributes: str | int | bool | None) -> Html:
    """Return an element with its end tag.

    >>> element("p", "1 < 2", class_="note", data_row=7, hidden=True)
    '<p class="note" data-row="7" hidden>1 &lt; 2</p>'

    Args:
        name: the element's name.
        content: its content; text that is not `Html` is escaped, and None is left out.
        attributes: its attributes by name, with `_` for `-`; a trailing `_` is removed. None and False leave the
            attribute out, and True gives it no value.
    """
    inner = "".join(html(piece) for piece in content if piece is not None)
    return Html(f"<{name}{''.join(_attribute(*each) for each in attributes.items())}>{inner}</{name}>")


def html(text: str) -> Html:
    """Escape `text` unless it is `Html`."""
    return text if isinstance(text, Html) else Html(escape(clean(text)))


def clean(text: str) -> str:
    """Make `text` printable: control characters as symbols, lone surrogates as U+FFFD."""
    return text.translate(_CONTROLS).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def joined(*pieces: str | None) -> Html:
    """Join pieces; None is left out."""
    return Html("".join(html(piece) for piece in pieces if piece is not None))


def script_json(value: object) -> str:
    """Encode `value` as JSON for a script element.

    It contains no `<`, so nothing in `value` ends the element or begins a comment. Lone surrogates, which UTF-8 cannot
    encode, become JSON escapes.

    >>> print(script_json(["</script>", "\\ud800", "\\0"]))
    ["\\u003c/script>","\\ud800","\\u0000"]
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", r"\u003c")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def data_block(json_text: str, **attributes: str) -> Html:
    """Return a script element that holds only data.

    Args:
        json_text: the result of `script_json`.
        attributes: see `element`.
    """
    return element("script", Html(json_text), type="application/json", **attributes)


def fill(template: str, pieces: Mapping[str, str | None]) -> Html:
    """Replace each `{{name}}` in `template` by its piece; text that is not `Html` is escaped, and None is left out."""
    return Html(_TEMPLATE.sub(lambda match: joined(pieces[match[1]]), template))


def _attribute(name: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{html(str(value))}"'
