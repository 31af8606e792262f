#!/usr/bin/env bash
# What:     Of PNGs without an alpha channel in which one colour or some of the palette is transparent (tRNS), OpenCV's IMREAD_UNCHANGED gives
#           an alpha channel for RGB and palettes and none for grey; `imageio.imread` gives none for any of them; Pillow's `convert("RGBA")`
#           makes the transparent shade opaque where the grey has 16 bits. libvips sees alpha in all of them.
# Versions: opencv-python-headless 5.0.0.93, imageio 2.38.1, pillow 13.0.0, pyvips 3.2.0 with pyvips-binary 8.18.7, numpy 2.4.6.
# Expected: an alpha channel with a transparent pixel from each, as for a PNG that has an alpha channel.
# Seen:     transparent pixels of one, by decoder: grey 8 bits: Pillow, libvips; grey 16 bits: libvips alone; RGB and palette: all but imageio.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 imageio==2.38.1 pillow==13.0.0 pyvips==3.2.0 \
  pyvips-binary==8.18.7 numpy==2.4.6
timeout 120 venv/bin/python - <<'PYTHON'
import sys
import warnings

import cv2
import imageio.v3
import numpy
import pyvips
from PIL import Image

warnings.simplefilter("ignore")
grey16 = Image.fromarray(numpy.full((16, 16), 30000, "uint16"))
grey16.putpixel((0, 0), 1000)
grey16.save("grey of 16 bits.png", transparency=1000)
grey = Image.new("L", (16, 16), 77)
grey.putpixel((0, 0), 10)
grey.save("grey.png", transparency=10)
rgb = Image.new("RGB", (16, 16), "teal")
rgb.putpixel((0, 0), (1, 2, 3))
rgb.save("rgb.png", transparency=(1, 2, 3))
palette = rgb.quantize(2)
palette.save("palette.png", transparency=palette.getpixel((0, 0)))
own = rgb.convert("RGBA")
own.putpixel((0, 0), (1, 2, 3, 0))
own.save("alpha.png")


def transparent(pixels):
    """How many pixels of an array are transparent; None if it has no alpha channel."""
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    return int((pixels[..., -1] == 0).sum()) if has_alpha else None


seen = {}
for name in ("alpha", "rgb", "palette", "grey", "grey of 16 bits"):
    file = f"{name}.png"
    seen[name] = {
        "Pillow": transparent(numpy.asarray(Image.open(file).convert("RGBA"))),
        "OpenCV": transparent(cv2.imread(file, cv2.IMREAD_UNCHANGED)),
        "imageio": transparent(imageio.v3.imread(file)),
        "libvips": transparent(pyvips.Image.new_from_file(file).numpy()),
    }
    print(f"{name:16}", seen[name])
wanted = {
    "alpha": {"Pillow": 1, "OpenCV": 1, "imageio": 1, "libvips": 1},
    "rgb": {"Pillow": 1, "OpenCV": 1, "imageio": None, "libvips": 1},
    "palette": {"Pillow": 1, "OpenCV": 1, "imageio": None, "libvips": 1},
    "grey": {"Pillow": 1, "OpenCV": None, "imageio": None, "libvips": 1},
    "grey of 16 bits": {"Pillow": 0, "OpenCV": None, "imageio": None, "libvips": 1},
}
sys.exit(seen != wanted)
PYTHON
