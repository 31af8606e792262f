"""An image as viewers show it: upright, in 8 bits, in sRGB, its transparency in an alpha channel.

Images in memory are sent in this form, the embedded engine paints on it, and thumbnails show it. A viewer does
these four things with every photo; Pillow does none of them by default.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

from .orientation import ACROSS

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_CLEAR = ("LA", "RGBA")
"""The modes of images with transparency."""

_DEEP = 65_535
_TO_8_BITS = [round(level * 255 / _DEEP) for level in range(_DEEP + 1)]

_LARGEST_PROFILE = 1024 * 1024
"""Bytes of the largest colour profile that Pillow reads out of a PNG."""


def as_seen(image: PILImage, *, longest: int | None = None) -> PILImage:
    """Return a copy of `image` as a viewer shows it.

    Args:
        image: any image of Pillow's, in any of its modes; it stays as it is, but is decoded.
        longest: the maximum pixels of the longer side; a larger image is scaled down. `None` keeps the size.

    Returns:
        An image of mode L, LA, RGB or RGBA, without metadata. It has a colour profile (`info["icc_profile"]`) only
        where one cannot be applied, and so has to go with the image.

    Raises:
        ValueError: the levels of an image of integers or floats cannot be shown.
        Exception: the image is broken; Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
    """
    image.load()  # raises for a broken image only once: later, Pillow returns what it could decode
    method = _turn_of(image)
    profile = image.info.get("icc_profile")
    seen = _in_shown_mode(image)
    if longest is not None and max(seen.size) > longest:
        seen.thumbnail((longest, longest), reducing_gap=2.0)
    seen, kept = _in_srgb(seen, profile if isinstance(profile, bytes) else b"")
    if method is not None:
        seen = seen.transpose(method)
    seen.info = {"icc_profile": kept} if kept else {}
    return seen


def on_white(image: PILImage) -> PILImage:
    """Return an image from `as_seen` as RGB, on white where it is transparent."""
    opaque = image.convert("RGB")
    if image.mode not in _CLEAR:
        return opaque
    from PIL import Image as pillow

    ground = pillow.new("RGB", image.size, (255, 255, 255))
    ground.paste(opaque, mask=image.getchannel("A"))
    return ground


# --- turning ------------------------------------------------------------------------------------

_ORIENTATION, _EXIF_DIRECTORY, _EXIF_WIDTH, _EXIF_HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003


def _turn_of(image: PILImage) -> Any:
    """Return how to transpose the image to be upright; `None` if it is, or if its EXIF cannot be read."""
    from PIL import Image as pillow

    turns = pillow.Transpose
    methods = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }
    try:
        exif = image.getexif()
        orientation: object = exif.get(_ORIENTATION)
        if image.format is None and _was_turned(image, orientation, exif.get_ifd(_EXIF_DIRECTORY)):
            return None
    except Exception:  # noqa: BLE001 - an image with broken EXIF is not broken
        return None
    return methods.get(orientation) if isinstance(orientation, int) else None


def _was_turned(image: PILImage, orientation: object, directory: Mapping[int, Any]) -> bool:
    """Whether the image was already turned by 90 degrees without a change of its EXIF: its sides are swapped."""
    width, height = directory.get(_EXIF_WIDTH), directory.get(_EXIF_HEIGHT)
    if not (isinstance(orientation, int) and isinstance(width, int) and isinstance(height, int)):
        return False
    return orientation >= ACROSS and (width - height) * (image.width - image.height) < 0


# --- modes --------------------------------------------------------------------------------------


def _in_shown_mode(image: PILImage) -> PILImage:
    """A copy of mode L, LA, RGB, RGBA, CMYK or LAB."""
    if image.mode.startswith("I;16"):
        return _from_levels(image)
    if image.mode == "I":
        return _from_integers(image)
    if image.mode == "F":
        return _from_floats(image)
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA")
    target = {"1": "L", "L": "L", "CMYK": "CMYK", "LAB": "LAB"}.get(image.mode, "RGB")
    return image.copy() if image.mode == target else image.convert(target)


def _from_levels(image: PILImage) -> PILImage:
    """An image of levels from 0 to 65535, which `convert` would clip at 255."""
    from PIL import Image as pillow

    levels = image.convert("I")
    grey = _releveled(levels, _TO_8_BITS)
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return grey
    alpha = _releveled(levels, [0 if level == clear else 255 for level in range(_DEEP + 1)])
    return pillow.merge("LA", (grey, alpha))


def _from_integers(image: PILImage) -> PILImage:
    """Levels up to 65535, as Pillow reads them from files; those of an array may end at 255."""
    low, high = _extrema(image)
    if low < 0 or high > _DEEP:
        raise ValueError(f"its levels run from {low} to {high}: scale them to 0 to 255, and convert it to L")
    return image.convert("L") if image.format is None and high <= 255 else _from_levels(image)


def _from_floats(image: PILImage) -> PILImage:
    low, high = _extrema(image)
    if not 0 <= low <= high <= 255:
        raise ValueError(f"its levels run from {low:g} to {high:g}: scale them to 0 to 255, and convert it to L")
    scale = 255 if high <= 1 else 1

    def scaled(level: Any) -> Any:
        return level * scale + 0.5

    result: PILImage = cast("Any", image).point(scaled)
    return result.convert("L")


def _releveled(image: PILImage, table: list[int]) -> PILImage:
    """An image of whole numbers as one of 8 bits, by what `table` has for each."""
    result: PILImage = cast("Any", image).point(table, "L")
    return result


def _extrema(image: PILImage) -> tuple[Any, Any]:
    low, high = image.getextrema()
    return low, high


# --- colours ------------------------------------------------------------------------------------


def _in_srgb(image: PILImage, profile: bytes) -> tuple[PILImage, bytes]:
    """Return the image in sRGB, and its profile if that fits but cannot be applied."""
    try:
        if image.mode == "LAB":
            return _transformed(image, _built_in("LAB")), b""
        if profile:
            return _by_profile(image, profile), b""
    except Exception:  # noqa: BLE001 - a profile of another colour space, a broken one, Pillow without LittleCMS
        fits = image.mode in ("RGB", "RGBA") and profile[16:20] not in (b"GRAY", b"CMYK")
        if fits and len(profile) < _LARGEST_PROFILE:
            return image, profile
    return (image.convert("RGB") if image.mode in ("CMYK", "LAB") else image), b""


def _by_profile(image: PILImage, profile: bytes) -> PILImage:
    from PIL import ImageCms

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "sRGB" in ImageCms.getProfileDescription(source) and image.mode != "CMYK":
        return image
    if image.mode not in _CLEAR:
        return _transformed(image, source)
    opaque = _transformed(image.convert("L" if image.mode == "LA" else "RGB"), source)
    opaque.putalpha(image.getchannel("A"))
    return opaque


def _transformed(image: PILImage, source: Any) -> PILImage:
    from PIL import ImageCms

    result = ImageCms.profileToProfile(image, source, _built_in("sRGB"), outputMode="RGB")
    assert result is not None  # noqa: S101 - only a transform in place returns None
    return result


@cache
def _built_in(name: Any) -> Any:
    """A profile of LittleCMS's own."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(cast("Any", ImageCms).createProfile(name))


