"""Rules for images: `ImageInput`, an image that is sent, and `Style`, an image whose style is followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from .headers import FORMATS
from .input_images import ImageURL, InputImage, InvalidImage
from .rules import Number, Rule, Violation, closest, kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput(Rule):
    """An image that goes into the request."""

    formats: tuple[str, ...]
    max_bytes: int | None = None
    min_side: int = 1
    max_side: int
    max_ratio: float | None = None
    links: bool = False
    kind: ClassVar[str] = "image"

    @property
    def allowed(self) -> str:
        parts = [f"one image ({', '.join(self.formats)})", f"each side {self.min_side} to {self.max_side} pixels"]
        if self.max_bytes:
            parts.append(f"at most {self.max_bytes:,} bytes")
        if self.max_ratio:
            parts.append(f"sides no further apart than 1:{self.max_ratio:g}")
        if self.links:
            parts.append("or an http(s) link to one")
        return ", ".join(parts)

    def convert(self, value: object) -> object:
        """`value` is what `load_image` made of the user's image; the request has it as it is."""
        if isinstance(value, ImageURL):
            return value if self.links else Violation("this endpoint takes no links: download the image first")
        if not isinstance(value, InputImage):
            return Violation(value.why if isinstance(value, InvalidImage) else f"{kind_of(value)}, not an image")
        return self._judge_image(value) or value

    def _judge_image(self, image: InputImage) -> Violation | None:
        if image.format not in self.formats:
            next_step = FORMATS[image.format].next_step or "convert it, or give Image.open(path)"
            return Violation(f"the bytes are {image.format}: {next_step}")
        if why := self.why_not_sides(image.width, image.height):
            return Violation(why)
        if self.max_bytes and image.size > self.max_bytes:
            return Violation(f"{image.size:,} bytes{_smaller(image)}")
        if not image.complete:
            return Violation(f"the {image.format} is cut off: its end is missing")
        return None

    def why_not_sides(self, width: int, height: int) -> str | None:
        """Return why an image of this size in pixels is not allowed; `None` if it is."""
        shorter, longer = sorted((width, height))
        if shorter < self.min_side or longer > self.max_side:
            return f"{width}x{height} pixels"
        if self.max_ratio and longer > shorter * self.max_ratio:
            return f"{width}x{height} pixels are 1:{longer / shorter:.2f}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Style(Rule):
    """A mapping with the image whose style to take (`source_url`) and how strongly (`weight`)."""

    image: ImageInput
    weight: Number
    kind: ClassVar[str] = "style reference"

    @property
    def allowed(self) -> str:
        return f"{{'source_url': {self.image.allowed}, 'weight': {self.weight.allowed}}}"

    @property
    def wire_allowed(self) -> str:
        return f'{{"source_url": {self.image.allowed}, "weight": {self.weight.allowed}}}'

    def convert(self, value: object) -> object:
        if faults := self.faults(value):
            return faults[0]
        style = cast("Mapping[str, object]", value)
        weight = style.get("weight")
        given = {"source_url": style["source_url"]}
        return given if weight is None else {**given, "weight": self.weight.to_wire(weight)}

    def faults(self, value: object) -> tuple[Violation, ...]:
        """`value` is the user's mapping with `source_url` replaced by what `load_image` made of it."""
        if not isinstance(value, Mapping):
            return (Violation(value.why if isinstance(value, InvalidImage) else f"{kind_of(value)}, not a mapping"),)
        return tuple(self._faults(cast("Mapping[object, object]", value)))

    def _faults(self, style: Mapping[object, object]) -> Iterator[Violation]:
        rules: Mapping[object, Rule] = {"source_url": self.image, "weight": self.weight}
        if "source_url" not in style:
            yield Violation("is missing", part="source_url", allowed=self.image.allowed)
        for key, item in style.items():
            rule = rules.get(key)
            if rule is None:
                nearest = closest(key, ("source_url", "weight"))
                yield Violation("no such key", nearest, part=str(key), allowed="source_url, weight")
            elif item is not None and (fault := rule.judge(item)):
                yield Violation(fault.why, fault.nearest, part=str(key), allowed=rule.allowed)


def _smaller(image: InputImage) -> str:
    """Return how to make an image with too many bytes smaller; empty if no advice is known."""
    return ": save it as JPEG, quality 95, and give that" if image.format == "png" else ""
