"""Edits: what a prompt wants changed in an image, and the change, which leaves the rest as it is.

Subjects that the engine drew itself are found by the image's metadata (`content`), and are replaced, recoloured or
removed exactly where they are. Of other images nothing is known; there the subject is taken to be in the middle.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageChops, ImageFilter, ImageOps, ImageStat

from .canvas import Canvas, relevel, stretch
from .content import Content
from .figures import BLACK, Placed, paint, silhouette
from .palettes import COLORS, PALETTES, RGB, Palette, mix
from .scenery import drops, flakes, haze
from .scenes import SCENES
from .subjects import FIGURES, place
from .words import Call, called_for, calls, coats, free_colors


@dataclass(slots=True)
class _Editing:
    """An image being edited, its content, and the light in which things are painted."""

    canvas: Canvas
    content: Content
    light: Palette
    chance: random.Random
    wanted: tuple[Placed, ...]


def edited(
    source: Image.Image,
    content: Content,
    prompt: str,
    palette: Palette,
    chance: random.Random,
    detail: float,
    wanted: tuple[Placed, ...] = (),
) -> tuple[Image.Image, Content]:
    """Return an image with what `prompt` wants changed, and what it then contains.

    Args:
        source: the image as it is.
        content: what it contains, as far as is known.
        prompt: what to change.
        palette: the colours that the prompt calls for.
        chance: decides what the prompt leaves open.
        detail: from 0 to 1; the higher, the stronger the toning.
        wanted: the places of new subjects that have a given place.
    """
    called = _called_besides_subjects(prompt)
    work = _Editing(Canvas(source.copy()), content, palette if called["palette"] else _ambient(source), chance, wanted)
    if "behind" in called["background"]:
        _change_background(work, called["scene"], free_colors(prompt), detail)
    elif called["background"] and free_colors(prompt):
        _tint(work.canvas, _upper(work.canvas), COLORS[free_colors(prompt)[0]])
    elif _changes_all(called, prompt):
        work.canvas = Canvas(_toned(work.canvas.image, palette, 0.62 + 0.1 * detail))
    _change_subjects(work, prompt)
    weather(work.canvas, called["weather"], palette, chance)
    return work.canvas.image, work.content


def weather(canvas: Canvas, names: Sequence[str], palette: Palette, chance: random.Random) -> None:
    """Paint the weather over an image."""
    if "fog" in names:
        haze(canvas, mix(palette.sky[-1], palette.light, 0.4))
    if "rain" in names:
        drops(canvas, chance)
    if "snow" in names:
        flakes(canvas, chance)


def _called_besides_subjects(prompt: str) -> dict[str, list[str]]:
    """Return what a prompt calls for; a subject's own word calls for no light (coffee: a warm one) or scene.

    Where only a subject is added, nothing else changes.
    """
    found = calls(prompt)
    taken = {call.at for call in found if call.kind == "subject"}
    own = {(call.kind, call.name) for call in found if call.at not in taken}
    return {
        kind: names if kind == "subject" else [name for name in names if (kind, name) in own]
        for kind, names in called_for(prompt).items()
    }


# --- subjects


def _change_subjects(work: _Editing, prompt: str) -> None:
    found = calls(prompt)
    verbs = {call.name for call in found if call.kind == "verb"}
    names = list(dict.fromkeys(call.name for call in found if call.kind == "subject"))
    colored = _coats_of(prompt, names)
    if "remove" in verbs:
        _remove(work, names)
    elif "become" in verbs and names:
        _become(work, names, colored)
    else:
        known = [placed for placed in map(work.content.of, names) if placed and placed.name in colored]
        for placed in known:
            _repaint(work, placed, replace(placed, coat=colored[placed.name]))
        unknown = [name for name in names if not work.content.of(name)]
        new = [name for name in unknown if _is_new(name, found)]
        for name in set(unknown) & set(colored) - set(new):  # 'make the car red', in an image from elsewhere
            _tint(work.canvas, _middle(work.canvas), colored[name])
        _add(work, new, colored)


def _coats_of(prompt: str, names: Sequence[str]) -> dict[str, RGB]:
    """Return the colours of subjects; of the only one, also if it stands elsewhere, as in 'make the car red'."""
    colored, free = coats(prompt), free_colors(prompt)
    if len(names) == 1 and free and not called_for(prompt)["background"]:
        colored.setdefault(names[0], COLORS[free[-1]])
    return colored


def _is_new(name: str, found: Sequence[Call]) -> bool:
    """Return whether a subject is to be added: 'a cat' is new, 'the cat' is in the image already."""
    at = next(call.at for call in found if call.kind == "subject" and call.name == name)
    before = [call for call in found if call.at < at and call.kind in ("article", "verb")]
    if before and before[-1].kind == "article":
        return before[-1].name == "a"
    subjects = {call.at for call in found if call.kind == "subject"}
    return bool(before) or all(call.at in subjects or call.kind == "color" for call in found)


def _remove(work: _Editing, names: Sequence[str]) -> None:
    known = [placed for placed in work.content.figures if placed.name in names or not names]
    for placed in known:
        _erase(work, _mask_of(work, placed))
        work.content = work.content.without(placed)
    if not known:
        _erase(work, _middle(work.canvas))


def _become(work: _Editing, names: Sequence[str], colored: dict[str, RGB]) -> None:
    new = names[-1]
    old = work.content.of(names[0]) or work.content.of(new) or next(iter(work.content.figures[::-1]), None)
    if old:
        _repaint(work, old, _in_place_of(old, new, colored.get(new)))
    elif new in colored:  # an image from elsewhere: what is in the middle takes the colour
        _tint(work.canvas, _middle(work.canvas), colored[new])
    else:
        _paint(work, Placed(new, 0.5, FIGURES[new].height, FIGURES[new].size * 1.2))


def _in_place_of(old: Placed, new: str, coat: RGB | None) -> Placed:
    if old.name == new:
        return replace(old, coat=coat or old.coat)
    scale = old.size / FIGURES[old.name].size
    floats = FIGURES[new].where in ("air", "middle")
    return Placed(new, old.x, FIGURES[new].height if floats else old.y, FIGURES[new].size * scale, coat)


def _repaint(work: _Editing, old: Placed, new: Placed) -> None:
    if old.name != new.name:
        _erase(work, _mask_of(work, old))
    work.content = work.content.without(old)
    _paint(work, new)


def _add(work: _Editing, names: Sequence[str], colored: dict[str, RGB]) -> None:
    given = [placed for placed in work.wanted if placed.name in names]
    for placed in given or (place(names, colored, work.chance) if names else ()):
        _paint(work, placed)


def _paint(work: _Editing, placed: Placed) -> None:
    paint(work.canvas, work.light, FIGURES[placed.name], placed)
    work.content = work.content.plus(placed)


def _erase(work: _Editing, mask: Image.Image) -> None:
    """Fill a masked area with a gradient from what is left of it to what is right of it."""
    box = mask.getbbox()
    if box is None:
        return
    left, top, right, bottom = box
    size, edge = (right - left, bottom - top), max(1, work.canvas.width // 200)
    before, behind = (_side(work.canvas.image, x, top, bottom, edge) for x in (left - edge, right))
    first, last = before or behind, behind or before
    if first is None or last is None:  # it fills the width
        return
    across = stretch(Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90), size)
    patch = Image.composite(stretch(last, size), stretch(first, size), across)
    work.canvas.image.paste(patch, (left, top), mask.crop(box))


def _side(image: Image.Image, x: int, top: int, bottom: int, wide: int) -> Image.Image | None:
    """Return the mean of a few columns from `x` on; `None` if they are outside."""
    if x < 0 or x + wide > image.width:
        return None
    return stretch(image.crop((x, top, x + wide, bottom)), (1, bottom - top), Image.Resampling.BOX)


def _mask_of(work: _Editing, placed: Placed) -> Image.Image:
    """Return the levels of a subject and of a soft rim around it."""
    rim = max(1, round(work.canvas.unit * 0.004))
    mask = silhouette(work.canvas, FIGURES[placed.name], placed)
    grown = mask.filter(ImageFilter.GaussianBlur(rim))
    return relevel(grown, lambda level: min(255, level * 6))


# --- all of it, and what is behind


def _changes_all(called: dict[str, list[str]], prompt: str) -> bool:
    """Return whether the whole image changes its light: a time, season, weather or colour is named, or nothing."""
    if called["palette"]:
        return True
    colors = free_colors(prompt) and not called["background"] and not called["subject"]
    nothing = not any(called[kind] for kind in ("subject", "style", "background", "verb"))
    return bool(colors) or nothing


def _change_background(work: _Editing, scenes: Sequence[str], colors: Sequence[str], detail: float) -> None:
    before, kept = work.canvas.image, _kept(work)
    if scenes:
        work.canvas = Canvas.blank(before.width, before.height)
        SCENES[scenes[0]](work.canvas, work.light, work.chance, detail)
        work.content = replace(work.content, scene=scenes[0])
    elif colors:
        work.canvas = Canvas(before.copy())
        _tint(work.canvas, Image.new("L", before.size, 255), COLORS[colors[-1]])
    work.canvas.image.paste(before, (0, 0), kept)


def _kept(work: _Editing) -> Image.Image:
    """Return the levels of what a new background leaves: the subjects, or the middle."""
    masks = [_mask_of(work, placed) for placed in work.content.figures]
    if not masks:
        return _middle(work.canvas)
    kept = masks[0]
    for mask in masks[1:]:
        kept = ImageChops.lighter(kept, mask)
    return kept


def _middle(canvas: Canvas) -> Image.Image:
    """Return the levels of an oval in the middle with a soft edge."""
    levels = relevel(Image.radial_gradient("L"), lambda level: min(255, max(0, (118 - level) * 5)))
    return stretch(levels, canvas.image.size)


def _tint(canvas: Canvas, mask: Image.Image, color: RGB) -> None:
    """Give a masked area a colour, and keep its light and shade."""
    levels = canvas.image.convert("L")
    tinted = ImageOps.colorize(levels, mix(color, BLACK, 0.85), mix(color, (255, 255, 255), 0.75), mid=color)
    canvas.image.paste(Image.blend(canvas.image, tinted, 0.75), (0, 0), mask)


def _upper(canvas: Canvas) -> Image.Image:
    """Return the levels of the sky: the upper part, fading out below."""
    fading = relevel(Image.linear_gradient("L"), lambda level: min(255, max(0, (150 - level) * 4)))
    return stretch(fading, canvas.image.size)


def _toned(image: Image.Image, palette: Palette, share: float) -> Image.Image:
    """Return an image in the light of a palette."""
    ink, light = mix(palette.near, BLACK, 0.5), mix(palette.light, palette.sky[-1], 0.3)
    if palette.dark:
        ink, light = mix(palette.near, BLACK, 0.3), mix(palette.sky[-1], palette.light, 0.25)
    middle = palette.sky[1] if palette.dark else mix(palette.sky[1], palette.accent, 0.2)
    return Image.blend(
        image, ImageOps.colorize(image.convert("L"), ink, light, mid=middle), min(1.0, share + 0.2 * palette.dark)
    )


def _ambient(image: Image.Image) -> Palette:
    """Return the light in which an image seems to have been taken."""
    return PALETTES["night" if ImageStat.Stat(image.convert("L")).mean[0] < 62 else "day"]
