#!/usr/bin/env bash
# What:     OpenCV's IMREAD_UNCHANGED gives an AVIF of 10 bits as uint16 with levels up to 1023, and `imwrite` takes uint16 for levels up to 65535:
#           copied to PNG by the two, a white picture is almost black. Read by the default flags, it is white.
# Versions: opencv-python-headless 5.0.0.93; the AVIF is written by imagecodecs 2026.3.6, the PNG read by pillow 13.0.0 and by pyvips 3.2.0
#           with pyvips-binary 8.18.7, which also copies it; numpy 2.4.6.
# Expected: levels that `imwrite` takes for the same, as for a PNG of 16 bits and as libvips does it.
# Seen:     the PNG by OpenCV has white as 1023 of 65535, which Pillow shows as 3 of 255; that by libvips 65472, shown as 255.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 imagecodecs==2026.3.6 pillow==13.0.0 pyvips==3.2.0 \
  pyvips-binary==8.18.7 numpy==2.4.6
timeout 120 venv/bin/python - <<'PYTHON'
import pathlib
import sys

import cv2
import imagecodecs
import numpy
import pyvips
from PIL import Image

white = numpy.full((16, 16, 3), 1023, "uint16")
pathlib.Path("white.avif").write_bytes(imagecodecs.avif_encode(white, bitspersample=10, level=100))
read = cv2.imread("white.avif", cv2.IMREAD_UNCHANGED)
print(f"OpenCV {cv2.__version__}: {read.dtype}, white is {read.max()}; by the default flags {cv2.imread('white.avif').max()}")
cv2.imwrite("opencv.png", read)
pyvips.Image.new_from_file("white.avif").write_to_file("libvips.png")
seen = {}
for writer in ("opencv", "libvips"):
    deep = pyvips.Image.new_from_file(f"{writer}.png")
    seen[writer] = deep.format, int(deep.max()), Image.open(f"{writer}.png").getpixel((8, 8))
    print(f"the PNG by {writer}:", *seen[writer])
same = read.dtype == "uint16" and cv2.imread("white.avif").max() == 255
sys.exit(not same or seen != {"opencv": ("ushort", 1023, (3, 3, 3)), "libvips": ("ushort", 65472, (255, 255, 255))})
PYTHON
