"""Image files of every kind that a few lines can write: colour types, depths, orientations, segments, trailers."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from PIL import Image as pillow
from PIL import ImageCms

ORIENTATION = 0x0112
WIDTH, HEIGHT = 37, 21


def noise(mode: str = "RGB", width: int = WIDTH, height: int = HEIGHT) -> pillow.Image:
    """An image that is different in every corner, and rough enough to fill a file."""
    slope = pillow.linear_gradient("L").resize((width, height))
    steps = pillow.linear_gradient("L").rotate(90).resize((width, height))
    rough = pillow.frombytes("L", (width, height), bytes(at * at * 7 % 251 for at in range(width * height)))
    return pillow.merge("RGB", (slope, steps, rough)).convert(mode)


def saved(image: pillow.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


XMP = b'<x:xmpmeta><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="8"/></x:xmpmeta>'
"""XMP that says an orientation."""


def turned(orientation: int) -> pillow.Exif:
    """EXIF that says an orientation."""
    exif = pillow.Exif()
    exif[ORIENTATION] = orientation
    return exif


# --- PNG ----------------------------------------------------------------------------------------

PNG_TYPES = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""The depths of each colour type: grey, RGB, palette, grey with alpha, RGBA."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(color: int, depth: int, *, interlaced: bool = False, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of a colour type and a depth, whose samples grow from left to right; with chunks around its pixels."""
    rows = bytearray()
    for left, top, across, down in _ADAM7 if interlaced else _WHOLE:
        columns = range(left, WIDTH, across)
        for _ in range(top, HEIGHT, down) if columns else ():
            bits = "".join(f"{_level(x, depth):0{depth}b}" * _CHANNELS[color] for x in columns)
            rows += b"\0" + int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(at % 256 for at in range(3 * 2**depth))) if color == 3 else b""
    pixels = chunk(b"IDAT", zlib.compress(bytes(rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + before + pixels + after + chunk(b"IEND")


def _level(x: int, depth: int) -> int:
    most = 2**depth - 1
    return min(most, x * (most + 1) // WIDTH) if depth != 8 else min(79, x * 2)


def _pngs() -> Iterator[tuple[str, bytes]]:
    for color, depths in PNG_TYPES.items():
        for depth in depths:
            for interlaced in (False, True):
                yield f"png-{color}-{depth}{'-interlaced' * interlaced}", png(color, depth, interlaced=interlaced)
    yield "png-grey-transparent-level", png(0, 16, before=chunk(b"tRNS", b"\0\0"))
    yield "png-rgb-transparent-color", png(2, 8, before=chunk(b"tRNS", bytes(6)))
    yield "png-palette-transparent", png(3, 8, before=chunk(b"tRNS", bytes([0, 128])))
    exif = turned(6).tobytes()[6:]
    yield "png-exif-before", png(2, 8, before=chunk(b"eXIf", exif))
    yield "png-exif-after", png(2, 8, after=chunk(b"eXIf", exif))
    raw = b"\nexif\n%8d\n%b\n" % (len(exif) + 6, (b"Exif\0\0" + exif).hex().encode())
    yield "png-exif-as-text", png(2, 8, before=chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)))
    yield "png-xmp", png(2, 8, before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP))
    yield "png-text-after", png(2, 8, after=chunk(b"tEXt", b"Comment\0IEND"))
    whole = png(2, 8)
    yield "png-end-with-content", whole[:-12] + chunk(b"IEND", b"more")
    yield "png-split", _split(whole)
    yield "png-animated", saved(noise(), "PNG", save_all=True, append_images=[noise().rotate(180)])
    yield from ((f"png-exif-{turn}", saved(noise(), "PNG", exif=turned(turn))) for turn in range(1, 9))


def _split(whole: bytes) -> bytes:
    """The PNG with a chunk for every five bytes of its pixels."""
    start = whole.index(b"IDAT") - 4
    stop = start + 12 + int.from_bytes(whole[start : start + 4], "big")
    content = whole[start + 8 : stop - 4]
    pieces = b"".join(chunk(b"IDAT", content[at : at + 5]) for at in range(0, len(content), 5))
    return whole[:start] + pieces + whole[stop:]


# --- JPEG ---------------------------------------------------------------------------------------


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def at_frame(jpeg: bytes) -> int:
    """Where the frame of a JPEG of Pillow's begins."""
    return next(at for mark in (b"\xff\xc0", b"\xff\xc2") if (at := jpeg.find(mark)) > 0)


def _jpegs() -> Iterator[tuple[str, bytes]]:
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            yield f"jpeg-{mode}{'-progressive' * progressive}", saved(noise(mode), "JPEG", progressive=progressive)
    for sampling in range(3):
        yield f"jpeg-sampling-{sampling}", saved(noise(), "JPEG", subsampling=sampling)
    yield "jpeg-restarts", saved(noise(), "JPEG", restart_marker_blocks=1)
    yield from ((f"jpeg-exif-{turn}", saved(noise(), "JPEG", exif=turned(turn))) for turn in range(1, 9))
    plain = saved(noise(), "JPEG")
    jfif, rest = plain[2:20], plain[20:]
    exif = segment(0xE1, b"Exif\0\0" + turned(6).tobytes()[6:])
    frame = at_frame(plain)
    entry = struct.pack("<HHIi", ORIENTATION, 9, 1, 6)
    signed = segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4))
    profile = segment(0xE2, b"ICC_PROFILE\0\x01\x01" + bytes(3000))
    thumbnail = segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + bytes(6) + saved(noise("L", 8, 8), "JPEG"))
    for name, whole in {
        "exif-signed": plain[:2] + signed + plain[2:],
        "exif-first": plain[:2] + exif + jfif + rest,
        "no-jfif": plain[:2] + rest,
        "two-jfif": plain[:2] + jfif + jfif + rest,
        "profile-behind-frame": plain[:frame] + _frame_of(plain) + profile + plain[frame + len(_frame_of(plain)) :],
        "thumbnail": plain[:2] + thumbnail + plain[2:],
        "comment-of-ends": plain[:20] + segment(0xFE, b"\xff\xd9" * 50) + rest,
        "large-segments": plain[:20] + segment(0xE2, bytes(65_000)) * 3 + rest,
        "filled": plain[:20] + b"\xff" * 9000 + rest,
        "stray-bytes": plain[:20] + b"stray\0\xff\0bytes" + rest,
        "stray-bytes-before-frame": plain[:frame] + bytes(700) + plain[frame:],
        "xmp": plain[:20] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP) + rest,
        "exif-before-xmp": plain[:20] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP) + exif + rest,
        "motion-photo": plain + _video(),
        "padded": plain + bytes(5000),
        "padded-with-ff": plain + b"\xff" * 5000,
        "gain-map": plain + saved(noise("L"), "JPEG") + bytes(5000),
    }.items():
        yield f"jpeg-{name}", whole


