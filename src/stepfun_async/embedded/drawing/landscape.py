"""Draws the stand-in images: real PNGs of exactly the right size, the same for the same request.

They are scenes and figures that follow the words of the prompt, not the work of a model, and
say so in their metadata.
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from typing import cast

from PIL import Image, ImageOps, PngImagePlugin

from stepfun_async._core.capabilities import Capability
from stepfun_async._core.input_images import InputImage
from stepfun_async._core.rendering import as_seen, on_white
from stepfun_async._core.sizes import Size
from stepfun_async._core.validation import Values

from . import content as contents
from .canvas import Canvas, stretch
from .content import Content
from .edits import edited, weather
from .figures import paint
from .frame import UndecodableError, check_pixels, facts_of, size_of
from .lettering import quoted_in, write
from .palettes import Palette, chance_of, choose_palette, mix, turn
from .scenes import SCENES
from .styles import framed, in_styles
from .subjects import FIGURES, place
from .words import called_for, coats, free_colors

_ALONE = ("bands", "city", "dunes", "field", "flowers", "lake", "mountains", "space", "trees", "waves")
"""The scenes worth showing without a subject."""

_Drawn = tuple[Image.Image, Content]


def draw(values: Values, row: Capability, seed: int) -> bytes:
    """The image that a request asks for, as a PNG.

    Equal arguments give equal bytes. Text outside the bundled font uses a
    font of the machine (see `lettering`), and so may differ from one machine to another.

    Args:
        values: the request's parameters, valid by `row`; images as `load_image` read them.
        row: the model's row of the tables.
        seed: the seed of everything random.

    Raises:
        UndecodableError: the contents of an image that was sent are broken.
    """
    source, content = _opened(values.get("image"))
    size = size_of(values, row, source.size if source else None)
    palette = _palette(values, seed)
    if source is None:
        drawn = _scene(values, size, palette, seed)
    elif row.operation == "edit":
        drawn = _edited(values, stretch(source, (size.width, size.height)), content, palette, seed)
    else:
        drawn = _blended(values, source, content, size, palette, seed)
    return _png(_lettered(values, *drawn, palette), drawn[1], values, row, seed)


def _lettered(values: Values, image: Image.Image, content: Content, palette: Palette) -> Image.Image:
    """The image with a poster's frame and title, and with the text that the prompt wants."""
    prompt = str(values["prompt"])
    texts, called = values.get("text_mode") is True, called_for(prompt)
    title = quoted_in(prompt) if texts else None
    if "poster" in called["style"]:
        image = framed(image, (title or _title_of(called, content)).upper(), palette)
    if texts and not (title and "poster" in called["style"]):
        write(image, prompt, palette)
    return image


def _title_of(called: Mapping[str, Sequence[str]], content: Content) -> str:
    """Return the text of a poster without one of its own: the subjects it shows."""
    subjects = [placed.name for placed in content.figures[::-1]]
    return [*called["subject"], *called["scene"], *subjects, content.scene, "Poster"][0] or "Poster"


def _palette(values: Values, seed: int) -> Palette:
    prompt, negative = str(values["prompt"]), _negative(values)
    called, shunned = called_for(prompt), called_for(negative)
    wanted = {
        "palette": [name for name in called["palette"] if name not in shunned["palette"]],
        "color": [name for name in free_colors(prompt) if name not in shunned["color"]],
    }
    palette = choose_palette(wanted, chance_of("palette", prompt, seed))
    if negative:
        drift = (chance_of("negative", negative).random() - 0.5) * 0.08
        palette = palette.map(lambda color: turn(color, drift))
    saturation = 0.94 + 0.02 * _number(values, "cfg_scale", 1.0)
    return _in_style(values, palette.map(lambda color: turn(color, 0.0, saturation)))


def _negative(values: Values) -> str:
    """The negative prompt, which the service passes on only above a guidance of 1."""
    return str(values.get("negative_prompt") or "") if _number(values, "cfg_scale", 1.0) > 1.0 else ""


