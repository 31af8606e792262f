#!/usr/bin/env bash
# What:     The same photo with the same orientation is turned by other libraries as AVIF than as JPEG, PNG or WebP: OpenCV turns JPEG,
#           PNG and WebP, and not AVIF; libvips and pillow-heif turn AVIF (the orientation is an `irot` box there), and libvips does
#           not turn JPEG, PNG and WebP; Pillow turns none, and says the orientation as EXIF for each.
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, pyvips 3.2.0 with pyvips-binary 8.18.7, pillow-heif 1.8.1, numpy 2.4.6.
# Expected: a library either heeds the orientation or does not, whatever the format.
# Seen:     120x80 pixels with orientation 6: OpenCV 80x120 of JPEG, PNG, WebP and 120x80 of AVIF; libvips the other way round.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 pyvips==3.2.0 \
  pyvips-binary==8.18.7 pillow-heif==1.8.1 numpy==2.4.6
timeout 180 venv/bin/python - <<'PYTHON'
import sys

import cv2
import pillow_heif
import pyvips
from PIL import Image

exif = Image.Exif()
exif[0x0112] = 6
seen = {}
for kind in ("jpg", "png", "webp", "avif"):
    name = f"photo.{kind}"
    Image.new("RGB", (120, 80), "teal").save(name, exif=exif)
    pillow, vips, opencv = Image.open(name), pyvips.Image.new_from_file(name), cv2.imread(name)
    seen[kind] = {
        "Pillow": (*pillow.size, pillow.getexif().get(0x0112)),
        "OpenCV": (opencv.shape[1], opencv.shape[0]),
        "libvips": (vips.width, vips.height),
    }
seen["avif"]["pillow-heif"] = tuple(pillow_heif.open_heif("photo.avif").size)
for kind, sizes in seen.items():
    print(f"{kind:5}", sizes)
lying, upright = (120, 80), (80, 120)
wanted = {kind: {"Pillow": (120, 80, 6), "OpenCV": upright, "libvips": lying} for kind in ("jpg", "png", "webp")}
wanted["avif"] = {"Pillow": (120, 80, 6), "OpenCV": lying, "libvips": upright, "pillow-heif": upright}
sys.exit(seen != wanted)
PYTHON
