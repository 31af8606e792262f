#!/usr/bin/env bash
# What:     `imread` of imageio and scikit-image gives a CMYK JPEG or TIFF as four channels, the shape of RGBA, and they are cyan, magenta, yellow and
#           black: taken for RGBA, red is a fully transparent cyan, and so it is written as a PNG. OpenCV gives three channels of colour.
# Versions: imageio 2.38.1, scikit-image 0.26.0, opencv-python-headless 5.0.0.93, pillow 13.0.0, numpy 2.4.6.
# Expected: RGB, as from OpenCV and Pillow's `convert("RGB")`, or an error.
# Seen:     red: imageio and scikit-image (8, 8, 4) with [0, 255, 255, 0]; OpenCV (8, 8, 3) with red. The PNG of imageio has mode RGBA and alpha 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check imageio==2.38.1 scikit-image==0.26.0 opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
timeout 120 venv/bin/python - <<'PYTHON'
import sys

import cv2
import imageio.v2
import imageio.v3
import skimage.io
from PIL import Image

readers = {
    "imageio.v2": imageio.v2.imread,
    "imageio.v3": imageio.v3.imread,
    "scikit-image": skimage.io.imread,
    "OpenCV": lambda name: cv2.imread(name)[..., ::-1],
}
seen = {}
for name in ("red.jpg", "red.tif"):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(name)
    for reader, read in readers.items():
        pixels = read(name)
        seen[name, reader] = pixels.shape, [int(level) for level in pixels[4, 4]]
        print(f"{name} {reader:13}{seen[name, reader]}")
imageio.v3.imwrite("copy.png", imageio.v3.imread("red.jpg"))
copy = Image.open("copy.png")
print("copied to PNG:", copy.mode, copy.getpixel((4, 4)))
for (name, reader), (shape, pixel) in seen.items():
    if reader == "OpenCV":
        as_said = shape == (8, 8, 3) and pixel[0] > 250 and max(pixel[1:]) < 5
    else:
        as_said = shape == (8, 8, 4) and pixel == [0, 255, 255, 0]
    if not as_said:
        sys.exit(f"{name} {reader}")
sys.exit((copy.mode, copy.getpixel((4, 4))) != ("RGBA", (0, 255, 255, 0)))
PYTHON
