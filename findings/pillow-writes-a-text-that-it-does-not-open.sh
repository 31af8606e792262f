#!/usr/bin/env bash
# What:     Pillow writes PNGs that it does not open: a compressed text (zTXt, iTXt) of more than 1 MiB, such as the workflow of an image generator with
#           an image in it, is written without a word, and `Image.open` then raises for the whole picture. The same text uncompressed is read.
# Versions: pillow 13.0.0; opencv-python-headless 5.0.0.93, pyvips 3.2.0 with pyvips-binary 8.18.7 and imageio 2.38.1 (which reads by Pillow).
# Expected: the picture, with or without its text, or an error when it is saved.
# Seen:     1.2 MB of text: `add_text(zip=True)` and `add_itxt(zip=True)`: ValueError from `Image.open` and imageio, the picture from OpenCV and libvips.
#           `zip=False`: the picture and the whole text. 70 texts of 1 MB each: saved, and ValueError.
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
import pyvips
from PIL import Image
from PIL.PngImagePlugin import PngInfo

TEXT = '{"node": "LoadImage"} ' * 55_000


def zipped(info):
    info.add_text("workflow", TEXT, zip=True)


def international(info):
    info.add_itxt("workflow", TEXT, zip=True)


def plain(info):
    info.add_text("workflow", TEXT)


def many(info):
    for number in range(70):
        info.add_text(f"part {number}", TEXT[:1_000_000], zip=True)


readers = {
    "Pillow": lambda name: len(Image.open(name).text["workflow"]) > 1_000_000,
    "imageio": lambda name: imageio.v3.imread(name).shape == (48, 64, 3),
    "OpenCV": lambda name: cv2.imread(name).shape == (48, 64, 3),
    "libvips": lambda name: pyvips.Image.new_from_file(name).numpy().shape == (48, 64, 3),
}
seen = {}
for kind in (zipped, international, plain, many):
    info = PngInfo()
    kind(info)
    Image.new("RGB", (64, 48)).save("picture.png", pnginfo=info)
    for name, read in readers.items():
        try:
            seen[kind.__name__, name] = read("picture.png")
        except ValueError as error:
            seen[kind.__name__, name] = f"ValueError: {error}"
        print(f"{kind.__name__:14}{name:8}{seen[kind.__name__, name]}")
refused = {(kind, name) for kind in ("zipped", "international", "many") for name in ("Pillow", "imageio")}
sys.exit(any((found is True) == (key in refused) for key, found in seen.items()))
PYTHON
