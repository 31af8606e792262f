"""Names of pictures' files: from a template, with ids made safe, so that no picture leaves the folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from string import Formatter

from stepfun_async._core.errors import ConfigurationError

DEFAULT_TEMPLATE = "{shard}/{id}"

FIELDS = ("id", "fingerprint", "line", "model", "shard")
"""What a template may name; `shard` is two hex digits, even over all pictures."""

_LONGEST = 120
"""Bytes of an id in a name, which leaves room for the rest of what file systems allow: 255."""

_UNSAFE = re.compile(r"""[\x00-\x1f\x7f<>:"/\\|?*]""")
"""What some file system does not take, or reads as a folder."""

_UNSAFE_AT_ENDS = ". "
"""What some file system hides at the beginning of a name, or drops at its end."""

_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
"""Names that Windows keeps for devices, whatever their ending."""


def check_template(template: object) -> str:
    """`template`, when it can name pictures.

    Raises:
        ConfigurationError: it is no relative path, names something unknown, or gives two pictures one name.
    """
    if not isinstance(template, str) or not template:
        raise _refused(template, "it is no text")
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise _refused(template, str(error)) from None
    named = {field for _, field, _, _ in parsed if field is not None}
    literal = "".join(text for text, _, _, _ in parsed)
    if not named <= set(FIELDS) or any(form or how for _, _, form, how in parsed):
        raise _refused(template, f"it may name {', '.join(FIELDS)}, each as {{name}}")
    if not named & {"id", "line"}:
        raise _refused(template, "without {id} or {line} two pictures would have one name")
    if template.startswith("/") or ".." in template.split("/") or _UNSAFE.search(literal.replace("/", "")):
        raise _refused(template, "it has to stay in the folder, and to be a name in any file system")
    return template


def _refused(template: object, why: str) -> ConfigurationError:
    return ConfigurationError(f"name={template!r} cannot name pictures: {why}; the default is {DEFAULT_TEMPLATE!r}")


def stem_of(template: str, *, id: str, fingerprint: str, line: int, model: str) -> str:
    """A picture's path below the folder, with `/` and without its ending, which its format decides.

    >>> stem_of("{shard}/{id}", id="../../etc", fingerprint="ab12", line=1, model="m")
    '74/etc~74ccf3c5'
    """
    shard = fingerprint[:2] if id.startswith(fingerprint) else _digest(id)[:2]
    values: Mapping[str, object] = {
        "id": safe(id),
        "fingerprint": fingerprint,
        "line": line,
        "model": safe(model),
        "shard": shard,
    }
    return template.format_map(values)


def safe(text: str) -> str:
    """`text` as one part of a path; where it has to be changed, with a few digits that keep it apart from others."""
    letters = _UNSAFE.sub("", text).strip(_UNSAFE_AT_ENDS)
    kept = letters.encode("utf-8", "ignore")[:_LONGEST].decode("utf-8", "ignore").rstrip(_UNSAFE_AT_ENDS)
    if kept == text and kept.partition(".")[0].lower() not in _RESERVED:
        return text
    return f"{kept}~{_digest(text)[:8]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
