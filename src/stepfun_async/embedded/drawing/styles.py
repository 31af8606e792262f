"""Styles: what is done to a whole image once everything is painted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from .canvas import stretch
from .lettering import fitted
from .palettes import RGB, Palette, mix

Style = Callable[[Image.Image], Image.Image]

_PAPER: RGB = (246, 238, 220)
_SEPIA: tuple[RGB, RGB, RGB] = ((38, 24, 14), (168, 132, 92), (250, 238, 212))


def in_styles(image: Image.Image, names: Iterable[str]) -> Image.Image:
    """Return the image in the styles of these names, one after another."""
    for name in names:
        image = STYLES[name](image)
    return image


def framed(image: Image.Image, title: str, palette: Palette) -> Image.Image:
    """Return the image as a poster: on paper, with a title below."""
    wide, high = image.size
    margin = max(2, round(min(wide, high) * 0.055))
    foot = max(3, round(high * 0.17))
    sheet = Image.new("RGB", image.size, _PAPER)
    window = (wide - 2 * margin, high - margin - foot)
    if min(window) < 8:
        return image
    sheet.paste(ImageOps.fit(image, window, Image.Resampling.BILINEAR), (margin, margin))
    ink = mix(palette.near, (20, 20, 30), 0.4)
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((margin, margin, wide - margin - 1, high - foot - 1), outline=ink, width=max(1, margin // 12))
    lines, font = fitted(title, wide - 2.4 * margin, foot * 0.62)
    pen.multiline_text((wide / 2, high - foot / 2), "\n".join(lines), fill=ink, font=font, anchor="mm", align="center")
    return sheet


def _flat(image: Image.Image) -> Image.Image:
    """In a dozen flat colours."""
    smooth = image.filter(ImageFilter.BoxBlur(max(1, min(image.size) // 320)))
    strong = ImageEnhance.Color(ImageOps.autocontrast(smooth, cutoff=1, preserve_tone=True)).enhance(1.35)
    return strong.quantize(12, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")


def _oil(image: Image.Image) -> Image.Image:
    """In dabs of paint."""
    small = _shrunk(image, 3).filter(ImageFilter.ModeFilter(5))
    dabs = stretch(small, image.size, Image.Resampling.BICUBIC).filter(ImageFilter.SHARPEN)
    return Image.blend(dabs, dabs.filter(ImageFilter.EMBOSS).convert("L").convert("RGB"), 0.12)


def _watercolour(image: Image.Image) -> Image.Image:
    """Pale washes with darker rims."""
    small = _shrunk(image, 2)
    wash = stretch(small.filter(ImageFilter.GaussianBlur(max(1, min(small.size) // 140))), image.size)
    rims = ImageOps.autocontrast(stretch(_lines(small), image.size)).convert("RGB")
    return ImageChops.multiply(
        Image.blend(wash, Image.new("RGB", image.size, _PAPER), 0.28),
        Image.blend(rims, Image.new("RGB", image.size, (255, 255, 255)), 0.72),
    )


def _sketch(image: Image.Image) -> Image.Image:
    """Lines of a pencil, and a little shade."""
    lines = _lines(image)
    shade = ImageOps.posterize(image.convert("L"), 3)
    return ImageOps.colorize(Image.blend(lines, shade, 0.3), (44, 44, 52), (252, 250, 244))


def _lines(image: Image.Image) -> Image.Image:
    """Dark lines where the image changes, on white."""
    edges = image.convert("L").filter(ImageFilter.GaussianBlur(1)).filter(ImageFilter.FIND_EDGES)
    edges.paste(0, (0, 0, edges.width, 1))
    return ImageOps.invert(ImageChops.add(edges, edges)).filter(ImageFilter.MinFilter(3))


def _pixels(image: Image.Image) -> Image.Image:
    """In large squares of few colours."""
    small = _shrunk(image, max(1, min(image.size) // 72), Image.Resampling.BOX)
    few = small.quantize(24, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    return stretch(few, image.size, Image.Resampling.NEAREST)


def _mono(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


def _sepia(image: Image.Image) -> Image.Image:
    dark, middle, light = _SEPIA
    return ImageOps.colorize(image.convert("L"), dark, light, mid=middle)


def _shrunk(image: Image.Image, by: int, how: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    return stretch(image, (max(1, image.width // by), max(1, image.height // by)), how)


STYLES: Mapping[str, Style] = {
    "poster": _flat,
    "oil": _oil,
    "watercolour": _watercolour,
    "sketch": _sketch,
    "pixel": _pixels,
    "mono": _mono,
    "sepia": _sepia,
}
"""By the names that `words.called_for` finds."""
