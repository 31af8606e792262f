"""Text in images, wrapped and fitted.

Pillow's bundled font has the Latin alphabet and a few more. For Chinese, Japanese and Korean a font
of the machine is used where one lies in the usual places; otherwise these characters show as the
bundled font's box for a missing one.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .palettes import Palette, mix

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_CJK_FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/STHeiti Medium.ttc",
    "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "C:/Windows/Fonts/msyh.ttc",
    "C:/Windows/Fonts/simhei.ttf",
)
"""The paths of fonts with Chinese characters on Linux distributions, macOS and Windows."""

_QUOTED = re.compile("[\"“「『《]([^\"”」』》]+)[\"”」』》]|(?:^|(?<=\\W))'([^']+)'(?=\\W|$)")


def quoted_in(prompt: str) -> str | None:
    """The words of a prompt that stand in quotes; `None` if none do.

    >>> quoted_in('A poster that says "Hello, world" in gold')
    'Hello, world'
    """
    match = _QUOTED.search(prompt)
    return " ".join((match[1] or match[2]).split()) or None if match else None


def text_of(prompt: str) -> str:
    """The words to write: those of a prompt that stand in quotes, otherwise all of it."""
    return quoted_in(prompt) or " ".join(prompt.split()) or prompt


def write(image: Image.Image, prompt: str, palette: Palette) -> None:
    """Write the words that `prompt` asks for across `image`, readable on whatever is there."""
    text = text_of(prompt)
    lines, font = fitted(text, image.width * 0.82, image.height * 0.5)
    block, spacing = "\n".join(lines), font_size(font) * 0.25
    pen = ImageDraw.Draw(image)
    center = (image.width / 2, image.height / 2)
    box = pen.multiline_textbbox(center, block, font=font, anchor="mm", spacing=spacing, align="center")
    margin = max(4.0, font_size(font) * 0.4)
    _panel(image, (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin), palette)
    color = mix(palette.light, (255, 255, 255), 0.6)
    pen.multiline_text(center, block, fill=color, font=font, anchor="mm", spacing=spacing, align="center")


def _panel(image: Image.Image, box: tuple[float, float, float, float], palette: Palette) -> None:
    left, top, right, bottom = (round(edge) for edge in box)
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).rounded_rectangle((left, top, right, bottom), radius=max(2, (bottom - top) // 8), fill=190)
    image.paste(mix(palette.near, (0, 0, 0), 0.6), (0, 0), mask)


def fitted(text: str, width: float, height: float) -> tuple[list[str], Font]:
    """The text in lines, in the largest font that leaves it inside `width` and `height` (in pixels)."""
    size = height * 0.6
    while True:
        font = _font(round(size), cjk=_has_cjk(text))
        lines = _wrap(text, font, width)
        if size <= 9 or (lines is not None and len(lines) * size * 1.25 <= height):
            return lines or [text], font
        size *= 0.82


def _wrap(text: str, font: Font, width: float) -> list[str] | None:
    """Lines no wider than `width`; `None` if a single piece is wider."""
    lines: list[str] = []
    line = ""
    for piece in _pieces(text):
        if font.getlength((line + piece).rstrip()) <= width:
            line += piece
            continue
        if font.getlength(piece.strip()) > width:
            return None
        lines.append(line.rstrip())
        line = piece.lstrip()
    return [*lines, line.rstrip()] if lines or line else None


def _pieces(text: str) -> list[str]:
    """Split a text where a line may break: between words, and around each CJK character."""
    return [piece for word in re.findall(r"\S+\s*", text) for piece in _LETTERS.findall(word)]


_CJK = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_LETTERS = re.compile(f"[{_CJK}]\\s*|[^{_CJK}]{{1,24}}")


def _has_cjk(text: str) -> bool:
    return re.search(f"[{_CJK}]", text) is not None


def font_size(font: Font) -> float:
    """The font's size in pixels."""
    return float(font.size) if isinstance(font, ImageFont.FreeTypeFont) else 11.0


@cache
def _cjk_font() -> str | None:
    return next((path for path in _CJK_FONTS if Path(path).is_file()), None)


def _font(size: int, *, cjk: bool) -> Font:
    path = _cjk_font() if cjk else None
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
