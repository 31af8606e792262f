"""JSON Schemas (draft 2020-12) of the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast

from ..capabilities import SOURCES
from ..image_rules import ImageInput, Style
from ..rules import Boolean, Choice, Ignored, Integer, Number, Rule, Text
from ..size_rules import AnySize, Sizes
from ..sizes import Size

Schema: TypeAlias = dict[str, Any]

ImageText = Literal["any", "sent", "wire"]
"""The texts accepted as an image: `any` includes paths of files, `sent` only what may come from another machine, and
`wire` also bare base64, which servers accept.
"""

SizeText = Literal["any", "wire", "named"]
"""The notation of sizes: `wire` is only the documented strings, `named` only ratios and objects with both sides."""

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "What the image shows, or for an edit what to change.",
        "size": "The image's size in pixels.",
        "n": "The number of images.",
        "response_format": "The image itself (b64_json), or a link that expires (url).",
        "seed": "The same seed and parameters give similar images.",
        "steps": "Steps of diffusion: more are slower and finer.",
        "cfg_scale": "How closely to follow the prompt.",
        "negative_prompt": "What the image should not show.",
        "text_mode": "Improve lettering inside the image.",
        "style_reference": "The image whose style to apply, and how strongly.",
        "image": "The image to start from.",
        "source_weight": "How far the new image may be from the source.",
    }
)
"""The descriptions of the parameters."""

_NO_NUL = "^[^\0]*$"
"""Text without the character NUL, which no JSON Schema keyword but a pattern can exclude."""

_DATA_URI = r"^\s*[Dd][Aa][Tt][Aa]:"
_LINK = "^[Hh][Tt][Tt][Pp][Ss]?://"


@dataclass(frozen=True, slots=True)
class Form:
    """The notation of values in the JSON that a schema describes.

    Attributes:
        images: which text stands for an image.
        sizes: how sizes are written.
        wire: whether names and defaults are those of the HTTP API.
    """

    images: ImageText = "any"
    sizes: SizeText = "any"
    wire: bool = False


AS_FIELDS = Form()
"""The fields of `TextToImage`, `ImageEdit` and `ImageToImage` as JSON."""


def schema_of_rule(name: str, rule: Rule, form: Form) -> Schema:
    """Return the schema of the parameter `name`; `null` is allowed where the parameter may be absent."""
    schema = _BY_KIND[type(rule)](rule, form)
    if rule.default is not None:
        schema["default"] = rule.default
    described = {"description": _description(name, rule, form), **schema}
    return described if rule.required else nullable(described)


def nullable(schema: Schema) -> Schema:
    """Return `schema` with `null` allowed too."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    changed = dict(schema)
    if "type" in schema:
        changed["type"] = [schema["type"], "null"]
    if "enum" in schema:
        changed["enum"] = [*schema["enum"], None]
    return changed


def _description(name: str, rule: Rule, form: Form) -> str:
    unnamed = isinstance(rule, Sizes | AnySize) and form.sizes == "named"  # the wire's strings would mislead
    allowed = f"It {rule.effect}" if isinstance(rule, Ignored) else "" if unnamed else rule.wire_allowed
    parts = [MEANINGS.get(name, "").rstrip("."), allowed, "" if unnamed else rule.note]
    said = ". ".join(_capital(part) for part in parts if part)
    where = SOURCES.get(rule.source)
    return f"{said}. Source: {where}." if where else f"{said}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _text(rule: Text, form: Form) -> Schema:
    return {"type": "string", "minLength": rule.minimum, "maxLength": rule.maximum, "pattern": _NO_NUL}


def _choice(rule: Choice, form: Form) -> Schema:
    return {"type": "string", "enum": list(rule.options)}


def _boolean(rule: Boolean, form: Form) -> Schema:
    return {"type": "boolean"}


def _integer(rule: Integer, form: Form) -> Schema:
    return {"type": "integer", "minimum": rule.minimum, "maximum": rule.maximum}


def _number(rule: Number, form: Form) -> Schema:
    lowest = "exclusiveMinimum" if rule.above else "minimum"
    return {"type": "number", lowest: rule.minimum, "maximum": rule.maximum}


def _sizes(rule: Sizes, form: Form) -> Schema:
    named = [{"const": wire, "title": size.label} for wire, size in zip(rule.wire_options, rule.options, strict=True)]
    if form.sizes == "wire":
        return {"type": "string", "enum": [each["const"] for each in named]}
    ratios = [{"const": ratio, "title": cast("Size", rule.pick(ratio)).label} for ratio in rule.ratios]
    sides = [{"width": size.width, "height": size.height} for size in rule.options]
    whole = {name: {"type": "integer", "description": f"Pixels of {name}."} for name in ("width", "height")}
    sized = {"title": "width and height in pixels", "type": "object", "properties": whole, "enum": sides}
    return {"anyOf": [*(named if form.sizes == "any" else []), *ratios, sized]}


_SIDE = "[1-9][0-9]{0,3}"


def _any_size(rule: AnySize, form: Form) -> Schema:
    text = {"title": rule.wire_allowed, "type": "string", "pattern": f"^{_SIDE}x{_SIDE}$"}
    if form.sizes == "wire":
        return text
    ratio = {"title": "an aspect ratio, width to height", "type": "string", "pattern": f"^{_SIDE}:{_SIDE}$"}
    whole = {
        name: {"type": "integer", "minimum": rule.minimum, "maximum": rule.maximum, "description": f"Pixels of {name}."}
        for name in ("width", "height")
    }
    sized = {"title": "width and height in pixels", "type": "object", "properties": whole, "required": [*whole]}
    return {"anyOf": [*([text] if form.sizes == "any" else []), ratio, {**sized, "additionalProperties": False}]}


def _image(rule: ImageInput, form: Form) -> Schema:
    data_uri: Schema = {"title": "a data URI", "type": "string", "pattern": _DATA_URI}
    link: Schema = {"title": "an http(s) link that the server can reach", "type": "string", "pattern": _LINK}
    path: Schema = {"title": "the path of a file", "type": "string", "minLength": 1, "not": {"pattern": _LINK}}
    if form.images == "wire":
        return {"type": "string", "minLength": 1}
    forms = [data_uri, *([link] if rule.links else []), *([path] if form.images == "any" else [])]
    return {"anyOf": forms}


def _style(rule: Style, form: Form) -> Schema:
    parts = {
        "source_url": {"description": f"{_capital(rule.image.allowed)}.", **_image(rule.image, form)},
        "weight": schema_of_rule("weight", rule.weight, form),
    }
    return {"type": "object", "properties": parts, "required": ["source_url"], "additionalProperties": False}


def _ignored(rule: Ignored, form: Form) -> Schema:
    return {}


_BY_KIND: Mapping[type[Rule], Callable[[Any, Form], Schema]] = MappingProxyType(
    {
        Text: _text,
        Choice: _choice,
        Boolean: _boolean,
        Integer: _integer,
        Number: _number,
        Sizes: _sizes,
        AnySize: _any_size,
        ImageInput: _image,
        Style: _style,
        Ignored: _ignored,
    }
)
"""The schema of each kind of rule."""