def _frame_of(jpeg: bytes) -> bytes:
    at = at_frame(jpeg)
    return jpeg[at : at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")]


def _video() -> bytes:
    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + kind + body

    return box(b"ftyp", b"mp42\0\0\0\0isommp42") + box(b"mdat", bytes(range(250)) * 40)


# --- WebP ---------------------------------------------------------------------------------------


def _webps() -> Iterator[tuple[str, bytes]]:
    yield "webp-lossy", saved(noise(), "WEBP")
    yield "webp-lossless", saved(noise(), "WEBP", lossless=True)
    yield "webp-alpha", saved(noise("RGBA"), "WEBP")
    yield "webp-lossless-alpha", saved(noise("RGBA"), "WEBP", lossless=True)
    yield "webp-profile", saved(noise(), "WEBP", icc_profile=srgb())
    yield "webp-animated", saved(noise(), "WEBP", save_all=True, append_images=[noise().rotate(180)])
    yield "webp-xmp", saved(noise(), "WEBP", xmp=XMP)
    yield "webp-tiny", tiny_webp()
    yield "webp-trailer", saved(noise(), "WEBP") + bytes(5000)
    yield from ((f"webp-exif-{turn}", saved(noise(), "WEBP", exif=turned(turn))) for turn in range(1, 9))


def tiny_webp() -> bytes:
    """A lossless WebP of one colour, 28 bytes long: five codes of one symbol each, and no bit for any pixel."""
    parts = ((WIDTH - 1, 14), (HEIGHT - 1, 14), (0, 4), (0, 3), *[(1, 4)] * 5)
    bits = "".join(f"{value:0{length}b}"[::-1] for value, length in parts)
    content = b"\x2f" + int(bits[::-1], 2).to_bytes(7, "little")
    body = b"WEBPVP8L" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


# --- colour profiles ----------------------------------------------------------------------------


@cache
def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@cache
def swapped_profile() -> bytes:
    """A profile in which red is green and green is red, under another name than sRGB."""
    profile = srgb().replace(b"\0s\0R\0G\0B", b"\0m\0i\0n\0e")
    return profile.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ")


@cache
def grey_profile() -> bytes:
    """A profile of grey levels with a gamma of 1."""
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, 256, 0)
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(79)
    parts = {b"desc": name, b"wtpt": white, b"kTRC": curve}
    at = 128 + 4 + 12 * len(parts)
    table, body = struct.pack(">I", len(parts)), b""
    for kind, content in parts.items():
        table += kind + struct.pack(">II", at + len(body), len(content))
        body += content.ljust(-(-len(content) // 4) * 4, b"\0")
    head = bytes(8) + bytes([2, 0x10, 0, 0]) + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">iii", 63190, 65536, 54061)
    head = head.ljust(128, b"\0")
    return struct.pack(">I", at + len(body)) + head[4:] + table + body


SAMPLES: dict[str, bytes] = dict((*_pngs(), *_jpegs(), *_webps()))
"""Whole files, by a name that says what is special about each."""


def _damaged(whole: bytes) -> Iterator[bytes]:
    yield whole[: len(whole) // 2]
    yield whole[:-30]


CUT: dict[str, bytes] = {
    f"{name}-{number}": cut
    for name in ("png-2-8", "jpeg-RGB", "jpeg-RGB-progressive", "jpeg-thumbnail", "webp-lossy", "webp-exif-6")
    for number, cut in enumerate(_damaged(SAMPLES[name]))
}
"""Files that are cut off."""


def _isobmff(brand: bytes, *more: bytes) -> bytes:
    brands = brand + bytes(4) + b"".join(more)
    return struct.pack(">I", len(brands) + 8) + b"ftyp" + brands + bytes(100)


def _with_pillow(format: str) -> Callable[[], bytes]:
    return lambda: saved(noise(), format)


FOREIGN: dict[str, tuple[str, bytes]] = {
    "heic of an iPhone": ("heic", _isobmff(b"heic", b"mif1", b"heic")),
    "heic of a Samsung": ("heic", _isobmff(b"mif1", b"mif1", b"heic")),
    "avif": ("avif", _isobmff(b"avif", b"mif1", b"miaf")),
    "avif by its second brand": ("avif", _isobmff(b"mif1", b"avif", b"miaf")),
    "avif, animated": ("avif", _isobmff(b"avis", b"avif")),
    "raw photo of a Canon": ("cr3", _isobmff(b"crx ", b"isom")),
    "tiff, little end first": ("tiff", saved(noise(), "TIFF")),
    "tiff, big end first": ("tiff", b"MM\0*\0\0\0\x08" + bytes(60)),
    "bigtiff": ("tiff", b"II+\0\x08\0\0\0" + bytes(60)),
    "bmp": ("bmp", saved(noise(), "BMP")),
    "jxl codestream": ("jxl", b"\xff\x0a" + bytes(60)),
    "jxl container": ("jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60)),
    "jpeg 2000": ("jpeg2000", saved(noise(), "JPEG2000")),
    "ico": ("ico", saved(noise("RGB", 32, 32), "ICO")),
    "ppm": ("pnm", saved(noise(), "PPM")),
    "qoi": ("qoi", b"qoif" + bytes(20)),
    "psd": ("psd", b"8BPS\0\x01" + bytes(20)),
    "svg": ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "svg with a head": (
        "svg",
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- drawn -->\n<!DOCTYPE svg PUBLIC 'a' 'b'>\n<svg:svg width='4'/>",
    ),
    "Xcode's png": ("cgbi", png(2, 8)[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + png(2, 8)[8:]),
    "gif": ("gif", saved(noise("P"), "GIF")),
}
"""Files in formats that no model takes, with the format's name."""
