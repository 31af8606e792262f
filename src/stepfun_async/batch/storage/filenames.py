"""The names of image files: built from a template, with safe ids, so that no image is written outside the folder."""

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
"""The maximum number of bytes of an id in a name."""

_LONGEST_PART = 200
"""The maximum number of bytes of a part of a name. File systems allow 255, and extensions and hashes need room."""

_UNSAFE = re.compile(r"""[\x00-\x1f\x7f<>:"/\\|?*]""")
"""Characters that some file systems do not allow in names, or treat as separators."""

_UNSAFE_AT_ENDS = ". "
"""Characters that some file systems hide at the start of a name, or drop at its end."""

_PORTS = "0123456789\u00b9\u00b2\u00b3"

_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{n}" for port in ("com", "lpt") for n in _PORTS)}
)
"""Names that Windows reserves for devices, with any extension."""

RESERVED_NAMES = frozenset(
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
"""Names in the folder of a batch that images must not have."""


_RESERVED = _DEVICES | RESERVED_NAMES

_PLAIN_NAME = re.compile(rf"[0-9A-Za-z_-]{{1,{_LONGEST}}}")


def check_template(template: object) -> str:
    """Return `template`, or the template that its name stands for.

    Raises:
        ConfigurationError: it is not a relative path, has an unknown field, or gives two images the same name.
    """
    if template == READABLE:
        return READABLE_TEMPLATE
    if not isinstance(template, str) or not template:
        raise _invalid_template(template, "it is not text")
    if _PLACEHOLDER in template:
        raise _invalid_template(template, "it has characters that cannot be printed")
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise _invalid_template(template, str(error)) from None
    named = {field for _, field, _, _ in parsed if field is not None}
    if not named <= set(FIELDS) or not all(_is_simple(field, form, how) for _, field, form, how in parsed):
        raise _invalid_template(
            template, f"its fields are {', '.join(FIELDS)}, each as {{name}}, and {{line:04}} for leading zeros"
        )
    if not named & {"id", "line"}:
        raise _invalid_template(template, "without {id} or {line} two images would have the same name")
    if why := _path_problem(
        "".join(text + (_PLACEHOLDER if field is not None else "") for text, field, _, _ in parsed)
    ):
        raise _invalid_template(template, why)
    return template


def _is_simple(field: str | None, form: str | None, conversion: str | None) -> bool:
    """Whether a field has no format, or is a line number with leading zeros."""
    return not conversion and (not form or (field == "line" and _ZEROS.fullmatch(form) is not None))


_ZEROS = re.compile("0[1-9]")

_PLACEHOLDER = "\0"
"""The placeholder for a field."""


def _path_problem(path: str) -> str | None:
    """Return why a path with `_PLACEHOLDER` for fields cannot name images; `None` if it can."""
    parts = path.split("/")
    literal = path.replace(_PLACEHOLDER, "").replace("/", "")
    if "" in parts or not {".", ".."}.isdisjoint(parts) or _UNSAFE.search(literal):
        return "it must stay inside the folder and be valid in any file system, with no empty part between slashes"
    if literal and not literal.isprintable():
        return "it has characters that cannot be printed"
    invalid = [
        part for part in parts if _PLACEHOLDER not in part and (part != part.strip(_UNSAFE_AT_ENDS) or _is_device(part))
    ]
    if invalid:
        return f"{invalid[0]!r} is not a valid folder name in every file system"
    if len(parts) > 1 and parts[0].lower() in RESERVED_NAMES:
        return f"{parts[0]!r} is reserved for the batch's own files"
    return None


def _invalid_template(template: object, why: str) -> ConfigurationError:
    return ConfigurationError(f"name={template!r} cannot name images: {why}; the default is {DEFAULT_TEMPLATE!r}")


def stem_of(template: str, *, id: str, fingerprint: str, line: int, model: str, prompt: str) -> str:
    """Return an image's path relative to the folder, with `/` and without its extension, which depends on its format.

    >>> stem_of("{shard}/{id}", id="../../etc", fingerprint="ab12", line=1, model="m", prompt="A fox")
    '74/etc~74ccf3c5'
    """
    values: dict[str, object] = {"id": safe_name(id), "fingerprint": fingerprint, "line": line}
    if "{shard" in template:
        values["shard"] = fingerprint[:2] if id.startswith(fingerprint) else _digest(id)[:2]
    if "{model" in template:
        values["model"] = safe_name(model)
    if "{slug" in template:
        values["slug"] = slug(prompt)
    return "/".join(map(_fit_part, template.format_map(values).split("/")))


def folded(stem: str) -> str:
    """Return a key shared by names that some file systems treat as equal, such as `Cat` and `cat`."""
    return stem.lower() if stem.isascii() else unicodedata.normalize("NFC", stem).casefold()


def safe_name(text: str) -> str:
    """Return `text` as one part of a path. If it has to be changed, a hash keeps it distinct from others."""
    if _is_plain_name(text):
        return text
    letters = _UNSAFE.sub("", text).strip(_UNSAFE_AT_ENDS)
    stem = _truncate(letters, _LONGEST).rstrip(_UNSAFE_AT_ENDS)
    return text if stem == text and not _is_reserved(text) else _with_hash(stem, text)


def _is_plain_name(text: str) -> bool:
    """Whether a text is a valid name in every file system: short, only letters and digits, and not reserved."""
    return _PLAIN_NAME.fullmatch(text) is not None and text.lower() not in _RESERVED


def _fit_part(part: str) -> str:
    """Make a part of a path valid that was built from safe fields: together they may be too long, or a device name."""
    if _is_plain_name(part):
        return part
    if len(part.encode("utf-8", "surrogatepass")) > _LONGEST_PART:
        return _with_hash(_truncate(part, _LONGEST).rstrip(_UNSAFE_AT_ENDS), part)
    return _with_hash(part, part) if _is_reserved(part) else part


def _with_hash(stem: str, text: str) -> str:
    """Return a stem with digits of the hash of `text`, before the first dot if the name could be a device name."""
    first, dot, rest = stem.partition(".")
    mark = f"~{_digest(text)[:8]}"
    return f"{first}{mark}{dot}{rest}" if _is_reserved(stem) else f"{stem}{mark}"


def _is_reserved(name: str) -> bool:
    return _is_device(name) or name.lower() in RESERVED_NAMES


def _is_device(name: str) -> bool:
    return name.partition(".")[0].rstrip(" ").lower() in _DEVICES


def _truncate(text: str, most: int) -> str:
    return text.encode("utf-8", "ignore")[:most].decode("utf-8", "ignore")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
