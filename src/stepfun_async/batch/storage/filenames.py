"""Names of images' files: from a template, with ids made safe, so that no image leaves the folder."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from string import Formatter

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.slugs import slug

DEFAULT_TEMPLATE = "{shard}/{id}"

READABLE = "readable"
"""The name for `READABLE_TEMPLATE`."""

READABLE_TEMPLATE = "{line:04}-{slug}"

FIELDS = ("id", "fingerprint", "line", "model", "shard", "slug")
"""The fields of a template; `slug` is made from the prompt, and `shard` is two evenly distributed hex digits."""

_LONGEST = 120
"""Bytes of an id in a name."""

_LONGEST_PART = 200
"""Bytes of a part of a name, which leaves room for endings and marks in what file systems allow: 255."""

_UNSAFE = re.compile(r"""[\x00-\x1f\x7f<>:"/\\|?*]""")
"""Characters that some file system does not allow in names, or reads as separators."""

_UNSAFE_AT_ENDS = ". "
"""Characters that some file system hides at the start of a name, or drops at its end."""

_PORTS = "0123456789\u00b9\u00b2\u00b3"

_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{n}" for port in ("com", "lpt") for n in _PORTS)}
)
"""Names that Windows keeps for devices, whatever their ending."""

OWN_NAMES = frozenset(
    {
        "journal.lock",
        "journal.lock-journal",
        "journal.sqlite3",
        "journal.sqlite3-journal",
        "journal.sqlite3-shm",
        "journal.sqlite3-wal",
        "manifest.jsonl",
        "report.html",
        "sending",
        "thumbnails",
    }
)
"""Names in the folder of a batch that are not those of images."""


_KEPT_BACK = _DEVICES | OWN_NAMES

_PLAIN_NAME = re.compile(rf"[0-9A-Za-z_-]{{1,{_LONGEST}}}")


def check_template(template: object) -> str:
    """`template`, when it can name images.

    Raises:
        ConfigurationError: it is no relative path, names something unknown, or gives two images one name.
    """
    if template == READABLE:
        return READABLE_TEMPLATE
    if not isinstance(template, str) or not template:
        raise _refused(template, "it is no text")
    if _ANY in template:
        raise _refused(template, "it has characters that cannot be printed")
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise _refused(template, str(error)) from None
    named = {field for _, field, _, _ in parsed if field is not None}
    if not named <= set(FIELDS) or not all(_is_simple(field, form, how) for _, field, form, how in parsed):
        raise _refused(template, f"it may name {', '.join(FIELDS)}, each as {{name}}, and the line as {{line:04}} too")
    if not named & {"id", "line"}:
        raise _refused(template, "without {id} or {line} two images would have one name")
    if why := _why_no_path("".join(text + (_ANY if field is not None else "") for text, field, _, _ in parsed)):
        raise _refused(template, why)
    return template


def _is_simple(field: str | None, form: str | None, conversion: str | None) -> bool:
    """Whether a field stands there as it is, or is a line with zeros before it."""
    return not conversion and (not form or (field == "line" and _ZEROS.fullmatch(form) is not None))


_ZEROS = re.compile("0[1-9]")

_ANY = "\0"
"""The placeholder for a field."""


def _why_no_path(path: str) -> str | None:
    """Return why a path with `_ANY` for fields cannot name images; `None` if it can."""
    parts = path.split("/")
    literal = path.replace(_ANY, "").replace("/", "")
    if "" in parts or not {".", ".."}.isdisjoint(parts) or _UNSAFE.search(literal):
        return "it has to stay in the folder, and to be a name in any file system, with a name between all /"
    if literal and not literal.isprintable():
        return "it has characters that cannot be printed"
    unfit = [part for part in parts if _ANY not in part and (part != part.strip(_UNSAFE_AT_ENDS) or _is_device(part))]
    if unfit:
        return f"{unfit[0]!r} is no folder in some file system"
    if len(parts) > 1 and parts[0].lower() in OWN_NAMES:
        return f"{parts[0]!r} is a name that a batch has for itself"
    return None


def _refused(template: object, why: str) -> ConfigurationError:
    return ConfigurationError(f"name={template!r} cannot name images: {why}; the default is {DEFAULT_TEMPLATE!r}")


def stem_of(template: str, *, id: str, fingerprint: str, line: int, model: str, prompt: str) -> str:
    """An image's path below the folder, with `/` and without its ending, which its format decides.

    >>> stem_of("{shard}/{id}", id="../../etc", fingerprint="ab12", line=1, model="m", prompt="A fox")
    '74/etc~74ccf3c5'
    """
    values: dict[str, object] = {"id": safe(id), "fingerprint": fingerprint, "line": line}
    if "{shard" in template:
        values["shard"] = fingerprint[:2] if id.startswith(fingerprint) else _digest(id)[:2]
    if "{model" in template:
        values["model"] = safe(model)
    if "{slug" in template:
        values["slug"] = slug(prompt)
    return "/".join(map(_fitting, template.format_map(values).split("/")))


def folded(stem: str) -> str:
    """Return a key shared by names that some file system treats as equal, such as `Cat` and `cat`."""
    return stem.lower() if stem.isascii() else unicodedata.normalize("NFC", stem).casefold()


def safe(text: str) -> str:
    """`text` as one part of a path; where it has to be changed, with a few digits that keep it apart from others."""
    if _is_plain_name(text):
        return text
    letters = _UNSAFE.sub("", text).strip(_UNSAFE_AT_ENDS)
    kept = _cut(letters, _LONGEST).rstrip(_UNSAFE_AT_ENDS)
    return text if kept == text and not _is_kept_back(text) else _marked(kept, text)


def _is_plain_name(text: str) -> bool:
    """Whether a text is a name in every file system: short, of letters and digits alone, and no name that is kept."""
    return _PLAIN_NAME.fullmatch(text) is not None and text.lower() not in _KEPT_BACK


def _fitting(part: str) -> str:
    """A part of a path that was put together of parts that are safe: what they make may be too long, or a device."""
    if _is_plain_name(part):
        return part
    if len(part.encode("utf-8", "surrogatepass")) > _LONGEST_PART:
        return _marked(_cut(part, _LONGEST).rstrip(_UNSAFE_AT_ENDS), part)
    return _marked(part, part) if _is_kept_back(part) else part


def _marked(kept: str, text: str) -> str:
    """Return the kept part of a text with digits of its hash, before the first dot if the name could be a device's."""
    first, dot, rest = kept.partition(".")
    mark = f"~{_digest(text)[:8]}"
    return f"{first}{mark}{dot}{rest}" if _is_kept_back(kept) else f"{kept}{mark}"


def _is_kept_back(name: str) -> bool:
    return _is_device(name) or name.lower() in OWN_NAMES


def _is_device(name: str) -> bool:
    return name.partition(".")[0].rstrip(" ").lower() in _DEVICES


def _cut(text: str, most: int) -> str:
    return text.encode("utf-8", "ignore")[:most].decode("utf-8", "ignore")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
