#!/usr/bin/env bash
# What:     Pillow gives a picture without any EXIF an EXIF orientation: `getexif()` takes it out of the XMP (`tiff:Orientation`), and
#           `ImageOps.exif_transpose` turns by it. OpenCV and libvips, which turn by EXIF, leave the same file as it lies.
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, pyvips 3.2.0 with pyvips-binary 8.18.7, numpy 2.4.6.
# Expected: an EXIF orientation of none in a file without EXIF, and the same sides from all three.
# Seen:     a 120x80 picture with orientation 6 in its XMP alone, as JPEG, PNG and WebP: orientation 6 and 80x120 by Pillow, 120x80 by
#           OpenCV's imread and libvips's autorot. With the same orientation in EXIF all three give 80x120.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 pyvips==3.2.0 \
  pyvips-binary==8.18.7 numpy==2.4.6
timeout 120 venv/bin/python - <<'PYTHON'
import sys

import cv2
import pyvips
from PIL import Image, ImageOps, PngImagePlugin

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
text = PngImagePlugin.PngInfo()
text.add_itxt("XML:com.adobe.xmp", XMP)
exif = Image.Exif()
exif[0x0112] = 6
ways = {
    "xmp.jpg": {"xmp": XMP.encode()},
    "xmp.webp": {"xmp": XMP.encode()},
    "xmp.png": {"pnginfo": text},
    "exif.jpg": {"exif": exif},
    "exif.webp": {"exif": exif},
    "exif.png": {"exif": exif},
}
seen = {}
for name, options in ways.items():
    Image.new("RGB", (120, 80), "teal").save(name, **options)
    with Image.open(name) as image:
        orientation = image.getexif().get(0x0112)
        pillow = ImageOps.exif_transpose(image).size
    opencv = cv2.imread(name).shape[1::-1]
    vips = pyvips.Image.new_from_file(name).autorot()
    seen[name] = orientation, pillow, tuple(opencv), (vips.width, vips.height)
    print(f"{name:10} orientation {orientation} by Pillow; Pillow, OpenCV, libvips:", *seen[name][1:])
lying, upright = (120, 80), (80, 120)
wanted = {name: (6, upright, *([lying] if name.startswith("xmp") else [upright]) * 2) for name in ways}
sys.exit(seen != wanted)
PYTHON
