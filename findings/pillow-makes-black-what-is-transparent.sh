#!/usr/bin/env bash
# What:     Pillow's `resize`, `thumbnail` and `reduce` make the pixels black that are under a fully transparent part of an RGBA picture; OpenCV, libvips
#           and Pillow's own NEAREST keep their colours. For the mask of an edit, which is the original with a transparent hole, the colours in the
#           hole are what a model or `putalpha(255)` needs. "Lossless" WebP drops them as well, by whichever library.
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, imageio 2.38.1, pyvips 3.2.0 with pyvips-binary 8.18.7, numpy 2.4.6.
# Expected: the colours, since they are in the PNG; from a lossless file in any case.
# Seen:     PNG 64x64 to 32x32: resize, thumbnail, reduce black; NEAREST, OpenCV, libvips kept. Lossless WebP by Pillow, OpenCV, imageio and libvips:
#           black; kept by Pillow with `exact=True`, and as lossless TIFF and AVIF.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 imageio==2.38.1 \
    pyvips==3.2.0 pyvips-binary==8.18.7 numpy==2.4.6
timeout 120 venv/bin/python - <<'PYTHON'
import sys

import cv2
import imageio.v3
import numpy
import pyvips
from PIL import Image

pixels = numpy.full((64, 64, 4), (200, 120, 40, 255), numpy.uint8)
pixels[16:48, 16:48, 3] = 0
picture = Image.fromarray(pixels)
picture.save("hole.png")
assert (numpy.asarray(Image.open("hole.png")) == pixels).all()
vips = pyvips.Image.new_from_file("hole.png")


def thumbnail():
    copy = picture.copy()
    copy.thumbnail((32, 32))
    return copy


def written(name, write):
    write(name)
    return Image.open(name)


lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
smaller = {
    "Pillow resize": picture.resize((32, 32)),
    "Pillow thumbnail": thumbnail(),
    "Pillow reduce": picture.reduce(2),
    "Pillow NEAREST": picture.resize((32, 32), Image.Resampling.NEAREST),
    "OpenCV": cv2.resize(pixels, (32, 32)),
    "libvips": vips.resize(0.5).numpy(),
}
files = {
    "WebP by Pillow": written("pillow.webp", lambda name: picture.save(name, lossless=True)),
    "WebP by OpenCV": written("opencv.webp", lambda name: cv2.imwrite(name, pixels[..., [2, 1, 0, 3]], lossless)),
    "WebP by imageio": written("imageio.webp", lambda name: imageio.v3.imwrite(name, pixels, lossless=True)),
    "WebP by libvips": written("vips.webp", lambda name: vips.webpsave(name, lossless=True)),
    "WebP by Pillow, exact": written("exact.webp", lambda name: picture.save(name, lossless=True, exact=True)),
    "TIFF by Pillow": written("pillow.tiff", picture.save),
    "AVIF by libvips": written("vips.avif", lambda name: vips.heifsave(name, lossless=True, compression="av1")),
}
seen = {}
for name, image in {**smaller, **files}.items():
    array = numpy.asarray(image)
    middle = array[len(array) // 2, len(array) // 2]
    assert middle[3] == 0
    seen[name] = [int(level) for level in middle[:3]]
    print(f"{name:23}{seen[name]} under the hole")
black = {"Pillow resize", "Pillow thumbnail", "Pillow reduce", *(f"WebP by {name}" for name in ("Pillow", "OpenCV", "imageio", "libvips"))}
sys.exit(any(colour != ([0, 0, 0] if name in black else [200, 120, 40]) for name, colour in seen.items()))
PYTHON
