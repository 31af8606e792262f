"""Draws the stand-in pictures: real PNGs of exactly the right size, the same for the same request.

They are landscapes and patterns that follow a few words of the prompt, not the work of a model, and
say so in their metadata.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import cast

from PIL import Image, ImageOps, PngImagePlugin

from stepfun_async._core.capabilities import Capability
from stepfun_async._core.pictures import Picture
from stepfun_async._core.rendering import as_seen, on_white
from stepfun_async._core.sizes import Size
from stepfun_async._core.validation import Values

from .canvas import Canvas, relevel, stretch
from .frame import UndecodableError, check_pixels, facts_of, size_of
from .lettering import write
from .palettes import Palette, called_for, chance_of, choose_palette, mix, turn
from .scenes import SCENES
from .subjects import SUBJECTS

_LANDSCAPES = ("dunes", "flowers", "mountains", "trees")
"""The scenes that cats and houses stand in, where no word calls for another."""


def draw(values: Values, row: Capability, seed: int) -> bytes:
    """The picture that a request asks for, as a PNG.

    Equal arguments give equal bytes. `text_mode` with characters outside the bundled font uses a
    font of the machine (see `lettering`), and so may differ from one machine to another.

    Args:
        values: the request's parameters, valid by `row`; pictures as `pictures.look` read them.
        row: the model's row of the tables.
        seed: what chance is drawn from.

    Raises:
        UndecodableError: a picture that was sent is broken inside.
    """
    source = _decoded(values.get("image"))
    size = size_of(values, row, source.size if source else None)
    palette = _palette(values, seed)
    if source is None:
        image = _scene(values, size, palette, seed)
    elif row.operation == "edit":
        image = _edited(values, stretch(source, (size.width, size.height)), palette, seed)
    else:
        image = _blended(values, source, _scene(values, size, palette, seed))
    if values.get("text_mode") is True:
        write(image, str(values["prompt"]), palette)
    return _png(image, values, row, seed)


def _palette(values: Values, seed: int) -> Palette:
    prompt, negative = str(values["prompt"]), _negative(values)
    called, shunned = called_for(prompt), called_for(negative)
    wanted = {kind: [name for name in names if name not in shunned[kind]] for kind, names in called.items()}
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
    reference = _decoded(style.get("source_url"))
    if reference is None:
        return palette
    column = stretch(reference, (1, 5), Image.Resampling.BOX)
    top, *_, bottom = (cast("tuple[int, int, int]", column.getpixel((0, row))) for row in range(5))
    share = 0.45 * _number(style, "weight", 1.0)
    return palette.map(lambda color: mix(color, top if sum(color) > 380 else bottom, share))


def _scene(values: Values, size: Size, palette: Palette, seed: int) -> Image.Image:
    prompt = str(values["prompt"])
    called, shunned = called_for(prompt), called_for(_negative(values))
    chance = chance_of("scene", prompt, seed)
    backgrounds = _LANDSCAPES if called["subject"] else sorted(SCENES)
    drawn = backgrounds[int(chance.random() * len(backgrounds))]
    scenes = [name for name in called["scene"] if name not in shunned["scene"]]
    canvas = Canvas.blank(size.width, size.height)
    SCENES[scenes[0] if scenes else drawn](canvas, palette, chance, _number(values, "steps", 8) / 100)
    for name in called["subject"]:
        if name not in shunned["subject"]:
            SUBJECTS[name](canvas, palette, chance)
    return canvas.image


def _edited(values: Values, source: Image.Image, palette: Palette, seed: int) -> Image.Image:
    """The source in the light of the prompt: toned, darkened to the edges, with things drawn in."""
    prompt = str(values["prompt"])
    chance = chance_of("edit", prompt, seed)
    ink, light = mix(palette.near, (0, 0, 0), 0.5), mix(palette.light, palette.sky[-1], 0.3)
    toned = ImageOps.colorize(source.convert("L"), ink, light, mid=mix(palette.sky[1], palette.accent, 0.3))
    canvas = Canvas(Image.blend(source, toned, 0.7 + 0.1 * _number(values, "steps", 8) / 100))
    edges = relevel(Image.radial_gradient("L"), lambda level: max(0, level - 130) * 0.9)
    canvas.image.paste(ink, (0, 0), stretch(edges, canvas.image.size))
    for _ in range(7):
        x, y, size = chance.random() * canvas.width, chance.random() * canvas.height, chance.random()
        canvas.glow(x, y, canvas.unit * (0.04 + 0.16 * size), palette.light, 0.5)
    for name in called_for(prompt)["subject"] or ["bird"]:
        SUBJECTS[name](canvas, palette, chance)
    return canvas.image


def _blended(values: Values, source: Image.Image, fresh: Image.Image) -> Image.Image:
    fitted = ImageOps.fit(source, fresh.size, Image.Resampling.BILINEAR)
    return Image.blend(fitted, fresh, _number(values, "source_weight", 1.0))


def _decoded(picture: object) -> Image.Image | None:
    if not isinstance(picture, Picture):
        return None
    try:
        with Image.open(io.BytesIO(picture.data), formats=("PNG", "JPEG", "WEBP", "GIF")) as image:
            check_pixels(image.width, image.height)
            return on_white(as_seen(image))
    except UndecodableError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise UndecodableError(str(error)) from error


def _number(values: Mapping[str, object], name: str, default: float) -> float:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) else default


def _png(image: Image.Image, values: Values, row: Capability, seed: int) -> bytes:
    facts = PngImagePlugin.PngInfo()
    for name, text in facts_of(values, row, seed).items():
        facts.add_itxt(name, text)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1, pnginfo=facts, icc_profile=None)
    return out.getvalue()