def _in_style(values: Values, palette: Palette) -> Palette:
    style = values.get("style_reference")
    if not isinstance(style, Mapping):
        return palette
    style = cast("Mapping[str, object]", style)
    reference, _ = _opened(style.get("source_url"))
    if reference is None:
        return palette
    column = stretch(reference, (1, 5), Image.Resampling.BOX)
    top, *_, bottom = (cast("tuple[int, int, int]", column.getpixel((0, row))) for row in range(5))
    share = 0.45 * _number(style, "weight", 1.0)
    return palette.map(lambda color: mix(color, top if sum(color) > 380 else bottom, share))


def _scene(values: Values, size: Size, palette: Palette, seed: int) -> _Drawn:
    prompt = str(values["prompt"])
    called, shunned = called_for(prompt), called_for(_negative(values))
    chance = chance_of("scene", prompt, seed)
    names = [name for name in called["subject"] if name not in shunned["subject"]]
    scenes = [name for name in called["scene"] if name not in shunned["scene"]]
    scene = _scene_for(scenes, names, called["weather"], chance)
    canvas = Canvas.blank(size.width, size.height)
    SCENES[scene](canvas, palette, chance, _number(values, "steps", 8) / 100)
    content = Content(tuple(place(names, coats(prompt), chance)) if names else (), scene)
    for placed in content.figures:
        paint(canvas, palette, FIGURES[placed.name], placed)
    weather(canvas, [name for name in called["weather"] if scene != "snowfield"], palette, chance)
    return in_styles(canvas.image, called["style"]), content


def _scene_for(scenes: Sequence[str], names: Sequence[str], skies: Sequence[str], chance: random.Random) -> str:
    """The scene that words call for, or one that suits the first subject, or any."""
    drawn = chance.random()
    if scenes:
        return scenes[0]
    fitting = FIGURES[names[0]].scenes if names else _ALONE
    if names and "snow" in skies and FIGURES[names[0]].where in ("ground", "shore"):
        return "snowfield"
    return fitting[int(drawn * len(fitting))]


def _edited(values: Values, source: Image.Image, content: Content, palette: Palette, seed: int) -> _Drawn:
    image, content = _changed(values, source, content, palette, seed)
    return in_styles(image, called_for(str(values["prompt"]))["style"]), content


def _changed(
    values: Values, source: Image.Image, content: Content, palette: Palette, seed: int, wanted: Content | None = None
) -> _Drawn:
    prompt = str(values["prompt"])
    chance, detail = chance_of("edit", prompt, seed), _number(values, "steps", 8) / 100
    return edited(source, content, prompt, palette, chance, detail, wanted.figures if wanted else ())


def _blended(values: Values, source: Image.Image, content: Content, size: Size, palette: Palette, seed: int) -> _Drawn:
    """The source, changed more and more as the weight rises, and at last another image."""
    weight, styles = _number(values, "source_weight", 1.0), called_for(str(values["prompt"]))["style"]
    fitted = ImageOps.fit(source, (size.width, size.height), Image.Resampling.BILINEAR)
    fresh, new = _scene(values, size, palette, seed)
    if weight >= 1.0:
        return fresh, new
    changed, content = _changed(values, fitted, Content(scene=content.scene), palette, seed, new)
    between = Image.blend(fitted, changed, min(1.0, weight / _TURN))
    styled = Image.blend(between, in_styles(between, styles), min(1.0, 2 * weight)) if styles else between
    return Image.blend(styled, fresh, max(0.0, (weight - _TURN) / (1 - _TURN))), content


_TURN = 0.7
"""The source weight up to which an image is changed, and from which it becomes another one."""


def _opened(picture: object) -> tuple[Image.Image | None, Content]:
    """Return an image that was sent, and its content, if known."""
    if not isinstance(picture, InputImage):
        return None, Content()
    try:
        with Image.open(io.BytesIO(picture.data), formats=("PNG", "JPEG", "WEBP", "GIF")) as image:
            check_pixels(image.width, image.height)
            return on_white(as_seen(image)), contents.of(image.info)
    except UndecodableError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise UndecodableError(str(error)) from error


def _number(values: Mapping[str, object], name: str, default: float) -> float:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) else default


def _png(image: Image.Image, content: Content, values: Values, row: Capability, seed: int) -> bytes:
    facts = PngImagePlugin.PngInfo()
    for name, text in facts_of(values, row, seed).items():
        facts.add_itxt(name, text)
    facts.add_itxt(contents.KEYWORD, content.to_text())
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1, pnginfo=facts, icc_profile=None)
    return out.getvalue()