# --- encoding -----------------------------------------------------------------------------------

_HOPELESS = 1.5
"""The factor by which a PNG may exceed the limit for better compression to be worth its seconds."""


def encoded(image: PILImage, formats: Collection[str], max_bytes: int | None) -> bytes:
    """Return `image` as a viewer shows it, encoded.

    It becomes a PNG, quickly compressed, or, if it was opened from a JPEG, a JPEG of the same quality and so about
    the same size. If that is larger than allowed, slower compression follows.

    Args:
        image: any image of Pillow's.
        formats: the formats that may be sent.
        max_bytes: the maximum bytes; `None` for any number.

    Returns:
        The first encoding that is small enough; otherwise the smallest.

    Raises:
        Exception: the image is broken, or has no levels that can be shown; see `as_seen`.
    """
    seen = as_seen(image)
    files: list[bytes] = []
    for encode in _encoders(image, seen, formats):
        files.append(encode(max_bytes))
        if max_bytes is None or len(files[-1]) <= max_bytes:
            return files[-1]
    return min(files, key=len)


_Encode = Callable[[int | None], bytes]


def _encoders(image: PILImage, seen: PILImage, formats: Collection[str]) -> Iterator[_Encode]:
    """Return functions that encode `seen`, made from `image`, up to a number of bytes."""
    if image.format in ("JPEG", "MPO") and seen.mode not in _CLEAR and "jpeg" in formats:
        how = _quality_of(image)
        yield lambda _: _saved(seen, "JPEG", **how)
        yield lambda _: _saved(seen, "JPEG", optimize=True, progressive=True, **how)
        return
    yield partial(_png, image, seen)
    if image.format == "WEBP" and "webp" in formats:
        yield lambda _: _saved(seen, "WEBP", quality=95)
        yield lambda _: _saved(seen, "WEBP", quality=80)


def _png(image: PILImage, seen: PILImage, max_bytes: int | None) -> bytes:
    data = _saved(seen, "PNG", compress_level=1)
    if max_bytes is None or len(data) <= max_bytes:
        return data
    small = _in_own_mode(image, seen)
    if small is not seen:
        data = _saved(small, "PNG", compress_level=1)
    return _saved(small, "PNG", compress_level=9) if max_bytes < len(data) < _HOPELESS * max_bytes else data


def _in_own_mode(image: PILImage, seen: PILImage) -> PILImage:
    """Return `image` in its palette or single bits if it looks the same as `seen`; otherwise `seen`."""
    from PIL import ImageChops

    if image.mode not in ("P", "1"):
        return seen
    method = _turn_of(image)
    own = image.copy() if method is None else image.transpose(method)
    difference = ImageChops.difference(own.convert("RGBA"), seen.convert("RGBA"))
    clear = own.info.get("transparency")
    own.info = dict(seen.info) if clear is None else {**seen.info, "transparency": clear}
    return own if difference.getbbox(alpha_only=False) is None else seen


def _quality_of(image: Any) -> dict[str, Any]:
    """The quantization tables and the sampling of the JPEG that `image` was opened from."""
    from PIL import JpegImagePlugin

    tables = getattr(image, "quantization", None)
    if not tables or not hasattr(image, "layer"):
        return {"quality": 95}
    return {"qtables": tables, "subsampling": JpegImagePlugin.get_sampling(image)}


def _saved(image: PILImage, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, icc_profile=image.info.get("icc_profile"), **options)
    return buffer.getvalue()
