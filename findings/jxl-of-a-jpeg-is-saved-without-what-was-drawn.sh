#!/usr/bin/env bash
# What:     A JPEG that was opened from a path and then changed in place (drawn on, made a thumbnail) is saved as JPEG XL by pillow-jxl-plugin
#           without the change: the plugin opens `image.filename` again and packs the JPEG file as it lies on the disk.
# Versions: pillow-jxl-plugin 1.3.8, pillow 13.0.0.
# Expected: the picture that `save` was called on, as for `.png` and `.webp`, and as for a JPEG opened from bytes.
# Seen:     a white 400x300 JPEG with a black field, made a thumbnail of 100x75: PNG and WebP black, 100x75; JPEG XL white, 400x300.
#           A warning speaks of "lossless JXL image from JPEG", and of nothing lost. `lossless_jpeg=False` saves the picture.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow-jxl-plugin==1.3.8 pillow==13.0.0
timeout 120 venv/bin/python - <<'PYTHON'
import io
import pathlib
import sys
import warnings

import pillow_jxl  # noqa: F401  registers the format
from PIL import Image, ImageDraw

Image.new("RGB", (400, 300), "white").save("photo.jpg")


def saved(source, ending, **options):
    image = Image.open(source)
    ImageDraw.Draw(image).rectangle((0, 0, 399, 299), fill="black")
    image.thumbnail((100, 100))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.save(f"out.{ending}", **options)
    with Image.open(f"out.{ending}") as again:
        return again.size, again.convert("RGB").getpixel((50, 30))


seen = {ending: saved("photo.jpg", ending) for ending in ("png", "webp", "jxl")}
seen["jxl of bytes"] = saved(io.BytesIO(pathlib.Path("photo.jpg").read_bytes()), "jxl")
seen["jxl, lossless_jpeg=False"] = saved("photo.jpg", "jxl", lossless_jpeg=False)
for name, found in seen.items():
    print(f"{name:25}", found)
changed, as_it_was = ((100, 75), (0, 0, 0)), ((400, 300), (255, 255, 255))
sys.exit(seen.pop("jxl") != as_it_was or any(found != changed for found in seen.values()))
PYTHON
